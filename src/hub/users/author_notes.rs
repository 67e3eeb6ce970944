//! Which users this pod noted lately as authors of rooms.
//!
//! Always holds: it is bounded, and forgetting a note costs a question to the broker and nothing else.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::model::Room;

/// The notes that this pod made lately.
#[derive(Debug, Default)]
pub struct AuthorNotes(Mutex<HashMap<(Room, Box<str>), Instant>>);

impl AuthorNotes {
    /// The most that are remembered.
    const MAX: usize = 16_384;

    fn lock(&self) -> MutexGuard<'_, HashMap<(Room, Box<str>), Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a user was noted within that time.
    #[must_use]
    pub fn is_fresh(&self, room: &Room, user: &str, within: Duration) -> bool {
        let place = (room.clone(), user.into());
        self.lock().get(&place).is_some_and(|noted| noted.elapsed() < within)
    }

    /// A user was noted.
    pub fn noted(&self, room: &Room, user: &str, at: Instant) {
        let mut notes = self.lock();
        if notes.len() >= Self::MAX {
            notes.clear();
        }
        notes.insert((room.clone(), user.into()), at);
    }

    /// Nothing of a user is remembered any more.
    pub fn forget(&self, user: &str) {
        self.lock().retain(|(_, of), _| **of != *user);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_remembered_for_a_while_and_bounded() {
        let (notes, room, now) = (AuthorNotes::default(), Room::parse("a").unwrap(), Instant::now());
        notes.noted(&room, "ann", now);
        let within = Duration::from_secs(60);
        assert!(notes.is_fresh(&room, "ann", within) && !notes.is_fresh(&room, "bob", within));
        assert!(!notes.is_fresh(&room, "ann", Duration::ZERO));
        notes.forget("ann");
        assert!(!notes.is_fresh(&room, "ann", within));
        (0..=AuthorNotes::MAX).for_each(|n| notes.noted(&room, &n.to_string(), now));
        assert_eq!(notes.lock().len(), 1);
    }
}
