//! A room's owner: takes its events from the broker, makes batches, and tells the workers that have members.
//!
//! Never knows a connection. Always holds: what leaves for the workers covers the log without a hole, or says `Gap` for
//! the range that the log no longer has.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::mpsc::Receiver, time::sleep_until};

use crate::{
    broker::{Delivery, History, HistoryQuery},
    hub::{
        Batcher, Broadcast, Content, Services, ToOwner, ToWorker,
        fanout::broadcast::Range,
        sequencer::shared_log::by_room,
        worker::{clock::unix_millis, policy_reload::Review},
    },
    model::{Epoch, Event, Member, Offset, Policy, Position, PresenceMode, Publication, Room, Since},
    protocol::PresenceChange,
};

/// How often rooms that a full queue cut off are tried again.
const RETRY: Duration = Duration::from_millis(20);

/// How long joins and leaves wait for company: a crowd that comes at once is told of once.
const PRESENCE_WINDOW: Duration = Duration::from_millis(100);

/// Above this many members only counts are told of joins and leaves.
const PRESENCE_NAMES_UP_TO: usize = 200;

/// The rooms of one owner.
pub struct Owner {
    index: usize,
    pub(crate) services: Arc<Services>,
    pub(crate) rooms: HashMap<Room, Owned>,
    /// When which room's batch leaves.
    deadlines: BTreeSet<(Instant, Room)>,
    /// When which room's joins and leaves are told.
    changed: BTreeSet<(Instant, Room)>,
    /// Rooms of which some worker missed something.
    missed: HashSet<Room>,
    pub(crate) review: Review,
}

pub(crate) struct Owned {
    policy: Arc<Policy>,
    /// Which workers have members.
    workers: Vec<bool>,
    /// Workers whose queue was full: they are told where the room stands when it no longer is.
    missed: Vec<bool>,
    /// Workers that joined before the broker had answered.
    joining: Vec<usize>,
    /// Events not yet sent; knows where the next batch begins. `None` until the broker has answered.
    batcher: Option<Batcher>,
    /// Events that are in no log, numbered as they come.
    unlogged: Option<(Batcher, Offset)>,
    /// The last event that came from the broker, in order.
    received: Option<Position>,
    /// Events that came while a hole before them is filled. Full: dropped, and asked for when the hole is filled.
    ahead: Option<VecDeque<(Epoch, Arc<Event>, Instant)>>,
    /// How many of `ahead` were there when the log was asked: those that it does not have by then, it never will.
    asked_with: usize,
    /// Whether `ahead` was full.
    ahead_lost: bool,
    joined: Vec<Member>,
    left: Vec<Member>,
}

impl Owned {
    const MAX_AHEAD: usize = 4_096;

    /// When something of it is to leave.
    fn deadline(&self) -> Option<Instant> {
        let batchers = self.batcher.iter().chain(self.unlogged.iter().map(|(batcher, _)| batcher));
        batchers.filter_map(Batcher::deadline).min()
    }
}

impl Owner {
    /// An owner without rooms.
    #[must_use]
    pub fn new(index: usize, services: Arc<Services>) -> Self {
        Self {
            index,
            services,
            rooms: HashMap::new(),
            deadlines: BTreeSet::new(),
            changed: BTreeSet::new(),
            missed: HashSet::new(),
            review: Review::default(),
        }
    }

    /// Runs until the pod ends.
    pub async fn run(mut self, mut inbox: Receiver<ToOwner>) {
        let mut messages = Vec::new();
        loop {
            let wake = self.next_wake();
            tokio::select! {
                count = inbox.recv_many(&mut messages, 256) => if count == 0 { return },
                () = sleep_until(wake.into()) => {}
            }
            for message in messages.drain(..) {
                self.take(message);
            }
            self.review_policies();
            self.catch_up();
            self.flush(Instant::now());
        }
    }

    fn next_wake(&self) -> Instant {
        let retry = Instant::now() + RETRY;
        let due = [&self.deadlines, &self.changed].into_iter().filter_map(|set| set.first());
        let next = due.map(|(at, _)| *at).min().unwrap_or(retry + 50 * RETRY);
        if self.missed.is_empty() && self.review.is_done() { next } else { next.min(retry) }
    }

    fn take(&mut self, message: ToOwner) {
        match message {
            ToOwner::Join(room, worker) => self.join(room, worker),
            ToOwner::Leave(room, worker) => self.leave(&room, worker),
            ToOwner::Delivery(room, Delivery::Event { epoch, event }, arrived) => {
                self.event(&room, epoch, event, arrived);
            }
            ToOwner::Delivery(room, Delivery::Unlogged { publication, except }, arrived) => {
                self.unlogged(&room, *publication, except.as_deref(), arrived);
            }
            ToOwner::Delivery(room, Delivery::Started(position), _) => self.started(&room, position),
            ToOwner::Delivery(room, Delivery::Joined(member), _) => self.presence(&room, |r| r.joined.push(member)),
            ToOwner::Delivery(room, Delivery::Left(member), _) => self.presence(&room, |r| r.left.push(member)),
            ToOwner::Healed(room, history) => self.healed(&room, history),
        }
    }

    fn join(&mut self, room: Room, worker: usize) {
        let services = &self.services;
        let owned = self.rooms.entry(room.clone()).or_insert_with(|| {
            services.broker.subscribe(&room);
            services.metrics.rooms.increment(1);
            let none = vec![false; services.links.workers()];
            Owned {
                policy: services.policy(&room),
                workers: none.clone(),
                missed: none,
                joining: Vec::new(),
                batcher: None,
                unlogged: None,
                received: None,
                ahead: None,
                asked_with: 0,
                ahead_lost: false,
                joined: Vec::new(),
                left: Vec::new(),
            }
        });
        match &owned.batcher {
            Some(batcher) => {
                let joined = ToWorker::Joined(room, batcher.position().clone());
                // A worker whose queue is full asks again on its next tick.
                owned.workers[worker] |= services.links.tell_worker(worker, joined);
            }
            None => owned.joining.push(worker),
        }
    }

    /// Gives a room another policy. What waits leaves under the old one.
    pub(crate) fn set_policy(&mut self, room: &Room, policy: Arc<Policy>) {
        if self.rooms.get(room).is_none_or(|owned| owned.policy == policy) {
            return;
        }
        self.flush_now(room);
        let Some(owned) = self.rooms.get_mut(room) else { return };
        owned.policy = Arc::clone(&policy);
        owned.unlogged = None;
        if let Some(batcher) = &mut owned.batcher {
            *batcher = Batcher::new(room.clone(), policy, batcher.position().clone());
        }
    }

    fn leave(&mut self, room: &Room, worker: usize) {
        let Some(owned) = self.rooms.get_mut(room) else { return };
        owned.workers[worker] = false;
        owned.missed[worker] = false;
        owned.joining.retain(|&w| w != worker);
        if !owned.workers.contains(&true) && owned.joining.is_empty() {
            self.unschedule(room);
            self.rooms.remove(room);
            self.services.metrics.rooms.decrement(1);
            self.services.broker.unsubscribe(room);
        }
    }

    fn started(&mut self, room: &Room, position: Position) {
        let Some(owned) = self.rooms.get_mut(room) else { return };
        if owned.batcher.is_some() {
            // A subscription that was renewed: whatever lies between was missed.
            if owned.received.as_ref() != Some(&position) {
                ask_for_missing(&self.services, room, owned);
            }
            return;
        }
        owned.batcher = Some(Batcher::new(room.clone(), Arc::clone(&owned.policy), position.clone()));
        owned.received = Some(position.clone());
        for worker in std::mem::take(&mut owned.joining) {
            let joined = ToWorker::Joined(room.clone(), position.clone());
            owned.workers[worker] |= self.services.links.tell_worker(worker, joined);
        }
    }

    fn event(&mut self, room: &Room, epoch: Epoch, event: Arc<Event>, arrived: Instant) {
        let Some(owned) = self.rooms.get_mut(room) else { return };
        if let Some(ahead) = &mut owned.ahead {
            if ahead.len() < Owned::MAX_AHEAD {
                ahead.push_back((epoch, event, arrived));
            } else {
                owned.ahead_lost = true;
            }
            return;
        }
        let Some(received) = &owned.received else { return };
        if received.epoch == epoch && event.offset <= received.offset {
            return;
        }
        if received.epoch == epoch && event.offset == received.offset + 1 {
            self.append(room, epoch, event, arrived);
            return;
        }
        owned.ahead = Some(VecDeque::from([(epoch, event, arrived)]));
        owned.asked_with = 1;
        ask(&self.services, room, owned);
    }

    /// Puts the next event into the room's batch.
    fn append(&mut self, room: &Room, epoch: Epoch, event: Arc<Event>, arrived: Instant) {
        let Some(owned) = self.rooms.get_mut(room) else { return };
        let before = owned.deadline();
        let Some(batcher) = &mut owned.batcher else { return };
        owned.received = Some(Position::new(epoch.clone(), event.offset));
        batcher.push(epoch, event, arrived);
        let deadline = owned.deadline();
        self.reschedule(room, before, deadline);
    }

    /// Puts an event that is in no log into a batch of its kind. Before a room's first position nobody is in it.
    /// One that is kept from somebody leaves at once and alone, between what came before it and what follows.
    fn unlogged(&mut self, room: &Room, publication: Publication, except: Option<&str>, arrived: Instant) {
        if except.is_some() {
            self.flush_now(room);
        }
        let Some(owned) = self.rooms.get_mut(room).filter(|owned| owned.batcher.is_some()) else { return };
        let before = owned.deadline();
        let (batcher, last) = owned.unlogged.get_or_insert_with(|| {
            (Batcher::new(room.clone(), Arc::clone(&owned.policy), Position::new(Epoch::none(), 0)), 0)
        });
        *last += 1;
        let event = Event::from_publication(publication, *last, unix_millis(), None);
        batcher.push(Epoch::none(), Arc::new(event), arrived);
        if except.is_some() {
            return self.flush_unlogged(room, except);
        }
        let deadline = owned.deadline();
        self.reschedule(room, before, deadline);
    }

    /// Sends what waits before it is due.
    fn flush_now(&mut self, room: &Room) {
        self.unschedule(room);
        self.flush_room(room);
    }

    fn unschedule(&mut self, room: &Room) {
        if let Some(at) = self.rooms.get(room).and_then(Owned::deadline) {
            self.deadlines.remove(&(at, room.clone()));
        }
    }

    fn reschedule(&mut self, room: &Room, before: Option<Instant>, deadline: Option<Instant>) {
        if deadline != before {
            if let Some(at) = before {
                self.deadlines.remove(&(at, room.clone()));
            }
            if let Some(at) = deadline {
                self.deadlines.insert((at, room.clone()));
            }
        }
    }

    fn presence(&mut self, room: &Room, note: impl FnOnce(&mut Owned)) {
        let Some(owned) = self.rooms.get_mut(room) else { return };
        let waiting = owned.joined.len() + owned.left.len();
        if owned.policy.presence == PresenceMode::Events && waiting < Owned::MAX_AHEAD {
            note(owned);
            if waiting == 0 {
                self.changed.insert((Instant::now() + PRESENCE_WINDOW, room.clone()));
            }
        }
    }

    /// Asks for what full queues have cost, and tells workers where their rooms stand.
    fn catch_up(&mut self) {
        for room in self.services.links.behind(self.index).take() {
            let Some(owned) = self.rooms.get_mut(&room) else { continue };
            if owned.batcher.is_none() {
                self.services.broker.subscribe(&room);
            } else {
                ask_for_missing(&self.services, &room, owned);
            }
        }
        let Self { missed, rooms, services, .. } = self;
        missed.retain(|room| {
            let Some(owned) = rooms.get_mut(room) else { return false };
            let Some(batcher) = &owned.batcher else { return false };
            for (worker, missed) in owned.missed.iter_mut().enumerate().filter(|(_, missed)| **missed) {
                let tip = ToWorker::Tip(room.clone(), batcher.position().clone());
                *missed = !services.links.tell_worker(worker, tip);
            }
            owned.missed.contains(&true)
        });
    }

    /// The hole is filled, or the log no longer has it.
    fn healed(&mut self, room: &Room, history: History) {
        let Some(owned) = self.rooms.get_mut(room) else { return };
        let ahead = owned.ahead.take().unwrap_or_default();
        let asked_with = std::mem::take(&mut owned.asked_with);
        let now = Instant::now();
        if !history.complete {
            self.flush_room(room);
            self.gap(room, &history, now);
        }
        self.rename(room, Position::new(history.epoch.clone(), history.after));
        for event in history.events {
            self.append(room, history.epoch.clone(), event, now);
        }
        for (index, (epoch, event, arrived)) in ahead.into_iter().enumerate() {
            // Of another life than the log's, and not on its way to it: a master's that no longer is one.
            if index >= asked_with || epoch == history.epoch {
                self.event(room, epoch, event, arrived);
            }
        }
        if let Some(owned) = self.rooms.get_mut(room)
            && std::mem::take(&mut owned.ahead_lost)
        {
            ask_for_missing(&self.services, room, owned);
        }
    }

    /// The log goes on under another epoch, and lost nothing of what came: the same position under its new name, so that
    /// neither workers nor those who come back take the room for another one.
    fn rename(&mut self, room: &Room, position: Position) {
        let Some(owned) = self.rooms.get_mut(room) else { return };
        let Some(received) = &mut owned.received else { return };
        if received.offset != position.offset || received.epoch == position.epoch {
            return;
        }
        let before = std::mem::replace(received, position.clone());
        let Some(batcher) = owned.batcher.as_mut().filter(|batcher| *batcher.position() == before) else { return };
        batcher.reset(position.clone());
        for (worker, _) in owned.workers.iter().enumerate().filter(|(_, has)| **has) {
            // One whose queue is full asks the log when the next batch comes under the new name.
            let renamed = ToWorker::Renamed(room.clone(), before.clone(), position.clone());
            let _ = self.services.links.tell_worker(worker, renamed);
        }
    }

    /// Tells members what is gone, and continues behind it.
    fn gap(&mut self, room: &Room, history: &History, now: Instant) {
        let Some(owned) = self.rooms.get_mut(room) else { return };
        let Some(received) = owned.received.take() else { return };
        let position = Position::new(history.epoch.clone(), history.after);
        let range = Range {
            room: room.clone(),
            epoch: position.epoch.clone(),
            after: received.offset,
            offset: position.offset,
        };
        if let Some(batcher) = &mut owned.batcher {
            batcher.reset(position.clone());
        }
        owned.received = Some(position);
        let gap = Broadcast::new(Content::Gap(range), Arc::clone(&owned.policy), now);
        if send(&self.services, room, owned, Arc::new(gap)) {
            self.missed.insert(room.clone());
        }
    }

    /// Sends what is due.
    fn flush(&mut self, now: Instant) {
        while let Some((at, _)) = self.deadlines.first()
            && *at <= now
        {
            let Some((_, room)) = self.deadlines.pop_first() else { break };
            self.flush_room(&room);
        }
        while let Some((at, _)) = self.changed.first()
            && *at <= now
        {
            let Some((_, room)) = self.changed.pop_first() else { break };
            let Some(owned) = self.rooms.get_mut(&room) else { continue };
            let (joined, left) = (std::mem::take(&mut owned.joined), std::mem::take(&mut owned.left));
            let (presence, services, policy) =
                (Arc::clone(&self.services.presence), Arc::clone(&self.services), Arc::clone(&owned.policy));
            let workers = owned.workers.clone();
            tokio::task::spawn_local(async move {
                let Ok(list) = presence.list(&room, 0).await else { return };
                let total = list.total;
                let (joined, left) =
                    if total > PRESENCE_NAMES_UP_TO { (Vec::new(), Vec::new()) } else { (joined, left) };
                let change = PresenceChange { room: room.clone(), joined, left, total };
                let broadcast = Arc::new(Broadcast::new(Content::Presence(change), policy, now));
                for (worker, _) in workers.iter().enumerate().filter(|(_, has)| **has) {
                    // No offset, no promise: a full queue drops it.
                    let _ = services.links.tell_worker(worker, ToWorker::Broadcast(room.clone(), broadcast.clone()));
                }
            });
        }
    }

    fn flush_room(&mut self, room: &Room) {
        let Some(owned) = self.rooms.get_mut(room) else { return };
        while let Some(batcher) = &mut owned.batcher
            && let Some((batch, arrived)) = batcher.take()
        {
            let metrics = &self.services.metrics;
            metrics.batches.increment(1);
            if let Some(observer) = &metrics.observer {
                observer.batch_flushed(batch.events.len());
            }
            metrics.batch_events.record(batch.events.len() as f64);
            metrics.batch_wait.record(arrived.elapsed());
            for batch in by_room(batch) {
                let broadcast = Broadcast::new(Content::Events(batch), Arc::clone(&owned.policy), arrived);
                if send(&self.services, room, owned, Arc::new(broadcast)) {
                    self.missed.insert(room.clone());
                }
            }
        }
        self.flush_unlogged(room, None);
    }

    /// Sends what is in no log to everybody but a user.
    fn flush_unlogged(&mut self, room: &Room, except: Option<&str>) {
        let Some(owned) = self.rooms.get_mut(room) else { return };
        while let Some((batcher, _)) = &mut owned.unlogged
            && let Some((batch, arrived)) = batcher.take()
        {
            if let Some(observer) = &self.services.metrics.observer {
                observer.batch_flushed(batch.events.len());
            }
            let broadcast = Broadcast::new(Content::Unlogged(batch), Arc::clone(&owned.policy), arrived).except(except);
            // A worker whose queue is full never gets it, as one that had no connection to the publisher never would.
            if send(&self.services, room, owned, Arc::new(broadcast)) {
                self.services.metrics.dropped.increment(1);
            }
        }
    }
}

/// One message to each worker that has members. Returns whether some worker's queue was full.
fn send(services: &Services, room: &Room, owned: &mut Owned, broadcast: Arc<Broadcast>) -> bool {
    let mut full = false;
    for (worker, _) in owned.workers.iter().enumerate().filter(|(_, has)| **has) {
        if !services.links.tell_worker(worker, ToWorker::Broadcast(room.clone(), Arc::clone(&broadcast))) {
            owned.missed[worker] = true;
            full = true;
        }
    }
    full
}

fn ask_for_missing(services: &Arc<Services>, room: &Room, owned: &mut Owned) {
    if owned.ahead.is_none() {
        owned.ahead = Some(VecDeque::new());
        ask(services, room, owned);
    }
}

/// Asks the log for what follows the last event, until it answers.
fn ask(services: &Arc<Services>, room: &Room, owned: &Owned) {
    let since = owned.received.clone().map(|p| Since { epoch: p.epoch, offset: p.offset });
    let query = HistoryQuery { since, until: None, max_events: usize::MAX, max_bytes: usize::MAX };
    let (services, room) = (Arc::clone(services), room.clone());
    tokio::task::spawn_local(async move {
        let mut pause = RETRY;
        loop {
            if let Ok(history) = services.broker.history(&room, query.clone()).await
                && services.links.tell_owner(&room, ToOwner::Healed(room.clone(), history))
            {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    });
}
