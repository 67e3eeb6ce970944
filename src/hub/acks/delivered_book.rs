//! What devices have got, as their clients say, until authors are told of it.
//!
//! Never asks the broker: the log has an event for each that an author is told of, whatever a client says. Always holds: of a user in a room
//! one position waits, the newest; what is not further than what was told is not told again, as far as that is remembered; both are bounded,
//! and no user takes all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::{ack_book::AckBook, receipts::ReadSpan};
use crate::model::{Position, Progress, Room};

/// Positions by user and room.
#[derive(Debug, Default)]
struct ByUser {
    users: HashMap<Arc<str>, HashMap<Room, Position>>,
    /// How many there are.
    count: usize,
}

impl ByUser {
    fn get(&self, user: &str, room: &Room) -> Option<&Position> {
        self.users.get(user)?.get(room)
    }

    fn of(&self, user: &str) -> usize {
        self.users.get(user).map_or(0, HashMap::len)
    }

    /// Puts one there; what was there before.
    fn insert(&mut self, user: &Arc<str>, room: Room, position: Position) -> Option<Position> {
        let before = self.users.entry(Arc::clone(user)).or_default().insert(room, position);
        self.count += usize::from(before.is_none());
        before
    }

    fn remove(&mut self, user: &str) {
        self.count -= self.users.remove(user).map_or(0, |rooms| rooms.len());
    }
}

#[derive(Debug, Default)]
struct Positions {
    waiting: ByUser,
    /// What was told lately.
    told: ByUser,
}

/// What devices have got.
#[derive(Debug, Default)]
pub struct DeliveredBook {
    positions: Mutex<Positions>,
    activity: Notify,
}

impl DeliveredBook {
    /// The most that wait, and that are remembered.
    const MAX: usize = 32_768;

    fn lock(&self) -> MutexGuard<'_, Positions> {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A device of a user has a room's events up to this one. `false`: there is no room for it.
    #[must_use]
    pub fn put(&self, user: &Arc<str>, room: Room, position: Position) -> bool {
        let mut positions = self.lock();
        let Positions { waiting, told } = &mut *positions;
        let is_behind = |known: &Position| known.epoch == position.epoch && known.offset >= position.offset;
        let waits = waiting.get(user, &room);
        if told.get(user, &room).is_some_and(is_behind) || waits.is_some_and(is_behind) {
            return true;
        }
        if waits.is_none() && !AckBook::<()>::has_place(waiting.of(user), waiting.count, Self::MAX) {
            return false;
        }
        let was_idle = waiting.count == 0;
        waiting.insert(user, room, position);
        drop(positions);
        if was_idle {
            self.activity.notify_one();
        }
        true
    }

    /// Waits until something waits.
    pub(super) async fn notified(&self) {
        self.activity.notified().await;
    }

    /// Takes what waits.
    pub(super) fn take(&self) -> Vec<ReadSpan> {
        let mut positions = self.lock();
        let waiting = std::mem::take(&mut positions.waiting);
        if positions.told.count + waiting.count > Self::MAX {
            // Some may be told once more, which says nothing new.
            positions.told = ByUser::default();
        }
        let mut spans = Vec::with_capacity(waiting.count);
        for (user, rooms) in waiting.users {
            for (room, upto) in rooms {
                let before = positions.told.insert(&user, room.clone(), upto.clone());
                let after = before.filter(|before| before.epoch == upto.epoch).map_or(0, |before| before.offset);
                let (progress, user, before) = (Progress::Delivered, Arc::clone(&user), Vec::new());
                spans.push(ReadSpan { progress, user, room, after, upto, before });
            }
        }
        spans
    }

    /// Nothing of a user is known any more.
    pub fn forget(&self, user: &str) {
        let mut positions = self.lock();
        positions.waiting.remove(user);
        positions.told.remove(user);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Epoch;

    fn put(book: &DeliveredBook, user: &str, room: &str, epoch: &str, offset: u64) -> bool {
        book.put(&user.into(), Room::parse(room).unwrap(), Position::new(Epoch::new(epoch), offset))
    }

    fn taken(book: &DeliveredBook) -> Vec<String> {
        let of = |span: &ReadSpan| {
            format!("{} {} {}-{}{}", span.user, span.room, span.after, span.upto.epoch, span.upto.offset)
        };
        let mut spans: Vec<_> = book.take().iter().map(of).collect();
        spans.sort();
        spans
    }

    #[test]
    fn of_a_user_in_a_room_the_newest_is_told_once() {
        let book = DeliveredBook::default();
        for (room, offset) in [("a", 3), ("a", 5), ("a", 4), ("b", 1)] {
            assert!(put(&book, "ann", room, "e", offset));
        }
        assert_eq!(taken(&book), ["ann a 0-e5", "ann b 0-e1"]);
        assert!(put(&book, "ann", "a", "e", 5) && taken(&book).is_empty(), "from another device");
        assert!(put(&book, "ann", "a", "e", 9) && put(&book, "ann", "b", "f", 1));
        assert_eq!(taken(&book), ["ann a 5-e9", "ann b 0-f1"], "another log is counted anew");
        assert!(put(&book, "ann", "a", "f", 2));
        book.forget("ann");
        assert!(taken(&book).is_empty() && book.lock().told.users.is_empty() && book.lock().told.count == 0);
    }

    #[test]
    fn what_waits_and_what_is_remembered_is_bounded() {
        let book = DeliveredBook::default();
        let of_one = (0..2_000).take_while(|n| put(&book, "ann", &n.to_string(), "e", 1)).count();
        assert_eq!(of_one, AckBook::<()>::MAX_OF_USER);
        let others = (0..40_000).take_while(|n| put(&book, &n.to_string(), "a", "e", 1)).count();
        assert_eq!(of_one + others, DeliveredBook::MAX);
        assert!(!put(&book, "bob", "a", "e", 1) && put(&book, "7", "a", "e", 2), "what waits has its place");
        assert_eq!(book.take().len(), DeliveredBook::MAX);
        assert!(put(&book, "bob", "a", "e", 1));
        assert_eq!((book.take().len(), book.lock().told.count), (1, 1));
    }
}
