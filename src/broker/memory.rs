//! The embedded broker: every room of one pod in this process, within a budget of bytes.
//!
//! Owns the logs, retained values, idempotency keys and members of rooms. Never blocks, never spawns, never reads a
//! clock of its own. Always holds:
//!
//! - Delivery happens under the room's lock, so that the order of the log is the order of delivery. A [`Deliver`] must
//!   therefore neither block nor call the broker back.
//! - A room keeps its epoch and counts on as long as it is known. It is forgotten only when memory is short, or when it never had an event
//!   and many of that kind are there, and never while it has a subscription or a member; its next life has another epoch.
//! - Rooms that have members and never had an event cost the logs nothing: no event goes or is refused for names that clients make up.
//! - Commands act when they are called, in the order of the calls; the answer is ready at once.
//!
//! When the budget is full, the cheapest things are dropped first ([`Class`]). When nothing is left to drop, an event that
//! must be stored is refused with [`BrokerError::Unavailable`].

mod acks;
pub mod erasure;
mod idempotency;
pub mod key_memory;
mod limits;
mod log;
mod members;
mod retained;
mod room;
mod shard;
mod untold;
mod user_places;
mod user_records;
mod values;

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::{
    AckBounds, Acks, Answer, Broker, BrokerError, Control, Deliver, Delivery, EachOf, FleetAnswers, FleetQuestion,
    History, HistoryQuery, KeptAck, KeyValue, Presence, Respond, Standing, UntoldAck, UserPlaces, log_key::LogKey,
};
use crate::{
    config::Policies,
    model::{Ack, Epoch, Member, Notice, Position, PresenceList, Publication, Retained, Room, Signal, UnixMillis},
};
use acks::KeptAcks;
use idempotency::KnownKey;
pub use limits::{MemoryLimits, Usage};
use room::{PublishOutcome, PublishStep, RoomState};
use shard::{Ledger, Slot};
use user_places::MemoryPlaces;
use values::ExpiringValues;

/// Where the broker reads the time: milliseconds since the Unix epoch. Tests step it.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// What users have read may take this fraction of what the rooms may hold, on top of it.
const ACKS_SHARE: usize = 8;

/// Values beside the rooms get this fraction of what the rooms may hold, on top of it.
const VALUES_SHARE: usize = 4;

/// Records of users get this fraction, also on top of it: nothing else takes their place.
const USERS_SHARE: usize = 8;

/// How many locks the rooms are spread over.
const SHARDS: usize = 64;

/// The embedded broker.
pub struct MemoryBroker {
    slots: Box<[Slot]>,
    hasher: RandomState,
    ledger: Ledger,
    limits: MemoryLimits,
    policies: Arc<ArcSwap<Policies>>,
    deliver: Arc<dyn Deliver>,
    clock: Clock,
    values: ExpiringValues,
    users: ExpiringValues,
    acks: KeptAcks,
    /// The places of users.
    pub places: Arc<dyn UserPlaces>,
    /// This pod's name.
    pod: String,
    began: UnixMillis,
    swept: AtomicUsize,
}

impl std::fmt::Debug for MemoryBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryBroker")
            .field("usage", &self.usage())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl MemoryBroker {
    /// A broker without rooms. A policy that is swapped in counts from the next use of each room.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`]: the operating system gave no randomness for the epochs.
    pub fn new(
        limits: MemoryLimits,
        policies: Arc<ArcSwap<Policies>>,
        deliver: Arc<dyn Deliver>,
        clock: Clock,
    ) -> Result<Self, BrokerError> {
        let seed = getrandom::u64().map_err(|e| BrokerError::Unavailable(format!("no randomness for epochs: {e}")))?;
        let began = clock();
        Ok(Self {
            slots: (0..SHARDS).map(|_| Slot::default()).collect(),
            hasher: RandomState::new(),
            ledger: Ledger::new(limits.max_bytes, seed),
            limits,
            policies,
            deliver,
            clock,
            values: ExpiringValues::new(limits.max_bytes / VALUES_SHARE),
            users: ExpiringValues::new(limits.max_bytes / USERS_SHARE),
            acks: KeptAcks::new(limits.max_bytes / ACKS_SHARE),
            places: Arc::new(MemoryPlaces::default()),
            pod: format!("{seed:016x}"),
            began,
            swept: AtomicUsize::new(0),
        })
    }

    /// What the broker holds now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.ledger.usage()
    }

    /// Drops what has aged in a 64th of the rooms, the next 64th at each call. Call it about once a second. Only memory depends
    /// on it: each read checks ages.
    pub fn sweep(&self) {
        let now = (self.clock)();
        let next = self.swept.fetch_add(1, Ordering::Relaxed) % self.slots.len();
        self.slots[next].sweep(&self.ledger, |_, state| state.expire(&self.limits, now));
        self.values.sweep(now);
        self.users.sweep(now);
        self.acks.sweep(now);
    }

    fn slot(&self, room: &Room) -> &Slot {
        // The remainder is below the number of slots.
        &self.slots[(self.hasher.hash_one(room) % SHARDS as u64) as usize]
    }

    /// Works on a room under its lock. A room that is not known begins its life here.
    fn enter<T>(&self, room: &Room, work: impl FnOnce(&Room, &mut RoomState) -> T) -> T {
        let answer = self.slot(room).enter(room, &self.ledger, &self.policies.load(), work);
        make_place(self, 0);
        answer
    }

    fn enter_known(&self, room: &Room, work: impl FnOnce(&Room, &mut RoomState)) {
        self.slot(room).enter_known(room, &self.ledger, &self.policies.load(), work);
        if self.ledger.has_too_many_unused() {
            make_place(self, 0);
        }
    }

    fn append(&self, to: &Room, mut publication: Publication) -> Result<Position, BrokerError> {
        let now = (self.clock)();
        let policy = self.policies.load().of(to);
        let (room, part) = policy.log_of(to).map_or((to, None), |log| (log, Some(to)));
        if part.is_some() {
            BrokerError::check_topic(&policy, &publication.topic)?;
        }
        let key = LogKey::of(&publication, part).map(KnownKey::of);
        let mut held = false;
        loop {
            let free = if held { usize::MAX } else { self.ledger.free() };
            let (limits, deliver) = (&self.limits, &*self.deliver);
            let outcome = self.enter(room, |room, state| {
                state.publish(
                    publication,
                    &PublishStep { room, part, key: key.as_ref(), now, limits, deliver, free, held },
                )
            });
            match outcome {
                PublishOutcome::Done(result) => return result,
                // The room is held meanwhile: it is not forgotten to make place for its own event.
                PublishOutcome::Full { publication: refused, bytes } if make_place(self, bytes) => {
                    (publication, held) = (refused, true)
                }
                PublishOutcome::Full { .. } => {
                    self.enter_known(room, |_, state| state.release());
                    let limit = self.limits.max_bytes;
                    return Err(BrokerError::Unavailable(format!("its memory of {limit} bytes is full")));
                }
            }
        }
    }
}

impl Broker for MemoryBroker {
    fn publish_unlogged<'a>(&'a self, room: &'a Room, publication: Publication, except: Box<str>) -> Answer<'a, ()> {
        let checked = BrokerError::check_topic(&self.policies.load().of(room), &publication.topic);
        if checked.is_ok() {
            self.enter_known(room, |room, state| state.publish_unlogged(room, publication, except, &*self.deliver));
        }
        Box::pin(std::future::ready(checked))
    }

    fn signal<'a>(&'a self, room: &'a Room, signal: Signal) -> Answer<'a, ()> {
        self.enter_known(room, |room, state| state.signal(room, signal, &*self.deliver));
        ready(Ok(()))
    }

    fn notify<'a>(&'a self, room: &'a Room, notice: Notice) -> Answer<'a, ()> {
        self.enter_known(room, |room, state| state.notify(room, notice, &*self.deliver));
        ready(Ok(()))
    }

    fn publish<'a>(&'a self, room: &'a Room, publication: Publication) -> Answer<'a, Position> {
        ready(self.append(room, publication))
    }

    fn subscribe(&self, room: &Room) {
        self.enter(room, |room, state| {
            state.subscribed = true;
            self.deliver.deliver(room, Delivery::Started(state.position()));
        });
    }

    fn unsubscribe(&self, room: &Room) {
        self.enter_known(room, |_, state| state.subscribed = false);
    }

    fn history<'a>(&'a self, room: &'a Room, query: HistoryQuery) -> Answer<'a, History> {
        let now = (self.clock)();
        let policy = self.policies.load().of(room);
        let log = policy.log_of(room);
        let read = |room: &Room, query: &HistoryQuery| {
            self.enter(room, |_, state| {
                state.expire(&self.limits, now);
                state.history(query)
            })
        };
        ready(Ok(match log {
            Some(log) => read(log, &query.of_a_part()).of(room, &query),
            None => read(room, &query),
        }))
    }

    fn retained<'a>(&'a self, room: &'a Room) -> Answer<'a, Retained> {
        ready(Ok(self.enter(room, |room, state| state.retained(room))))
    }
}

impl Acks for MemoryBroker {
    fn standings<'a>(&'a self, rooms: &'a [(Room, Vec<Epoch>)]) -> EachOf<'a, Standing> {
        let standing = |(room, epochs): &(Room, Vec<Epoch>)| {
            // A room that is not known begins no life for a question.
            let mut end = Position::new(Epoch::new("0"), 0);
            self.enter_known(room, |_, state| end = state.position());
            let reach = |epoch: &Epoch| (epoch.is_none() || *epoch == end.epoch).then_some(end.offset);
            Ok(Standing { reaches: epochs.iter().map(reach).collect(), end: end.clone() })
        };
        let said: Vec<Result<Standing, BrokerError>> = rooms.iter().map(standing).collect();
        Box::pin(std::future::ready(said))
    }

    fn keep<'a>(&'a self, acks: &'a [Ack], bounds: AckBounds) -> EachOf<'a, KeptAck> {
        let now = (self.clock)();
        let said: Vec<Result<KeptAck, BrokerError>> = acks.iter().map(|ack| self.acks.keep(ack, bounds, now)).collect();
        Box::pin(std::future::ready(said))
    }

    fn take_untold(&self, older: Duration, most: usize) -> Answer<'_, Vec<UntoldAck>> {
        ready(Ok(self.acks.take_untold(older, most, (self.clock)())))
    }

    fn kept<'a>(&'a self, user: &'a str, bounds: AckBounds) -> Answer<'a, Vec<(Room, Vec<Position>)>> {
        ready(Ok(self.acks.kept(user, bounds, (self.clock)())))
    }
}

impl Presence for MemoryBroker {
    fn join(&self, room: &Room, member: &Member) {
        self.enter(room, |room, state| state.join(room, member, &*self.deliver));
    }

    fn leave(&self, room: &Room, member: &Member) {
        self.enter_known(room, |room, state| state.leave(room, member, &*self.deliver));
    }

    fn list<'a>(&'a self, room: &'a Room, limit: usize) -> Answer<'a, PresenceList> {
        let mut list = PresenceList::default();
        self.enter_known(room, |_, state| list = state.members.list(limit));
        ready(Ok(list))
    }
}

impl KeyValue for MemoryBroker {
    fn set<'a>(&'a self, name: &'a str, value: Bytes, ttl: Duration) -> Answer<'a, ()> {
        ready(self.values.set(name, value, ttl, (self.clock)()))
    }

    fn get<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Bytes>> {
        ready(Ok(self.values.get(name, (self.clock)())))
    }

    fn take<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Bytes>> {
        ready(Ok(self.values.take(name, (self.clock)())))
    }

    fn claim<'a>(&'a self, name: &'a str, value: Bytes, ttl: Duration) -> Answer<'a, Option<Bytes>> {
        ready(self.values.claim(name, value, ttl, (self.clock)()))
    }
}

impl Control for MemoryBroker {
    fn pod(&self) -> &str {
        &self.pod
    }

    fn address<'a>(&'a self, _: &'a str) -> Answer<'a, Option<String>> {
        ready(Ok(None))
    }

    fn ask_others<'a>(&'a self, _: &'a FleetQuestion, _: Duration) -> Answer<'a, FleetAnswers> {
        ready(Ok(FleetAnswers::default()))
    }

    fn announce_drain(&self) {}

    fn has_left(&self, _: u64) -> bool {
        false
    }

    fn answer_with(&self, _: Arc<dyn Respond>) {}
}

/// Drops things, the cheapest first, until `bytes` more fit. Returns whether they do.
fn make_place(broker: &MemoryBroker, bytes: usize) -> bool {
    loop {
        let missing = broker.ledger.missing(bytes);
        if missing == 0 && !broker.ledger.has_too_many_unused() {
            return true;
        }
        let cheapest = broker.slots.iter().filter_map(|slot| Some((slot.cheapest()?, slot)));
        let Some(((_, is_unused), slot)) = cheapest.min_by_key(|(rank, _)| *rank) else { return missing == 0 };
        if missing == 0 && !is_unused {
            return true;
        }
        slot.give_up(&broker.ledger, missing);
    }
}

fn ready<'a, T: Send + 'a>(result: Result<T, BrokerError>) -> Answer<'a, T> {
    Box::pin(std::future::ready(result))
}

#[cfg(test)]
mod tests;
