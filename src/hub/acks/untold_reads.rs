//! What users have read, and its authors were not told of yet.
//!
//! Always holds: it is bounded, and what does not fit is lost, as any receipt may be; a round of acks never waits for authors.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

use super::receipts::ReadSpan;

/// What waits, and the users of which authors are being told.
#[derive(Debug, Default)]
struct SpanBook {
    spans: Vec<ReadSpan>,
    telling: Vec<Arc<str>>,
}

/// What waits for authors to be told.
#[derive(Debug, Default)]
pub struct UntoldReads {
    book: Mutex<SpanBook>,
    activity: Notify,
    ended: AtomicBool,
}

impl UntoldReads {
    /// The most that waits: as much as one round writes.
    const MAX: usize = 32_768;

    fn lock(&self) -> MutexGuard<'_, SpanBook> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what was read. How much of it is lost.
    pub(super) fn add(&self, mut read: Vec<ReadSpan>) -> usize {
        let mut book = self.lock();
        let room = Self::MAX - book.spans.len().min(Self::MAX);
        let lost = read.len().saturating_sub(room);
        read.truncate(room);
        book.spans.append(&mut read);
        drop(book);
        self.activity.notify_one();
        lost
    }

    /// No more comes.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.activity.notify_one();
    }

    fn take(&self) -> Vec<ReadSpan> {
        let mut book = self.lock();
        let spans = std::mem::take(&mut book.spans);
        book.telling = spans.iter().map(|span| Arc::clone(&span.user)).collect();
        spans
    }

    /// What waits of a user is told to no author any more. Whether authors are being told of it.
    #[must_use]
    pub fn forget(&self, user: &str) -> bool {
        let mut book = self.lock();
        book.spans.retain(|span| *span.user != *user);
        book.telling.iter().any(|telling| **telling == *user)
    }

    /// All of it, once there is some, when what was taken before is told. `None`: no more comes.
    pub(super) async fn next(&self) -> Option<Vec<ReadSpan>> {
        loop {
            // Looked at first: what came before the end is there.
            let ended = self.ended.load(Ordering::Acquire);
            let spans = self.take();
            if !spans.is_empty() || ended {
                return Some(spans).filter(|spans| !spans.is_empty());
            }
            self.activity.notified().await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{Epoch, Position, Progress, Room};

    #[tokio::test]
    async fn what_waits_is_bounded_and_none_of_it_is_left_behind() {
        let untold = UntoldReads::default();
        let span = || ReadSpan {
            progress: Progress::Read,
            user: "bob".into(),
            room: Room::parse("dm:1").unwrap(),
            after: 0,
            upto: Position::new(Epoch::new("e"), 1),
            before: Vec::new(),
        };
        assert_eq!(untold.add(vec![span(); UntoldReads::MAX - 1]), 0);
        assert_eq!(untold.add(vec![span(); 3]), 2);
        assert_eq!(untold.take().len(), UntoldReads::MAX);
        assert_eq!((untold.take().len(), untold.add(vec![span()])), (0, 0));
        untold.end();
        assert_eq!(untold.next().await, Some(vec![span()]));
        assert!(untold.forget("bob") && !untold.forget("ann"), "authors are being told of it");
        assert_eq!(untold.next().await, None);
        assert!(!untold.forget("bob"));
        untold.add(vec![span(), ReadSpan { user: "ann".into(), ..span() }]);
        assert!(!untold.forget("bob"));
        assert_eq!(untold.take().len(), 1);
    }
}
