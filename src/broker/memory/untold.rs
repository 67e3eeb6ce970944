//! Acks of which authors are to be told, in this process: their pod may be an edge, which dies alone.
//!
//! Always holds: it is bounded in number and age; of a user that was erased nothing is here.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{
    broker::{MAX_UNTOLD, UNTOLD_AGE, UntoldAck},
    model::{Position, Room, Telling, UnixMillis},
};

/// The most of all users: as many as each of the parts has that users are spread over in Redis.
const MOST: usize = 16 * MAX_UNTOLD;

#[derive(Debug)]
struct DueAck {
    /// When it was kept, or taken last.
    since: UnixMillis,
    kept_at: UnixMillis,
    read: Position,
    before: Vec<Position>,
}

/// The acks of which authors were not told yet.
#[derive(Debug, Default)]
pub(super) struct DueAcks {
    users: HashMap<Arc<str>, HashMap<Room, DueAck>>,
    count: usize,
}

impl DueAcks {
    /// An ack was kept, or is told of. `further`: it is further than `before`.
    pub(super) fn note(
        &mut self,
        (user, room): (&Arc<str>, &Room),
        (position, telling): (&Position, &Telling),
        (further, before): (bool, &[Position]),
        now: UnixMillis,
    ) {
        match telling {
            Telling::Nothing => {}
            Telling::Due if further => self.put(user, room, position, before, now),
            Telling::Due => {}
            Telling::Withheld => self.remove(user, room),
            Telling::Told(before) => {
                let Some(due) = self.users.get_mut(user).and_then(|rooms| rooms.get_mut(room)) else { return };
                if due.before != *before {
                    return;
                }
                if due.read == *position {
                    self.remove(user, room);
                } else {
                    due.before = vec![position.clone()];
                }
            }
        }
    }

    fn put(&mut self, user: &Arc<str>, room: &Room, position: &Position, before: &[Position], now: UnixMillis) {
        if let Some(due) = self.users.get_mut(user).and_then(|rooms| rooms.get_mut(room)) {
            due.read = position.clone();
            return;
        }
        if self.count >= MOST {
            return;
        }
        let due = DueAck { since: now, kept_at: now, read: position.clone(), before: before.to_vec() };
        self.users.entry(Arc::clone(user)).or_default().insert(room.clone(), due);
        self.count += 1;
    }

    fn remove(&mut self, user: &str, room: &Room) {
        if let Some(rooms) = self.users.get_mut(user) {
            self.count -= usize::from(rooms.remove(room).is_some());
            if rooms.is_empty() {
                self.users.remove(user);
            }
        }
    }

    /// Nothing of a user is to be told any more.
    pub(super) fn forget(&mut self, user: &str) {
        self.count -= self.users.remove(user).map_or(0, |rooms| rooms.len());
    }

    /// Those that were kept, or taken, so long ago.
    pub(super) fn take(&mut self, older: Duration, most: usize, now: UnixMillis) -> Vec<UntoldAck> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let mut taken = Vec::new();
        for (user, rooms) in &mut self.users {
            let all = rooms.len();
            rooms.retain(|_, due| due.kept_at.saturating_add(millis(UNTOLD_AGE)) > now);
            self.count -= all - rooms.len();
            for (room, due) in rooms {
                if taken.len() < most && due.since.saturating_add(millis(older)) <= now {
                    due.since = now;
                    let (read, before) = (due.read.clone(), due.before.clone());
                    taken.push(UntoldAck { user: Arc::clone(user), room: room.clone(), read, before });
                }
            }
        }
        self.users.retain(|_, rooms| !rooms.is_empty());
        taken
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Epoch;

    #[test]
    fn what_is_to_be_told_is_bounded_and_ends_by_itself() {
        let mut due = DueAcks::default();
        let (room, at) = (Room::parse("dm:1").unwrap(), Position::new(Epoch::new("e"), 1));
        for n in 0..=MOST {
            due.note((&n.to_string().into(), &room), (&at, &Telling::Due), (true, &[]), 100);
        }
        assert_eq!(due.take(Duration::from_millis(1), usize::MAX, 100).len(), 0);
        assert_eq!(due.take(Duration::from_millis(1), 10, 101).len(), 10);
        assert_eq!(due.take(Duration::from_millis(1), usize::MAX, 101).len(), MOST - 10, "the others");
        assert_eq!(due.take(Duration::from_millis(1), usize::MAX, 3_600_101).len(), 0);
        assert!(due.users.is_empty() && due.count == 0);
    }
}
