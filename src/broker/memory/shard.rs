//! A part of the rooms under one lock, and the account of what all parts hold.
//!
//! Always holds: after each work on a room the account has what the room holds, and the order has its rank.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use super::{
    limits::Usage,
    room::{Class, RoomState},
};
use crate::{
    config::Policies,
    model::{Epoch, Room},
};

/// The most bytes of rooms that nothing is lost with: so many are known again, with the same epoch, when clients come back to them.
/// Clients make names up, and what they leave behind must not stay until the memory is full.
const MOST_UNUSED: usize = 1024 * 1024;

/// What all rooms hold together. May be overdrawn by what a moment's concurrent callers add.
pub(super) struct Ledger {
    limit: usize,
    bytes: AtomicUsize,
    /// Those of `bytes` that are of rooms of the class [`Class::Unused`].
    unused: AtomicUsize,
    rooms: AtomicUsize,
    evicted: AtomicUsize,
    /// Numbers the uses of rooms: the least recently used has the smallest.
    uses: AtomicU64,
    /// Random, so that no other broker's epochs are like ours.
    seed: u64,
    /// Numbers the lives of rooms, so that no two of ours are alike.
    lives: AtomicU64,
}

impl Ledger {
    pub(super) fn new(limit: usize, seed: u64) -> Self {
        Self {
            limit,
            bytes: AtomicUsize::new(0),
            unused: AtomicUsize::new(0),
            rooms: AtomicUsize::new(0),
            evicted: AtomicUsize::new(0),
            uses: AtomicU64::new(0),
            seed,
            lives: AtomicU64::new(0),
        }
    }

    pub(super) fn usage(&self) -> Usage {
        Usage {
            bytes: self.bytes.load(Ordering::Relaxed),
            rooms: self.rooms.load(Ordering::Relaxed),
            evicted_rooms: self.evicted.load(Ordering::Relaxed),
        }
    }

    /// The bytes left.
    pub(super) fn free(&self) -> usize {
        self.limit.saturating_sub(self.bytes.load(Ordering::Relaxed))
    }

    /// The bytes that must go before `bytes` more fit.
    pub(super) fn missing(&self, bytes: usize) -> usize {
        self.bytes.load(Ordering::Relaxed).saturating_add(bytes).saturating_sub(self.limit)
    }

    /// Whether unused rooms hold more than they may.
    pub(super) fn has_too_many_unused(&self) -> bool {
        self.unused.load(Ordering::Relaxed) > MOST_UNUSED
    }

    fn charge(&self, before: Charge, after: Charge) {
        for (account, before, after) in
            [(&self.bytes, before.bytes, after.bytes), (&self.unused, before.unused(), after.unused())]
        {
            if after >= before {
                account.fetch_add(after - before, Ordering::Relaxed);
            } else {
                account.fetch_sub(before - after, Ordering::Relaxed);
            }
        }
    }

    fn epoch(&self) -> Epoch {
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        Epoch::new(&format!("{:016x}{life:x}", self.seed))
    }
}

/// What the ledger holds against a room.
#[derive(Debug, Default, Clone, Copy)]
struct Charge {
    bytes: usize,
    is_unused: bool,
}

impl Charge {
    fn unused(self) -> usize {
        if self.is_unused { self.bytes } else { 0 }
    }
}

/// When a thing goes, were memory short: by class, then by use. One word, so that it can be read without the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(u64);

impl Rank {
    /// Nothing can be given up.
    const NONE: Self = Self(u64::MAX);

    /// `used` counts from 0 and does not reach 2^62.
    fn new(class: Class, used: u64) -> Self {
        let class = match class {
            Class::Unused => 0,
            Class::Idle => 1,
            Class::Log => 2,
        };
        Self(class << 62 | used)
    }

    /// Whether it is that of a room that nothing is lost with.
    fn is_unused(self) -> bool {
        self.0 >> 62 == 0
    }
}

/// What a room costs beside its state and its name: its places in the map and in the order, the counts of its `Arc`s.
const ROOM: usize = 224;

/// A room in its shard.
struct RoomEntry {
    name: Room,
    state: RoomState,
    /// The number of its last use.
    used: u64,
    /// Where it stands in the order.
    rank: Rank,
    charged: Charge,
}

impl RoomEntry {
    /// What it costs, if its state costs `state`. A room that has members and never had an event is theirs: however many names they make
    /// up, no log goes for it and no event is refused.
    fn bytes(&self, state: usize) -> usize {
        if self.state.is_blank() { 0 } else { ROOM + self.name.as_str().len() + state }
    }

    /// Brings the ledger and the order up to date with what was done to the room.
    fn settle(&mut self, order: &mut BTreeMap<Rank, Room>, ledger: &Ledger) {
        let charge =
            Charge { bytes: self.bytes(self.state.bytes()), is_unused: self.state.class() == Some(Class::Unused) };
        ledger.charge(self.charged, charge);
        self.charged = charge;
        let rank = self.state.class().map_or(Rank::NONE, |class| Rank::new(class, self.used));
        if rank != self.rank {
            order.remove(&self.rank);
            if rank != Rank::NONE {
                order.insert(rank, self.name.clone());
            }
            self.rank = rank;
        }
    }
}

#[derive(Default)]
struct Shard {
    rooms: HashMap<Room, Box<RoomEntry>>,
    /// What can be given up, the cheapest first.
    order: BTreeMap<Rank, Room>,
}

/// A shard and its lock.
pub(super) struct Slot {
    shard: Mutex<Shard>,
    /// The first rank of the order, readable without the lock.
    cheapest: AtomicU64,
}

impl Default for Slot {
    fn default() -> Self {
        Self { shard: Mutex::default(), cheapest: AtomicU64::new(Rank::NONE.0) }
    }
}

impl Slot {
    /// Works on a room, which begins its life here if it is not known.
    pub(super) fn enter<T>(
        &self,
        room: &Room,
        ledger: &Ledger,
        policies: &Arc<Policies>,
        work: impl FnOnce(&Room, &mut RoomState) -> T,
    ) -> T {
        let mut shard = self.lock();
        let Shard { rooms, order } = &mut *shard;
        let place = match rooms.entry(room.clone()) {
            Entry::Occupied(place) => place.into_mut(),
            Entry::Vacant(vacant) => {
                ledger.rooms.fetch_add(1, Ordering::Relaxed);
                let state = RoomState::new(ledger.epoch(), room, policies);
                let place =
                    RoomEntry { name: room.clone(), state, used: 0, rank: Rank::NONE, charged: Charge::default() };
                vacant.insert(Box::new(place))
            }
        };
        let answer = Self::work(place, order, ledger, policies, work);
        self.show(&shard);
        answer
    }

    /// Works on a room if it is known.
    pub(super) fn enter_known(
        &self,
        room: &Room,
        ledger: &Ledger,
        policies: &Arc<Policies>,
        work: impl FnOnce(&Room, &mut RoomState),
    ) {
        let mut shard = self.lock();
        let Shard { rooms, order } = &mut *shard;
        if let Some(place) = rooms.get_mut(room) {
            Self::work(place, order, ledger, policies, work);
            self.show(&shard);
        }
    }

    /// Has a room that is known begin its life anew, without a log and values. Whether it ever had an event.
    pub(super) fn begin_anew(&self, room: &Room, ledger: &Ledger, policies: &Arc<Policies>) -> bool {
        // Dropped after the lock: a room may hold a thousand events.
        let mut before = None;
        let epoch = ledger.epoch();
        self.enter_known(room, ledger, policies, |room, state| before = Some(state.begin_anew(epoch, room)));
        before.is_some_and(|before| before.position().offset > 0)
    }

    fn work<T>(
        place: &mut RoomEntry,
        order: &mut BTreeMap<Rank, Room>,
        ledger: &Ledger,
        policies: &Arc<Policies>,
        work: impl FnOnce(&Room, &mut RoomState) -> T,
    ) -> T {
        place.used = ledger.uses.fetch_add(1, Ordering::Relaxed);
        place.state.follow(&place.name, policies);
        let answer = work(&place.name, &mut place.state);
        place.settle(order, ledger);
        answer
    }

    /// Does `work` on every room, which is no use of it.
    pub(super) fn sweep(&self, ledger: &Ledger, mut work: impl FnMut(&Room, &mut RoomState)) {
        let mut shard = self.lock();
        let Shard { rooms, order } = &mut *shard;
        for place in rooms.values_mut() {
            work(&place.name, &mut place.state);
            place.settle(order, ledger);
        }
        self.show(&shard);
    }

    /// The rank of what this shard would give up first; less is cheaper. And whether nothing is lost with it.
    pub(super) fn cheapest(&self) -> Option<(u64, bool)> {
        let rank = Some(Rank(self.cheapest.load(Ordering::Acquire))).filter(|rank| *rank != Rank::NONE)?;
        Some((rank.0, rank.is_unused()))
    }

    /// Gives up the cheapest thing: a whole room, or up to `bytes` of a log.
    pub(super) fn give_up(&self, ledger: &Ledger, bytes: usize) {
        // Dropped after the lock: a room may hold a thousand events.
        let _forgotten = self.give_up_locked(ledger, bytes);
    }

    fn give_up_locked(&self, ledger: &Ledger, bytes: usize) -> Option<Box<RoomEntry>> {
        let mut shard = self.lock();
        let Shard { rooms, order } = &mut *shard;
        let name = order.first_key_value()?.1.clone();
        let place = rooms.get_mut(&name)?;
        let forgotten = if place.state.class() == Some(Class::Log) {
            place.state.give_up_log(bytes);
            place.settle(order, ledger);
            None
        } else {
            order.remove(&place.rank);
            ledger.charge(place.charged, Charge::default());
            ledger.rooms.fetch_sub(1, Ordering::Relaxed);
            ledger.evicted.fetch_add(1, Ordering::Relaxed);
            rooms.remove(&name)
        };
        self.show(&shard);
        forgotten
    }

    fn show(&self, shard: &Shard) {
        let first = shard.order.first_key_value().map_or(Rank::NONE, |(rank, _)| *rank);
        self.cheapest.store(first.0, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Shard> {
        self.shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Slot {
    /// Bytes and rooms counted anew; panics where the order is not what the rooms say.
    pub(super) fn audit(&self) -> (usize, usize) {
        let shard = self.lock();
        let ranked = shard.rooms.values().filter(|place| place.state.class().is_some());
        assert_eq!(ranked.count(), shard.order.len());
        for (rank, name) in &shard.order {
            let place = &shard.rooms[name];
            assert_eq!(place.state.class().map(|class| Rank::new(class, place.used)), Some(*rank));
        }
        let bytes = |place: &RoomEntry| place.bytes(place.state.bytes_anew());
        (shard.rooms.values().map(|place| bytes(place)).sum(), shard.rooms.len())
    }
}
