//! Which users this pod noted lately as authors of rooms.
//!
//! Always holds: it is bounded, and forgetting a note costs a question to the broker and nothing else.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::model::{Epoch, Room};

/// That the broker knows a user as an author of a room.
#[derive(Debug)]
struct AuthorNote {
    at: Instant,
    /// The epoch of the room's log then; `None`: not known yet. What the broker knew may end with it.
    epoch: Option<Epoch>,
}

/// The notes that this pod made lately.
#[derive(Debug, Default)]
pub struct AuthorNotes(Mutex<HashMap<(Room, Box<str>), AuthorNote>>);

impl AuthorNotes {
    /// The most that are remembered.
    const MAX: usize = 16_384;

    fn lock(&self) -> MutexGuard<'_, HashMap<(Room, Box<str>), AuthorNote>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a user was noted within that time.
    #[must_use]
    pub fn is_fresh(&self, room: &Room, user: &str, within: Duration) -> bool {
        let place = (room.clone(), user.into());
        self.lock().get(&place).is_some_and(|note| note.at.elapsed() < within)
    }

    /// A user was noted.
    pub fn noted(&self, room: &Room, user: &str, at: Instant) {
        let mut notes = self.lock();
        if notes.len() >= Self::MAX {
            notes.clear();
        }
        notes.insert((room.clone(), user.into()), AuthorNote { at, epoch: None });
    }

    /// An event of a noted user has its place. `false`: the log has begun anew since it was noted, so that it must be noted again.
    #[must_use]
    pub fn holds(&self, room: &Room, user: &str, epoch: &Epoch) -> bool {
        let mut notes = self.lock();
        let place = (room.clone(), user.into());
        let is_of = |note: &mut AuthorNote| *note.epoch.get_or_insert_with(|| epoch.clone()) == *epoch;
        let holds = notes.get_mut(&place).is_some_and(is_of);
        if !holds {
            notes.remove(&place);
        }
        holds
    }

    /// Nothing of a user is remembered any more, nor of rooms that are its own.
    pub fn forget(&self, user: &str, own: &[Room]) {
        self.lock().retain(|(room, of), _| **of != *user && !own.contains(room));
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
        notes.forget("ann", &[]);
        assert!(!notes.is_fresh(&room, "ann", within));
        notes.noted(&room, "bob", now);
        notes.forget("ann", &[Room::parse("a").unwrap()]);
        assert!(!notes.is_fresh(&room, "bob", within), "its own room is gone, and what the broker knew of it");
        (0..=AuthorNotes::MAX).for_each(|n| notes.noted(&room, &n.to_string(), now));
        assert_eq!(notes.lock().len(), 1);
    }

    #[test]
    fn a_note_ends_with_the_epoch_of_its_log() {
        let (notes, room, within) = (AuthorNotes::default(), Room::parse("a").unwrap(), Duration::from_secs(60));
        notes.noted(&room, "ann", Instant::now());
        for epoch in ["e", "e"] {
            assert!(notes.holds(&room, "ann", &Epoch::new(epoch)));
        }
        assert!(!notes.holds(&room, "ann", &Epoch::new("f")) && !notes.is_fresh(&room, "ann", within));
        assert!(!notes.holds(&room, "ann", &Epoch::new("f")), "until it is noted again");
    }
}
