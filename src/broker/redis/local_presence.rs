//! This pod's members, and the changes that Redis does not have yet. Never talks to Redis: `presence` does.
//!
//! Always holds: the changes of a room are handed out in order, one portion at a time; changes that do not fit are
//! dropped and the room marked, so that it is written anew as a whole.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::model::{Member, Room};

/// The most changes that wait for Redis, of all rooms together.
const MAX_WAITING: usize = 65_536;

/// The most changes of one portion.
const PORTION: usize = 512;

/// A join or a leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) joined: bool,
    /// Whether another pod may have the member, too.
    pub(super) of_edge: bool,
    pub(super) member: Member,
}

#[derive(Debug, Default)]
struct RoomMembers {
    members: HashMap<Arc<str>, Option<Arc<str>>>,
    waiting: Vec<Change>,
    /// Whether a portion is being written.
    busy: bool,
    /// Whether Redis may differ from `members` and `waiting` together.
    doubtful: bool,
}

impl RoomMembers {
    fn is_over(&self) -> bool {
        self.members.is_empty() && self.waiting.is_empty() && !self.busy && !self.doubtful
    }
}

#[derive(Debug, Default)]
struct PresenceState {
    rooms: HashMap<Room, RoomMembers>,
    /// Rooms with work that is not being done.
    ready: BTreeSet<Room>,
    waiting: usize,
}

/// Work for one room.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Write these changes.
    Write(Room, Vec<Change>),
    /// Make the members that Redis has these.
    Resync(Room, Vec<Member>),
}

/// The members of every room on this pod.
#[derive(Debug, Default)]
pub(super) struct LocalPresence {
    inner: Mutex<PresenceState>,
    /// Notified of work.
    pub(super) ready: Notify,
}

impl LocalPresence {
    fn lock(&self) -> MutexGuard<'_, PresenceState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn join(&self, room: &Room, member: &Member) {
        self.enter(room, member, false);
    }

    pub(super) fn join_of_edge(&self, room: &Room, member: &Member) {
        self.enter(room, member, true);
    }

    pub(super) fn leave(&self, room: &Room, member: &Member) {
        self.remove(room, member, false);
    }

    pub(super) fn leave_of_edge(&self, room: &Room, member: &Member) {
        self.remove(room, member, true);
    }

    fn enter(&self, room: &Room, member: &Member, of_edge: bool) {
        let mut inner = self.lock();
        let room_members = inner.rooms.entry(room.clone()).or_default();
        let before = room_members.members.insert(Arc::clone(&member.connection), member.user.clone());
        if before.as_ref() != Some(&member.user) {
            self.change(&mut inner, room, Change { joined: true, of_edge, member: member.clone() });
        }
    }

    fn remove(&self, room: &Room, member: &Member, of_edge: bool) {
        let mut inner = self.lock();
        let Some(room_members) = inner.rooms.get_mut(room) else { return };
        if room_members.members.remove(&member.connection).is_some() {
            self.change(&mut inner, room, Change { joined: false, of_edge, member: member.clone() });
        }
    }

    fn change(&self, inner: &mut PresenceState, room: &Room, change: Change) {
        let full = inner.waiting >= MAX_WAITING;
        let Some(room_members) = inner.rooms.get_mut(room) else { return };
        if room_members.doubtful {
            // The room is written anew anyway.
        } else if full {
            inner.waiting -= room_members.waiting.len();
            room_members.waiting = Vec::new();
            room_members.doubtful = true;
        } else {
            room_members.waiting.push(change);
            inner.waiting += 1;
        }
        if !room_members.busy {
            inner.ready.insert(room.clone());
            self.ready.notify_one();
        }
    }

    /// Redis may differ: the room is written anew.
    pub(super) fn doubt(&self, room: &Room) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Some(room_members) = inner.rooms.get_mut(room) else { return };
        inner.waiting -= room_members.waiting.len();
        room_members.waiting = Vec::new();
        room_members.doubtful = true;
        if !room_members.busy {
            inner.ready.insert(room.clone());
            self.ready.notify_one();
        }
    }

    /// The same for every room.
    pub(super) fn doubt_all(&self) {
        let rooms: Vec<Room> = self.lock().rooms.keys().cloned().collect();
        for room in rooms {
            self.doubt(&room);
        }
    }

    /// How many members Redis should have of the room. `None`: changes are being written, or there is no such room.
    pub(super) fn settled(&self, room: &Room) -> Option<usize> {
        let inner = self.lock();
        let room_members = inner.rooms.get(room)?;
        let settled = room_members.waiting.is_empty() && !room_members.busy && !room_members.doubtful;
        settled.then_some(room_members.members.len())
    }

    /// Takes the next work. The caller reports when it is [`done`](Self::done).
    pub(super) fn next(&self) -> Option<Work> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let room = inner.ready.pop_first()?;
        let room_members = inner.rooms.get_mut(&room)?;
        room_members.busy = true;
        if room_members.doubtful {
            room_members.doubtful = false;
            let member = |(connection, user): (&Arc<str>, &Option<Arc<str>>)| Member {
                connection: Arc::clone(connection),
                user: user.clone(),
            };
            return Some(Work::Resync(room, room_members.members.iter().map(member).collect()));
        }
        let portion = room_members.waiting.len().min(PORTION);
        let changes: Vec<Change> = room_members.waiting.drain(..portion).collect();
        inner.waiting -= changes.len();
        Some(Work::Write(room, changes))
    }

    /// A room's work is done, or has failed: then the room is written anew, as a whole.
    pub(super) fn done(&self, room: &Room, succeeded: bool) {
        {
            let mut inner = self.lock();
            let Some(room_members) = inner.rooms.get_mut(room) else { return };
            room_members.busy = false;
            if room_members.is_over() && succeeded {
                inner.rooms.remove(room);
                return;
            }
            if succeeded && (!room_members.waiting.is_empty() || room_members.doubtful) {
                inner.ready.insert(room.clone());
                self.ready.notify_one();
            }
        }
        if !succeeded {
            self.doubt(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str) -> Room {
        Room::parse(name).expect("a name")
    }

    fn member(connection: usize) -> Member {
        Member { connection: connection.to_string().into(), user: None }
    }

    fn changes(work: Option<Work>) -> Vec<(bool, String)> {
        match work {
            Some(Work::Write(_, changes)) => {
                changes.into_iter().map(|c| (c.joined, c.member.connection.to_string())).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_rooms_changes_come_in_order_one_portion_at_a_time() {
        let (rooms, a) = (LocalPresence::default(), room("a"));
        rooms.join(&a, &member(1));
        rooms.join(&a, &member(1));
        rooms.join(&a, &member(2));
        assert_eq!(changes(rooms.next()), [(true, "1".to_owned()), (true, "2".to_owned())]);
        rooms.leave(&a, &member(1));
        rooms.leave(&a, &member(1));
        assert_eq!((rooms.next(), rooms.settled(&a)), (None, None), "the room is being written");
        rooms.done(&a, true);
        assert_eq!(changes(rooms.next()), [(false, "1".to_owned())]);
        rooms.done(&a, true);
        assert_eq!((rooms.next(), rooms.settled(&a)), (None, Some(1)));
        rooms.leave(&a, &member(2));
        assert_eq!(changes(rooms.next()).len(), 1);
        rooms.done(&a, true);
        assert!(rooms.lock().rooms.is_empty() && rooms.lock().waiting == 0);
    }

    #[test]
    fn what_failed_or_did_not_fit_is_written_anew() {
        let (rooms, a) = (LocalPresence::default(), room("a"));
        rooms.join(&a, &member(1));
        let _ = rooms.next();
        rooms.done(&a, false);
        assert_eq!(rooms.next(), Some(Work::Resync(a.clone(), vec![member(1)])));
        rooms.done(&a, true);
        for n in 0..MAX_WAITING + 10 {
            rooms.join(&room("b"), &member(n));
        }
        match rooms.next() {
            Some(Work::Resync(_, members)) => assert_eq!(members.len(), MAX_WAITING + 10),
            other => panic!("{other:?}"),
        }
        assert_eq!(rooms.lock().waiting, 0);
        rooms.leave(&a, &member(1));
        let _ = rooms.next();
        rooms.done(&a, false);
        assert_eq!(rooms.next(), Some(Work::Resync(a, vec![])));
    }
}
