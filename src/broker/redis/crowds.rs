//! This pod's members, and what of them Redis has not been told yet. Never talks to Redis itself: `presence` does.
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
    pub(super) member: Member,
}

#[derive(Debug, Default)]
struct Crowd {
    members: HashMap<Arc<str>, Option<Arc<str>>>,
    waiting: Vec<Change>,
    /// Whether a portion is being written.
    busy: bool,
    /// Whether Redis may say something else than `members` and `waiting` together.
    doubtful: bool,
}

impl Crowd {
    fn is_over(&self) -> bool {
        self.members.is_empty() && self.waiting.is_empty() && !self.busy && !self.doubtful
    }
}

#[derive(Debug, Default)]
struct Inner {
    crowds: HashMap<Room, Crowd>,
    /// Rooms with something to do that nobody is at.
    ready: BTreeSet<Room>,
    waiting: usize,
}

/// What is to be done for a room.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Tell Redis.
    Write(Room, Vec<Change>),
    /// See what Redis has, and make it these.
    Resync(Room, Vec<Member>),
}

/// The members of every room on this pod.
#[derive(Debug, Default)]
pub(super) struct Crowds {
    inner: Mutex<Inner>,
    /// Told when there is work.
    pub(super) ready: Notify,
}

impl Crowds {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn join(&self, room: &Room, member: &Member) {
        let mut inner = self.lock();
        let crowd = inner.crowds.entry(room.clone()).or_default();
        let before = crowd.members.insert(Arc::clone(&member.connection), member.user.clone());
        if before.as_ref() != Some(&member.user) {
            self.change(&mut inner, room, Change { joined: true, member: member.clone() });
        }
    }

    pub(super) fn leave(&self, room: &Room, member: &Member) {
        let mut inner = self.lock();
        let Some(crowd) = inner.crowds.get_mut(room) else { return };
        if crowd.members.remove(&member.connection).is_some() {
            self.change(&mut inner, room, Change { joined: false, member: member.clone() });
        }
    }

    fn change(&self, inner: &mut Inner, room: &Room, change: Change) {
        let full = inner.waiting >= MAX_WAITING;
        let Some(crowd) = inner.crowds.get_mut(room) else { return };
        if crowd.doubtful {
            // It is written anew anyway.
        } else if full {
            inner.waiting -= crowd.waiting.len();
            crowd.waiting = Vec::new();
            crowd.doubtful = true;
        } else {
            crowd.waiting.push(change);
            inner.waiting += 1;
        }
        if !crowd.busy {
            inner.ready.insert(room.clone());
            self.ready.notify_one();
        }
    }

    /// Redis may have something else: the room is written anew.
    pub(super) fn doubt(&self, room: &Room) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Some(crowd) = inner.crowds.get_mut(room) else { return };
        inner.waiting -= crowd.waiting.len();
        crowd.waiting = Vec::new();
        crowd.doubtful = true;
        if !crowd.busy {
            inner.ready.insert(room.clone());
            self.ready.notify_one();
        }
    }

    /// The same for every room.
    pub(super) fn doubt_all(&self) {
        let rooms: Vec<Room> = self.lock().crowds.keys().cloned().collect();
        for room in rooms {
            self.doubt(&room);
        }
    }

    /// How many members Redis should have of the room; `None` while it is being told, or if there is no such room.
    pub(super) fn settled(&self, room: &Room) -> Option<usize> {
        let inner = self.lock();
        let crowd = inner.crowds.get(room)?;
        let settled = crowd.waiting.is_empty() && !crowd.busy && !crowd.doubtful;
        settled.then_some(crowd.members.len())
    }

    /// The next thing to do. Whoever takes it says so when it is [`done`](Self::done).
    pub(super) fn next(&self) -> Option<Work> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let room = inner.ready.pop_first()?;
        let crowd = inner.crowds.get_mut(&room)?;
        crowd.busy = true;
        if crowd.doubtful {
            crowd.doubtful = false;
            let member = |(connection, user): (&Arc<str>, &Option<Arc<str>>)| Member {
                connection: Arc::clone(connection),
                user: user.clone(),
            };
            return Some(Work::Resync(room, crowd.members.iter().map(member).collect()));
        }
        let portion = crowd.waiting.len().min(PORTION);
        let changes: Vec<Change> = crowd.waiting.drain(..portion).collect();
        inner.waiting -= changes.len();
        Some(Work::Write(room, changes))
    }

    /// A room's work is done, or failed for good: then it is done anew, as a whole.
    pub(super) fn done(&self, room: &Room, succeeded: bool) {
        {
            let mut inner = self.lock();
            let Some(crowd) = inner.crowds.get_mut(room) else { return };
            crowd.busy = false;
            if crowd.is_over() && succeeded {
                inner.crowds.remove(room);
                return;
            }
            if succeeded && (!crowd.waiting.is_empty() || crowd.doubtful) {
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
        let (crowds, a) = (Crowds::default(), room("a"));
        crowds.join(&a, &member(1));
        crowds.join(&a, &member(1));
        crowds.join(&a, &member(2));
        assert_eq!(changes(crowds.next()), [(true, "1".to_owned()), (true, "2".to_owned())]);
        crowds.leave(&a, &member(1));
        crowds.leave(&a, &member(1));
        assert_eq!((crowds.next(), crowds.settled(&a)), (None, None), "the room is being written");
        crowds.done(&a, true);
        assert_eq!(changes(crowds.next()), [(false, "1".to_owned())]);
        crowds.done(&a, true);
        assert_eq!((crowds.next(), crowds.settled(&a)), (None, Some(1)));
        crowds.leave(&a, &member(2));
        assert_eq!(changes(crowds.next()).len(), 1);
        crowds.done(&a, true);
        assert!(crowds.lock().crowds.is_empty() && crowds.lock().waiting == 0);
    }

    #[test]
    fn what_failed_or_did_not_fit_is_written_anew() {
        let (crowds, a) = (Crowds::default(), room("a"));
        crowds.join(&a, &member(1));
        let _ = crowds.next();
        crowds.done(&a, false);
        assert_eq!(crowds.next(), Some(Work::Resync(a.clone(), vec![member(1)])));
        crowds.done(&a, true);
        for n in 0..MAX_WAITING + 10 {
            crowds.join(&room("b"), &member(n));
        }
        match crowds.next() {
            Some(Work::Resync(_, members)) => assert_eq!(members.len(), MAX_WAITING + 10),
            other => panic!("{other:?}"),
        }
        assert_eq!(crowds.lock().waiting, 0);
        crowds.leave(&a, &member(1));
        let _ = crowds.next();
        crowds.done(&a, false);
        assert_eq!(crowds.next(), Some(Work::Resync(a, vec![])));
    }
}
