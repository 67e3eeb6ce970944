//! How far users have read, in this process.
//!
//! Holds at most a share of the broker's bytes: where an ack does not fit, those go that were repeated least lately. Always holds: what
//! is too old is not there, swept or not.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::untold::DueAcks;
use crate::{
    broker::{AckBounds, BrokerError, KeptAck, MAX_EPOCHS, UntoldAck, advance},
    model::{Ack, Position, Room, Telling, UnixMillis},
};

/// What a user costs beside its name, and a room of it beside its own.
const USER: usize = 160;
const ROOM: usize = 192;

#[derive(Debug)]
struct ReadRoom {
    /// The newest epoch last.
    positions: Vec<Position>,
    time: UnixMillis,
}

#[derive(Debug, Default)]
struct UserTable {
    users: HashMap<Arc<str>, HashMap<Room, ReadRoom>>,
    bytes: usize,
    /// How often all of it was looked through to make place.
    #[cfg(test)]
    looks: usize,
    due: DueAcks,
    /// The age by which the last write was bounded: sweeping knows no configuration.
    age_ms: u64,
}

/// What the users of a pod without a fleet have read.
#[derive(Debug)]
pub(super) struct KeptAcks {
    inner: Mutex<UserTable>,
    limit: usize,
}

fn cost(room: &Room) -> usize {
    ROOM + room.as_str().len()
}

fn age_of(bounds: AckBounds) -> u64 {
    u64::try_from(bounds.age.as_millis()).unwrap_or(u64::MAX)
}

impl UserTable {
    /// Drops what is older than `until` of all users.
    fn expire(&mut self, until: UnixMillis) {
        self.retain(|read| read.time > until);
    }

    /// Makes place for so many bytes: an eighth of all goes, the oldest first, so that the next looks are far between.
    fn make_place(&mut self, bytes: usize, limit: usize) {
        #[cfg(test)]
        (self.looks += 1);
        let costs = |(room, read): (&Room, &ReadRoom)| (read.time, cost(room));
        let mut all: Vec<_> = self.users.values().flatten().map(costs).collect();
        all.sort_unstable();
        let mut missing = (self.bytes + bytes).saturating_sub(limit).max(limit / 8);
        let (mut until, mut of_these) = (0, 0);
        for (time, cost) in all {
            if missing == 0 {
                break;
            }
            missing = missing.saturating_sub(cost);
            of_these = if time == until { of_these + 1 } else { 1 };
            until = time;
        }
        // Of those that are of one time no more go than must.
        self.retain(|read| {
            let goes = read.time < until || (read.time == until && of_these > 0);
            of_these -= usize::from(goes && read.time == until);
            !goes
        });
    }

    fn retain(&mut self, mut stays: impl FnMut(&ReadRoom) -> bool) {
        let bytes = &mut self.bytes;
        self.users.retain(|user, rooms| {
            rooms.retain(|room, read| {
                let stays = stays(read);
                if !stays {
                    *bytes -= cost(room);
                }
                stays
            });
            if rooms.is_empty() {
                *bytes -= USER + user.len();
            }
            !rooms.is_empty()
        });
    }
}

impl KeptAcks {
    pub(super) fn new(limit: usize) -> Self {
        Self { inner: Mutex::default(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, UserTable> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an ack, and what authors are to be told of it. One that says that they were told keeps nothing else.
    pub(super) fn keep(&self, ack: &Ack, bounds: AckBounds, now: UnixMillis) -> Result<KeptAck, BrokerError> {
        let mut table = self.lock();
        let kept = match ack.telling {
            Telling::Told(_) => KeptAck { further: false, before: Vec::new() },
            _ => self.keep_read(&mut table, ack, bounds, now)?,
        };
        let KeptAck { further, before } = &kept;
        table.due.note((&ack.user, &ack.room), (&ack.position, &ack.telling), (*further, before), now);
        Ok(kept)
    }

    fn keep_read(
        &self,
        table: &mut UserTable,
        ack: &Ack,
        bounds: AckBounds,
        now: UnixMillis,
    ) -> Result<KeptAck, BrokerError> {
        table.age_ms = age_of(bounds);
        let known = table.users.get_mut(&ack.user);
        let is_new_user = known.is_none();
        if let Some(rooms) = known
            && let Some(read) = rooms.get_mut(&ack.room)
        {
            if read.time.saturating_add(age_of(bounds)) <= now {
                read.positions.clear();
            }
            read.time = now;
            let before = read.positions.clone();
            return Ok(KeptAck { further: advance(&mut read.positions, &ack.position, MAX_EPOCHS), before });
        }
        let mut bytes = cost(&ack.room);
        if is_new_user {
            bytes += USER + ack.user.len();
        }
        if table.bytes + bytes > self.limit {
            // What is too old is oldest.
            table.make_place(bytes, self.limit);
        }
        if table.bytes + bytes > self.limit {
            return Err(BrokerError::TooLarge { bytes, limit: self.limit });
        }
        if !table.users.contains_key(&ack.user) {
            table.bytes += USER + ack.user.len();
        }
        let rooms = table.users.entry(Arc::clone(&ack.user)).or_default();
        while rooms.len() >= bounds.rooms {
            let Some(oldest) = rooms.iter().min_by_key(|(_, read)| read.time).map(|(room, _)| room.clone()) else {
                break;
            };
            rooms.remove(&oldest);
            table.bytes -= cost(&oldest);
        }
        table.bytes += cost(&ack.room);
        rooms.insert(ack.room.clone(), ReadRoom { positions: vec![ack.position.clone()], time: now });
        Ok(KeptAck { further: true, before: Vec::new() })
    }

    /// Acks of which authors should have been told so long ago.
    pub(super) fn take_untold(&self, older: Duration, most: usize, now: UnixMillis) -> Vec<UntoldAck> {
        self.lock().due.take(older, most, now)
    }

    pub(super) fn forget(&self, user: &str) {
        let table = &mut *self.lock();
        table.due.forget(user);
        if let Some(rooms) = table.users.remove(user) {
            table.bytes -= USER + user.len() + rooms.keys().map(cost).sum::<usize>();
        }
    }

    pub(super) fn kept(&self, user: &str, bounds: AckBounds, now: UnixMillis) -> Vec<(Room, Vec<Position>)> {
        let (table, until) = (self.lock(), now.saturating_sub(age_of(bounds)));
        let rooms = table.users.get(user).into_iter().flatten();
        rooms.filter(|(_, read)| read.time > until).map(|(room, read)| (room.clone(), read.positions.clone())).collect()
    }

    /// Drops what is too old.
    pub(super) fn sweep(&self, now: UnixMillis) {
        let mut table = self.lock();
        if !table.users.is_empty() {
            let until = now.saturating_sub(table.age_ms);
            table.expire(until);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Epoch;

    fn ack(user: &str, room: &str, offset: u64) -> Ack {
        let position = Position::new(Epoch::new("e"), offset);
        Ack { user: user.into(), room: Room::parse(room).unwrap(), position, telling: Telling::Nothing }
    }

    const BOUNDS: AckBounds = AckBounds { rooms: 1_000, age: Duration::from_millis(100_000) };

    #[test]
    fn what_is_oldest_makes_place() {
        let acks = KeptAcks::new(2 * (USER + ROOM + 2));
        let keep = |user: &str, room: &str, now| {
            acks.keep(&ack(user, room, 1), BOUNDS, now).map(|KeptAck { further, .. }| further)
        };
        let rooms = |user: &str| acks.kept(user, BOUNDS, 110).len();
        assert_eq!((keep("a", "r", 100), keep("b", "r", 105)), (Ok(true), Ok(true)));
        assert_eq!(keep("b", "r", 109), Ok(false), "what is known costs nothing more");
        assert_eq!((keep("b", "s", 110), rooms("a"), rooms("b")), (Ok(true), 0, 2), "the other user is forgotten");
        let long = "x".repeat(2 * (USER + ROOM));
        assert!(matches!(keep(&long, "r", 111), Err(BrokerError::TooLarge { .. })));
        acks.sweep(200_000);
        let table = acks.lock();
        assert!(table.users.is_empty() && table.bytes == 0);
    }

    #[test]
    fn a_full_table_is_not_looked_through_for_each_ack() {
        let acks = KeptAcks::new(1_000 * (USER + ROOM + 8));
        for n in 0..10_000_u64 {
            // Many are of one time.
            assert!(acks.keep(&ack(&format!("u{n}"), "r", 1), BOUNDS, 100 + n / 700).is_ok());
        }
        let table = acks.lock();
        assert!(table.looks < 100 && table.users.len() > 800, "{} looks, {} users", table.looks, table.users.len());
        assert!(table.bytes <= acks.limit && table.users.contains_key("u9999"));
        let cost_of_all: usize = table.users.keys().map(|user| USER + user.len() + ROOM + 1).sum();
        assert_eq!(table.bytes, cost_of_all);
    }
}
