//! Drives the rooms of one sequencer thread: takes what the broker delivers, performs what the rooms' sequencers want.
//!
//! Owns the clock and the timers of its rooms. Never decides anything of a room's order: that is [`RoomSequencer`]'s. Always
//! holds: a room is in `due` under its own deadline; a room with a worker that lags stands in that worker's line of `lag`; a panic
//! in one room's step ends no other room. What full queues cost is asked for as far as there is place for the answers: however many
//! rooms wait, a turn costs what it gets done.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::mpsc::Receiver, time::sleep_until};

use crate::{
    broker::{Delivery, HistoryQuery},
    hub::{
        sequencer::{
            effect::{ReadTicket, SequencerEffect},
            presence_driver::{ListLost, RoomNow, announce, announce_list},
            room_sequencer::RoomSequencer,
            signal_board::SignalBoard,
            update::StreamUpdate,
            window_seat::WindowSeat,
            worker_lag::WorkerLag,
        },
        worker::{
            clock::unix_millis,
            policy_reload::PolicyReload,
            queues::{ToSequencer, ToWorker},
            services::Services,
        },
    },
    model::{Policy, PresenceMode, Room},
};

/// How often rooms that a full queue cut off are tried again.
const RETRY: Duration = Duration::from_millis(20);

/// So many rooms keep their places when they are gone.
const KEPT_PLACES: usize = 1_024;

/// The longest pause between two attempts to read a log.
const MAX_READ_PAUSE: Duration = Duration::from_secs(1);

/// The rooms of one worker thread that it sequences for all workers.
pub struct Sequencer {
    index: usize,
    pub(super) services: Arc<Services>,
    pub(super) rooms: HashMap<Room, RoomSequencer>,
    /// What is shown of signals, by a clock of its own.
    pub(super) signals: SignalBoard,
    pub(super) began: Instant,
    /// Of rooms whose joins and leaves are told.
    lists_lost: HashMap<Room, ListLost>,
    /// Of rooms that begin anew: their members are told the whole list when they stand.
    to_list: HashSet<Room>,
    /// When which room is due.
    due: BTreeSet<(Instant, Room)>,
    /// Rooms of which some worker missed something.
    lag: WorkerLag,
    /// How many rooms were followed so far.
    lives: u64,
    policy_reload: PolicyReload,
    effects: Vec<SequencerEffect>,
}

impl Sequencer {
    /// A sequencer without rooms.
    #[must_use]
    pub fn new(index: usize, services: Arc<Services>) -> Self {
        let lag = WorkerLag::new(services.queues.workers());
        Self {
            index,
            services,
            rooms: HashMap::new(),
            signals: SignalBoard::default(),
            began: Instant::now(),
            lists_lost: HashMap::new(),
            to_list: HashSet::new(),
            due: BTreeSet::new(),
            lag,
            lives: 0,
            policy_reload: PolicyReload::default(),
            effects: Vec::new(),
        }
    }

    /// Runs until the pod ends.
    pub async fn run(mut self, mut inbox: Receiver<ToSequencer>) {
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
            self.recover_from_full_queues(inbox.max_capacity() - inbox.len());
            self.perform_due(Instant::now());
            self.end_signals();
        }
    }

    fn next_wake(&self) -> Instant {
        let retry = Instant::now() + RETRY;
        let next = self.due.first().map_or(retry + 50 * RETRY, |(at, _)| *at);
        let next = self.signal_deadline().map_or(next, |at| at.min(next));
        let waits =
            !self.lag.is_empty() || self.services.queues.lagging(self.index).any() || !self.policy_reload.is_done();
        if waits { next.min(retry) } else { next }
    }

    fn take(&mut self, message: ToSequencer) {
        match message {
            ToSequencer::Join(room, worker) => self.join(&room, worker),
            ToSequencer::Leave(room, worker) => self.leave(&room, worker),
            ToSequencer::Delivery(room, Delivery::Signal(signal), _) => self.signal(&room, *signal),
            ToSequencer::Delivery(room, Delivery::Notice(notice), _) => self.notify(&room, *notice),
            ToSequencer::Delivery(room, delivery, arrived) => {
                self.step(&room, |sequencer, effects| match delivery {
                    Delivery::Event { epoch, event } => sequencer.event(epoch, event, arrived, effects),
                    Delivery::Unlogged { publication, except } => {
                        sequencer.unlogged(*publication, except.as_deref(), (arrived, unix_millis()), effects);
                    }
                    Delivery::Started(position) => sequencer.started(position, effects),
                    // Taken above: they have no place in the room's order.
                    Delivery::Signal(_) | Delivery::Notice(_) => {}
                    Delivery::Joined(member) => sequencer.presence(member, true, arrived),
                    Delivery::Left(member) => sequencer.presence(member, false, arrived),
                });
                self.list_again(&room);
            }
            ToSequencer::HistoryRead(room, ticket, history) => self.step(&room, |sequencer, effects| {
                sequencer.history_read(ticket, history, Instant::now(), effects);
            }),
        }
    }

    fn join(&mut self, room: &Room, worker: usize) {
        let Self { rooms, services, lives, .. } = self;
        if !rooms.contains_key(room) {
            *lives += 1;
            let sequencer = RoomSequencer::new(room.clone(), services.policy(room), services.queues.workers(), *lives);
            let sequencer = sequencer.with_window(WindowSeat::among(&services.windows));
            rooms.insert(room.clone(), sequencer);
            services.broker.subscribe(room);
            services.metrics.rooms.increment(1);
        }
        self.step(room, |sequencer, effects| sequencer.join(worker, effects));
    }

    fn leave(&mut self, room: &Room, worker: usize) {
        self.step(room, |sequencer, _| sequencer.leave(worker));
        let Some(sequencer) = self.rooms.get(room).filter(|sequencer| sequencer.is_empty()) else { return };
        if let Some(at) = sequencer.deadline() {
            self.due.remove(&(at, room.clone()));
        }
        self.rooms.remove(room);
        // A wave of rooms leaves its table behind, some hundred bytes for each.
        if self.rooms.capacity() > KEPT_PLACES && self.rooms.len() * 8 < self.rooms.capacity() {
            self.rooms.shrink_to(self.rooms.len() * 2);
        }
        self.lists_lost.remove(room);
        self.to_list.remove(room);
        self.signals.forget(room);
        self.services.metrics.rooms.decrement(1);
        self.services.broker.unsubscribe(room);
    }

    /// Tells the members of a room that has begun anew of all of them, once it stands.
    fn list_again(&mut self, room: &Room) {
        if self.to_list.is_empty() || !self.to_list.contains(room) {
            return;
        }
        let Some(sequencer) = self.rooms.get(room).filter(|sequencer| sequencer.has_started()) else { return };
        self.to_list.remove(room);
        let lost = Rc::clone(self.lists_lost.entry(room.clone()).or_default());
        let workers = sequencer.listed().collect();
        announce_list(&self.services, room, RoomNow::of(sequencer), workers, lost);
    }

    /// Gives a room another policy.
    fn set_policy(&mut self, room: &Room, policy: Arc<Policy>) {
        self.step(room, |sequencer, effects| sequencer.set_policy(policy, effects));
    }

    /// Gives held rooms the policies that were reloaded, for one slice.
    fn review_policies(&mut self) {
        let policies = self.services.policies.load_full();
        let deadline = PolicyReload::slice_end();
        self.policy_reload.begin(&policies, self.rooms.keys());
        loop {
            let rooms = self.policy_reload.next(deadline);
            if rooms.is_empty() {
                return;
            }
            for room in rooms {
                self.set_policy(&room, policies.of(&room));
            }
        }
    }

    /// Asks for what full queues have cost, of as many rooms as the queue has `places` for answers, and tells workers where their rooms
    /// stand, as far as their queues take it.
    fn recover_from_full_queues(&mut self, places: usize) {
        let services = Arc::clone(&self.services);
        for room in services.queues.lagging(self.index).take(places) {
            match self.rooms.get(&room).map(RoomSequencer::has_started) {
                Some(true) => self.step(&room, RoomSequencer::missed_deliveries),
                // The answer to the subscription may be what was lost.
                Some(false) => services.broker.subscribe(&room),
                None => {}
            }
        }
        (0..services.queues.workers()).for_each(|worker| {
            self.retry(worker);
        });
    }

    /// Tells a worker where rooms stand of which it missed something, until its queue is full. How many rooms were tried.
    fn retry(&mut self, worker: usize) -> usize {
        let mut tried = 0;
        while let Some(room) = self.lag.next(worker) {
            tried += 1;
            self.step(&room, |sequencer, effects| sequencer.retry(worker, effects));
            // A queue that has no place for this has none for the next.
            if self.rooms.get(&room).is_some_and(|sequencer| sequencer.lagging().any(|lags| lags == worker)) {
                break;
            }
        }
        tried
    }

    fn perform_due(&mut self, now: Instant) {
        while let Some((at, _)) = self.due.first()
            && *at <= now
        {
            let Some((_, room)) = self.due.pop_first() else { return };
            self.step(&room, |sequencer, effects| sequencer.on_deadline(now, effects));
        }
    }

    /// Gives a room's sequencer an input, keeps its timer, and performs what it wants. After a panic in it the room begins anew;
    /// the others go on.
    fn step(&mut self, room: &Room, input: impl FnOnce(&mut RoomSequencer, &mut Vec<SequencerEffect>)) {
        let Self { rooms, services, due, lag, effects, lives, lists_lost, to_list, .. } = self;
        let Some(sequencer) = rooms.get_mut(room) else { return };
        let before = sequencer.deadline();
        let step = AssertUnwindSafe(|| {
            input(sequencer, effects);
            for effect in effects.drain(..) {
                perform(services, room, sequencer, lists_lost, effect);
            }
        });
        if catch_unwind(step).is_err() {
            tracing::error!(%room, "the room's sequencer ended in a panic: it begins anew, and its members catch up from the log");
            effects.clear();
            *lives += 1;
            *sequencer = sequencer.restarted(*lives);
            services.broker.subscribe(room);
            // Joins and leaves that waited to be told are lost: the members get the whole list once the broker has answered.
            if sequencer.policy().presence == PresenceMode::Events {
                to_list.insert(room.clone());
            }
        }
        let deadline = sequencer.deadline();
        if deadline != before {
            if let Some(at) = before {
                due.remove(&(at, room.clone()));
            }
            if let Some(at) = deadline {
                due.insert((at, room.clone()));
            }
        }
        for worker in sequencer.lagging() {
            lag.note(worker, room);
        }
    }
}

fn perform(
    services: &Arc<Services>,
    room: &Room,
    sequencer: &mut RoomSequencer,
    lists_lost: &mut HashMap<Room, ListLost>,
    effect: SequencerEffect,
) {
    match effect {
        SequencerEffect::Tell(worker, update) => {
            let sent = services.queues.tell_worker(worker, ToWorker::Room(room.clone(), update.clone()));
            if !sent {
                if let StreamUpdate::Broadcast(broadcast) = &update
                    && broadcast.range().is_none()
                {
                    services.metrics.dropped.increment(1);
                }
                sequencer.refused(worker, &update);
            }
        }
        SequencerEffect::ReadHistory { ticket, since, until } => {
            let query = HistoryQuery { since: Some(since), until, max_events: usize::MAX, max_bytes: usize::MAX };
            read_history(services, room, ticket, query);
        }
        SequencerEffect::AnnouncePresence { joined, left } => {
            let workers: Vec<usize> = sequencer.listed().collect();
            let lost = Rc::clone(lists_lost.entry(room.clone()).or_default());
            announce(services, room, RoomNow::of(sequencer), workers, (joined, left), lost);
        }
        SequencerEffect::Flushed { events, arrived, logged } => {
            let metrics = &services.metrics;
            if let Some(observer) = &metrics.observer {
                observer.batch_flushed(events);
            }
            if logged {
                metrics.batches.increment(1);
                metrics.batch_events.record(events as f64);
                metrics.batch_wait.record(arrived.elapsed());
            }
        }
    }
}

/// Reads the log behind a position until it answers.
fn read_history(services: &Arc<Services>, room: &Room, ticket: ReadTicket, query: HistoryQuery) {
    let (services, room) = (Arc::clone(services), room.clone());
    tokio::task::spawn_local(async move {
        let mut pause = RETRY;
        loop {
            if let Ok(history) = services.broker.history(&room, query.clone()).await
                && services.queues.tell_sequencer(&room, ToSequencer::HistoryRead(room.clone(), ticket, history))
            {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_READ_PAUSE);
        }
    });
}

#[cfg(test)]
impl Sequencer {
    /// Follows a room for every worker, panics in it, and hears where it stands.
    pub(crate) fn panic_in(&mut self, room: &Room, stands: crate::model::Position) {
        (0..self.services.queues.workers()).for_each(|worker| self.join(room, worker));
        self.step(room, |_, _| panic!("planted"));
        self.take(ToSequencer::Delivery(room.clone(), Delivery::Started(stands), Instant::now()));
    }

    /// Has a worker join rooms, each of which stands at once. How many of those that its queue refused a turn tries.
    pub(crate) fn retried_of(&mut self, rooms: &[Room], worker: usize, stands: &crate::model::Position) -> usize {
        for room in rooms {
            self.join(room, worker);
            self.take(ToSequencer::Delivery(room.clone(), Delivery::Started(stands.clone()), Instant::now()));
        }
        self.retry(worker)
    }

    /// Has a worker leave rooms. For how many there are places still.
    pub(crate) fn places_after(&mut self, rooms: &[Room], worker: usize) -> usize {
        rooms.iter().for_each(|room| self.leave(room, worker));
        self.rooms.capacity()
    }
}
