//! Where the workers of a pod hand in which connections want places of their users, and which are over.
//!
//! Never talks to the broker. Always holds: the lock is held for a push, and by nothing that waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::{
    broker::{PlaceClaim, UserPlaces},
    hub::places::place_book::PlaceBook,
    session::Session,
};

/// The places of a pod's clients.
pub struct PlaceDesk {
    /// What the broker knows.
    pub store: Arc<dyn UserPlaces>,
    book: Mutex<PlaceBook>,
    /// Told when something waits.
    pub activity: Notify,
}

impl PlaceDesk {
    /// A desk in front of this broker.
    #[must_use]
    pub fn new(store: Arc<dyn UserPlaces>) -> Self {
        Self { store, book: Mutex::default(), activity: Notify::new() }
    }

    /// The book, for a moment.
    pub fn book(&self) -> MutexGuard<'_, PlaceBook> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims a place for a connection. `false`: it is not counted.
    #[must_use]
    pub fn claim(&self, claim: PlaceClaim) -> bool {
        let taken = self.book().claim(claim);
        self.activity.notify_one();
        taken
    }

    /// A connection is over: its place is free, if it has one.
    pub fn give_back(&self, session: &Session) {
        if let Some(user) = session.grant.user()
            && session.holds_place
        {
            self.book().give_back(PlaceClaim { user: Arc::clone(user), connection: session.id.0 });
            self.activity.notify_one();
        }
    }
}
