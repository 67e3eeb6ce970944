//! One room's order: its events in, batches for the workers that have members out.
//!
//! Pure: it takes inputs and the time, and answers effects; it reads no clock, waits for nothing and does no I/O. Owns the
//! batch in the making, the position in the log and what each worker was told. Never knows a connection. Always holds: the
//! updates for a worker cover the log without a hole, or contain a gap for the range that the log no longer has; an update
//! that a full queue refused is made good by the next [`RoomSequencer::retry`].
//!
//! ```text
//!             started                       an event out of order, or a delivery that was missed
//!  Opening ───────────▶ Following ─────────────────────────────────────────▶ Healing (events are held)
//!                           ▲                 history_read                      │
//!                           └───────────────────────────────────────────────────┘
//! ```

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    broker::History,
    hub::{
        fanout::{
            broadcast::{Broadcast, Content},
            range::Range,
            room_window::RoomWindow,
        },
        planted::{Fault, planted},
        sequencer::{
            batcher::Batcher,
            effect::{ReadTicket, SequencerEffect},
            sequence::{Hole, Sequence},
            shared_log::by_room,
            update::StreamUpdate,
            window_seat::WindowSeat,
            worker_seats::WorkerSeats,
        },
    },
    model::{Epoch, Event, Member, Offset, Policy, Position, PresenceMode, Publication, Room, Since, UnixMillis},
};

/// One room's order.
#[derive(Debug)]
pub struct RoomSequencer {
    room: Room,
    policy: Arc<Policy>,
    seats: WorkerSeats,
    /// `None` until the broker has answered.
    sequence: Option<Sequence>,
    /// Events that are in no log, numbered as they come.
    unlogged: Option<(Batcher, Offset)>,
    joined: Vec<Member>,
    left: Vec<Member>,
    /// When `joined` and `left` are announced.
    presence_due: Option<Instant>,
    /// The newest read.
    ticket: ReadTicket,
    /// To which its frames may refer.
    window: WindowSeat,
}

impl RoomSequencer {
    /// The most events that are held while a hole is filled, and the most joins and leaves that wait for company.
    pub const MAX_HELD: usize = 4_096;

    /// How long joins and leaves wait for company: a crowd that comes at once is told of once.
    const PRESENCE_WINDOW: Duration = Duration::from_millis(100);

    /// A room of so many workers that the broker was just asked to deliver. `life` differs from that of every earlier
    /// sequencer of the same room.
    #[must_use]
    pub fn new(room: Room, policy: Arc<Policy>, workers: usize, life: u64) -> Self {
        Self {
            room,
            policy,
            seats: WorkerSeats::new(workers),
            sequence: None,
            unlogged: None,
            joined: Vec::new(),
            left: Vec::new(),
            presence_due: None,
            ticket: ReadTicket { life, read: 0 },
            window: WindowSeat::default(),
        }
    }

    /// The same, with a place for a window.
    #[must_use]
    pub fn with_window(self, window: WindowSeat) -> Self {
        Self { window, ..self }
    }

    /// The window that the room's broadcasts may refer to; `None`: it has none, or not yet.
    #[must_use]
    pub fn window(&self) -> Option<&Arc<RoomWindow>> {
        self.window.window()
    }

    /// A sequencer that takes over after a panic, of which nothing but the workers is kept. The broker is asked again where the room
    /// stands; streams that stand elsewhere then read from the log what the one before had and did not send.
    #[must_use]
    pub fn restarted(&self, life: u64) -> Self {
        let (room, policy) = (self.room.clone(), Arc::clone(&self.policy));
        Self { seats: self.seats.restarted(), window: self.window.anew(), ..Self::new(room, policy, 0, life) }
    }

    /// Its policy.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Whether no worker has members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seats.are_empty()
    }

    /// Whether the broker has answered.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.sequence.is_some()
    }

    /// The workers that have members.
    pub fn listed(&self) -> impl Iterator<Item = usize> + '_ {
        self.seats.listed()
    }

    /// The workers that a full queue cost something which [`RoomSequencer::retry`] makes good.
    pub fn lagging(&self) -> impl Iterator<Item = usize> + '_ {
        self.seats.lagging()
    }

    /// When [`RoomSequencer::on_deadline`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let logged = self.sequence.as_ref().map(|sequence| &sequence.batcher);
        let batchers = logged.into_iter().chain(self.unlogged.iter().map(|(batcher, _)| batcher));
        batchers.filter_map(Batcher::deadline).chain(self.presence_due).min()
    }

    /// A worker has its first member.
    pub fn join(&mut self, worker: usize, effects: &mut Vec<SequencerEffect>) {
        let position = self.sequence.as_ref().map(|sequence| sequence.batcher.position());
        self.seats.join(worker, position, effects);
    }

    /// A worker has lost its last member.
    pub fn leave(&mut self, worker: usize) {
        self.seats.leave(worker);
    }

    /// The broker's subscription stands, for the first time or anew.
    pub fn started(&mut self, position: Position, effects: &mut Vec<SequencerEffect>) {
        if let Some(sequence) = &self.sequence {
            // What lies between a broken subscription and the new one was missed.
            if sequence.received != position {
                self.missed_deliveries(effects);
            }
            return;
        }
        self.seats.started(&position, effects);
        let batcher = Batcher::new(self.room.clone(), Arc::clone(&self.policy), position.clone());
        self.sequence = Some(Sequence { batcher, received: position, hole: None });
    }

    /// The broker delivered an event.
    pub fn event(&mut self, epoch: Epoch, event: Arc<Event>, arrived: Instant, effects: &mut Vec<SequencerEffect>) {
        let Some(Sequence { batcher, received, hole }) = &mut self.sequence else { return };
        if let Some(hole) = hole {
            if hole.held.len() < Self::MAX_HELD {
                hole.held.push_back((epoch, event, arrived));
            } else {
                hole.overflowed = true;
            }
            return;
        }
        let repeated = received.epoch == epoch && event.offset <= received.offset;
        if repeated && !planted(Fault::RepeatedDelivery) {
            return;
        }
        let follows = received.epoch == epoch && event.offset == received.offset + 1;
        if follows || planted(Fault::LostDelivery) {
            *received = Position::new(epoch.clone(), event.offset);
            batcher.push(epoch, event, arrived);
            return;
        }
        self.read_behind([(epoch, event, arrived)].into(), effects);
    }

    /// The broker delivered an event that enters no log. One that is kept from the user `except` leaves at once and alone,
    /// between what came before it and what follows. Before the room's first position it has no receiver.
    pub fn unlogged(
        &mut self,
        publication: Publication,
        except: Option<&str>,
        (arrived, time): (Instant, UnixMillis),
        effects: &mut Vec<SequencerEffect>,
    ) {
        if except.is_some() {
            self.flush(effects);
        }
        if self.sequence.is_none() {
            return;
        }
        let (batcher, last) = self.unlogged.get_or_insert_with(|| {
            (Batcher::new(self.room.clone(), Arc::clone(&self.policy), Position::new(Epoch::none(), 0)), 0)
        });
        *last += 1;
        let event = Event::from_publication(publication, *last, time, None);
        batcher.push(Epoch::none(), Arc::new(event), arrived);
        if except.is_some() {
            self.flush_unlogged(except, effects);
        }
    }

    /// A member of the room came (`true`) or went, on whatever pod.
    pub fn presence(&mut self, member: Member, came: bool, now: Instant) {
        let waiting = self.joined.len() + self.left.len();
        if self.policy.presence == PresenceMode::Events && waiting < Self::MAX_HELD {
            if came {
                self.joined.push(member)
            } else {
                self.left.push(member)
            }
            self.presence_due.get_or_insert(now + Self::PRESENCE_WINDOW);
        }
    }

    /// Deliveries were lost: the log is read behind the last position, unless it is being read.
    pub fn missed_deliveries(&mut self, effects: &mut Vec<SequencerEffect>) {
        if planted(Fault::MissedDeliveries) {
            return;
        }
        match &mut self.sequence {
            // The read that is under way may end before what was lost.
            Some(Sequence { hole: Some(hole), .. }) => hole.overflowed = true,
            Some(_) => self.read_behind(VecDeque::new(), effects),
            None => {}
        }
    }

    /// Reads the log behind the last position; `held` is what came out of order.
    fn read_behind(&mut self, held: VecDeque<(Epoch, Arc<Event>, Instant)>, effects: &mut Vec<SequencerEffect>) {
        let Some(Sequence { received, hole, .. }) = &mut self.sequence else { return };
        self.ticket.read += 1;
        let (ticket, held_before) = (self.ticket, held.len());
        let follows = held.front().is_some_and(|(_, event, _)| event.offset == received.offset + 1);
        *hole = Some(Hole { ticket, held, held_before, overflowed: false });
        let since = Since { epoch: received.epoch.clone(), offset: received.offset };
        // Where only the epoch is another one, nothing is missing: the log says whether it goes on from there, also if it keeps no event.
        let until = follows.then_some(received.offset);
        effects.push(SequencerEffect::ReadHistory { ticket, since, until });
    }

    /// The log answered a [`SequencerEffect::ReadHistory`]: the hole is filled, or the log no longer has it.
    pub fn history_read(
        &mut self,
        ticket: ReadTicket,
        history: History,
        now: Instant,
        effects: &mut Vec<SequencerEffect>,
    ) {
        let Some(Sequence { hole, .. }) = &mut self.sequence else { return };
        // An answer to a read of an earlier life of this sequencer names another ticket.
        let Some(Hole { held, held_before, overflowed, .. }) = hole.take_if(|hole| hole.ticket == ticket) else {
            return;
        };
        if !history.complete && !planted(Fault::UntoldGap) {
            self.flush(effects);
            self.gap(&history, now, effects);
        }
        self.rename(Position::new(history.epoch.clone(), history.after), effects);
        let Some(Sequence { batcher, received, .. }) = &mut self.sequence else { return };
        for event in history.events {
            *received = Position::new(history.epoch.clone(), event.offset);
            batcher.push(history.epoch.clone(), event, now);
        }
        for (index, (epoch, event, arrived)) in held.into_iter().enumerate() {
            // An event of another epoch that was here before the read is of a master that no longer is one.
            if index >= held_before || epoch == history.epoch {
                self.event(epoch, event, arrived, effects);
            }
        }
        if overflowed {
            self.missed_deliveries(effects);
        }
    }

    /// A worker's queue was full for an update.
    pub fn refused(&mut self, worker: usize, update: &StreamUpdate) {
        self.seats.refused(worker, update);
    }

    /// Tells a worker whose queue was full where the room stands.
    pub fn retry(&mut self, worker: usize, effects: &mut Vec<SequencerEffect>) {
        if let Some(sequence) = &self.sequence {
            self.seats.retry(worker, sequence.batcher.position(), effects);
        }
    }

    /// Gives the room another policy. What waits leaves under the old one.
    pub fn set_policy(&mut self, policy: Arc<Policy>, effects: &mut Vec<SequencerEffect>) {
        if self.policy == policy {
            return;
        }
        self.flush(effects);
        self.policy = Arc::clone(&policy);
        self.window = self.window.anew();
        self.unlogged = None;
        if let Some(Sequence { batcher, .. }) = &mut self.sequence {
            *batcher = Batcher::new(self.room.clone(), policy, batcher.position().clone());
        }
    }

    /// Sends what is due.
    pub fn on_deadline(&mut self, now: Instant, effects: &mut Vec<SequencerEffect>) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let logged = self.sequence.as_ref().and_then(|sequence| sequence.batcher.deadline());
        let unlogged = self.unlogged.as_ref().and_then(|(batcher, _)| batcher.deadline());
        if due(logged) || due(unlogged) {
            self.flush(effects);
        }
        if due(self.presence_due) {
            self.presence_due = None;
            let (joined, left) = (std::mem::take(&mut self.joined), std::mem::take(&mut self.left));
            effects.push(SequencerEffect::AnnouncePresence { joined, left });
        }
    }

    /// Sends everything that waits.
    fn flush(&mut self, effects: &mut Vec<SequencerEffect>) {
        while let Some(Sequence { batcher, .. }) = &mut self.sequence
            && let Some((batch, arrived)) = batcher.take()
        {
            effects.push(SequencerEffect::Flushed { events: batch.events.len(), arrived, logged: true });
            self.window.count_batch(&self.policy);
            for batch in by_room(batch) {
                // Of rooms that share a log each would need a window of its own.
                let window = self.window().filter(|_| batch.room == self.room);
                let broadcast = Broadcast::new(Content::Events(batch), Arc::clone(&self.policy), arrived);
                let broadcast = broadcast.in_window(window);
                self.tell_all(&StreamUpdate::Broadcast(Arc::new(broadcast)), effects);
            }
        }
        self.flush_unlogged(None, effects);
    }

    /// Sends what is in no log, to all but a user.
    fn flush_unlogged(&mut self, except: Option<&str>, effects: &mut Vec<SequencerEffect>) {
        while let Some((batcher, _)) = &mut self.unlogged
            && let Some((batch, arrived)) = batcher.take()
        {
            effects.push(SequencerEffect::Flushed { events: batch.events.len(), arrived, logged: false });
            self.window.count_batch(&self.policy);
            let broadcast = Broadcast::new(Content::Unlogged(batch), Arc::clone(&self.policy), arrived).except(except);
            let broadcast = broadcast.in_window(self.window());
            self.tell_all(&StreamUpdate::Broadcast(Arc::new(broadcast)), effects);
        }
    }

    /// The log goes on under another epoch and lost nothing of what came: the same position under its new name, so that
    /// neither workers nor clients that come back take the room for another one.
    fn rename(&mut self, position: Position, effects: &mut Vec<SequencerEffect>) {
        let Some(Sequence { batcher, received, .. }) = &mut self.sequence else { return };
        if received.offset != position.offset || received.epoch == position.epoch {
            return;
        }
        let before = std::mem::replace(received, position.clone());
        if *batcher.position() == before {
            batcher.reset(position.clone());
            self.tell_all(&StreamUpdate::Renamed { before, now: position }, effects);
        }
    }

    /// Tells members what is gone, and continues behind it.
    fn gap(&mut self, history: &History, now: Instant, effects: &mut Vec<SequencerEffect>) {
        let Some(Sequence { batcher, received, .. }) = &mut self.sequence else { return };
        let position = Position::new(history.epoch.clone(), history.after);
        let before = std::mem::replace(received, position.clone());
        let range = Range {
            room: self.room.clone(),
            epoch: position.epoch.clone(),
            after: before.offset,
            offset: position.offset,
        };
        batcher.reset(position);
        let gap = Broadcast::new(Content::Gap(range), Arc::clone(&self.policy), now);
        self.tell_all(&StreamUpdate::Broadcast(Arc::new(gap)), effects);
    }

    /// One update to each worker that has members.
    fn tell_all(&self, update: &StreamUpdate, effects: &mut Vec<SequencerEffect>) {
        effects.extend(self.listed().map(|worker| SequencerEffect::Tell(worker, update.clone())));
    }
}
