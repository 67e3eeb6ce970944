//! Where the workers of a pod hand in their clients' acks.
//!
//! Never talks to the broker. Always holds: the lock is held for a look into a map, for what a user has waiting, or once a round for those
//! of its acks that failed; nothing that holds it waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::{
    broker::Acks,
    hub::acks::{
        ack_book::{AckBook, WaitingAck},
        awaited_acks::AwaitedAcks,
        delivered_book::DeliveredBook,
        untold_reads::UntoldReads,
    },
    model::{Position, Reply, Room},
};

/// Where what becomes of an ack is told.
pub type AckAnswer = oneshot::Sender<Reply>;

/// The acks of a pod's clients.
pub struct AckDesk {
    /// What the broker keeps.
    pub store: Arc<dyn Acks>,
    book: Mutex<AckBook<AckAnswer>>,
    /// Told when something waits to be kept.
    pub activity: Notify,
    /// Told when something waits to be judged.
    pub questions: Notify,
    /// What devices have got.
    pub delivered: DeliveredBook,
    /// The backends that wait for acks.
    pub awaited: AwaitedAcks,
    /// What is to be told to authors.
    pub untold: UntoldReads,
}

impl AckDesk {
    /// A desk in front of this broker.
    #[must_use]
    pub fn new(store: Arc<dyn Acks>) -> Self {
        Self {
            store,
            book: Mutex::default(),
            activity: Notify::new(),
            questions: Notify::new(),
            delivered: DeliveredBook::default(),
            awaited: AwaitedAcks::default(),
            untold: UntoldReads::default(),
        }
    }

    /// The book, for a moment.
    pub fn book(&self) -> MutexGuard<'_, AckBook<AckAnswer>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in an ack that is known to be good. `false`: there is no room for it.
    #[must_use]
    pub fn put(&self, ack: WaitingAck) -> bool {
        self.put_by(ack, AckBook::put)
    }

    /// Takes in an ack that the broker has found good. `false`: there is no room for it.
    #[must_use]
    pub fn put_judged(&self, ack: WaitingAck) -> bool {
        self.put_by(ack, AckBook::put_judged)
    }

    fn put_by(&self, ack: WaitingAck, put: impl FnOnce(&mut AckBook<AckAnswer>, WaitingAck) -> bool) -> bool {
        let user = Arc::clone(&ack.user);
        let mut book = self.book();
        let was_idle = book.due_ms(0).is_none();
        let taken = put(&mut book, ack);
        drop(book);
        self.awaited.hear(&user);
        // Whatever waits already has its time.
        if was_idle {
            self.activity.notify_one();
        }
        taken
    }

    /// Takes in one that the broker must judge; what becomes of it. `None`: there is no room for it.
    #[must_use]
    pub fn ask(&self, ack: WaitingAck) -> Option<oneshot::Receiver<Reply>> {
        let (answer, answered) = oneshot::channel();
        self.book().ask(ack, answer).ok()?;
        self.questions.notify_one();
        Some(answered)
    }

    /// What waits of a user.
    #[must_use]
    pub fn of(&self, user: &str) -> Vec<(Room, Vec<Position>)> {
        self.book().of(user)
    }
}
