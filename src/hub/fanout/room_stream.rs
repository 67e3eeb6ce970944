//! A room's stream on one worker: where it stands, what waits behind the running fan-out, which joins wait for what.
//!
//! Pure: it takes inputs and the time, and answers effects; it reads no clock, waits for nothing and does no I/O. Never knows a
//! connection but by its key. Always holds: `position` is the last batch whose fan-out began, and a joiner's position is
//! that or is brought up to that; fan-outs begin in the order of the log and never overlap; what the sequencer sent and did
//! not arrive is read from the log, or told as a gap.
//!
//! A stream that several rooms share (`log` of a policy) fans each batch out to the members of the room that the batch names.
//!
//! ```text
//!              Placed                begins a broadcast
//!  (no position) ─────▶ Idle ─────────────────────────────▶ FanningOut (broadcasts wait in the backlog)
//!                        ▲ ▲       fan_out_finished              │
//!                        │ └─────────────────────────────────────┘
//!                        │  a batch does not follow `position`, or the known head is beyond it
//!                        └────────────────────────────────▶ Healing (the log is read)
//! ```

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use crate::{
    broker::BrokerError,
    hub::{
        Broadcast, Content,
        connection::key::ConnectionKey,
        fanout::broadcast::Range,
        fanout::room_index::RoomIndex,
        membership::pending_join::{JoinAnswer, JoinPurpose, Parts, PendingJoin},
        planted::{Fault, planted},
        recovery::cache::Missed,
        sequencer::update::StreamUpdate,
    },
    model::{Policy, Position, Retain, Room, Since},
};

/// What a stream wants done, in this order.
#[derive(Debug)]
pub enum StreamEffect {
    /// Fan this out to the members of a room of the stream: its own, or one that shares its log.
    /// [`RoomStream::fan_out_finished`] follows.
    StartFanOut(Arc<Broadcast>, FanOutTo),
    /// Read what lies between, for all members; the answer goes to [`RoomStream::hole_read`].
    ReadHole {
        /// Where the stream stands.
        since: Since,
        /// Where it is known to stand elsewhere.
        until: Position,
    },
    /// Read what joiners miss; the answer goes to [`RoomStream::join_read`].
    ReadForJoin {
        /// Names this read.
        ticket: u64,
        /// Where they stopped; `None`: only retained values are wanted.
        since: Option<Since>,
        /// Where the stream stands.
        target: Position,
        /// In a shared log: the rooms that are joined.
        parts: Parts,
    },
    /// Make this a member.
    Admit(Admission),
    /// The log could not say what this join missed.
    TurnAway(PendingJoin, BrokerError),
    /// So many joins were answered with all that they missed (`true`), or with the news that it is gone.
    CountRecoveries(bool, usize),
    /// An event without a promise was dropped, because the backlog is full.
    CountDropped,
}

/// Which members a fan-out is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FanOutTo {
    /// Those of the stream's own room.
    Own,
    /// Those of a room that shares the stream's log.
    Part(RoomIndex),
}

/// A join that is over.
#[derive(Debug)]
pub struct Admission {
    /// The connection, and why it joins.
    pub join: PendingJoin,
    /// What follows this position is the member's.
    pub position: Position,
    /// Whether what it missed is in `before`, all of it.
    pub recovered: bool,
    /// What it gets ahead of the live stream.
    pub before: Arc<[Arc<Broadcast>]>,
}

/// Joins that wait for the same part of the log. Live broadcasts are held for them once, not once each.
#[derive(Debug)]
struct JoinRead {
    ticket: u64,
    since: Option<Since>,
    /// The stream's position when the log was asked.
    target: Position,
    /// In a shared log one only, because each is in other rooms.
    joins: Vec<PendingJoin>,
    /// What was begun since.
    held: Vec<Arc<Broadcast>>,
    /// Whether `held` was full.
    overflowed: bool,
}

impl JoinRead {
    fn hold(&mut self, broadcast: &Arc<Broadcast>) {
        if self.held.len() < RoomStream::MAX_HELD {
            self.held.push(Arc::clone(broadcast));
        } else {
            self.overflowed = true;
        }
    }
}

/// What the stream does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    Idle,
    FanningOut,
    /// A hole is filled from the log: nothing begins meanwhile.
    Healing,
}

/// A room's stream on one worker.
#[derive(Debug)]
pub struct RoomStream {
    name: Room,
    /// The rooms here that share its log; none where the log is the room's own.
    #[allow(clippy::box_collection, reason = "nearly every stream has none: 8 bytes instead of 48")]
    parts: Option<Box<HashMap<Room, RoomIndex>>>,
    /// The last batch that was begun; `None` until the sequencer has answered.
    position: Option<Position>,
    activity: Activity,
    /// Broadcasts behind the running one. Full: the newest is dropped, noted in `known_head`, and read from the log.
    backlog: VecDeque<Arc<Broadcast>>,
    /// Where the room stands beyond the backlog: what lies between was lost on the way.
    known_head: Option<Position>,
    /// How many reads were made for joins.
    reads: u64,
    /// Joins that wait for the log.
    reading: Vec<JoinRead>,
    /// Joins that wait for the stream's first position.
    unplaced: Vec<PendingJoin>,
    /// Joins of clients that saw more, from another worker or pod, than was begun here: they wait for that.
    early: Vec<PendingJoin>,
}

impl RoomStream {
    /// The most broadcasts that wait behind a fan-out. So few in tests that a history of 200 steps fills it.
    pub const MAX_BACKLOG: usize = if cfg!(test) { 6 } else { 256 };

    /// The most broadcasts held while the log is read for joins; beyond it the answer is `recovered: false`.
    pub const MAX_HELD: usize = if cfg!(test) { 4 } else { 256 };

    /// A stream whose sequencer was not asked yet.
    #[must_use]
    pub fn new(name: Room) -> Self {
        Self {
            name,
            parts: None,
            position: None,
            activity: Activity::Idle,
            backlog: VecDeque::new(),
            known_head: None,
            reads: 0,
            reading: Vec::new(),
            unplaced: Vec::new(),
            early: Vec::new(),
        }
    }

    /// The last batch whose fan-out began.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Whether nothing is under way: what was begun has reached every member.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.activity == Activity::Idle && self.backlog.is_empty()
    }

    /// Whether no join waits, nothing is under way, and no room shares the log.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        let no_join = self.unplaced.is_empty() && self.early.is_empty() && self.reading.is_empty();
        self.is_idle() && self.parts.is_none() && no_join
    }

    /// Whether several rooms share the log.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.parts.is_some()
    }

    /// A room here shares the log from now on.
    pub fn add_part(&mut self, room: Room, index: RoomIndex) {
        self.parts.get_or_insert_default().insert(room, index);
    }

    /// A room shares the log no more.
    pub fn remove_part(&mut self, room: &Room) {
        if let Some(parts) = &mut self.parts {
            parts.remove(room);
            if parts.is_empty() {
                self.parts = None;
            }
        }
    }

    /// Takes what the sequencer tells.
    pub fn update(
        &mut self,
        update: StreamUpdate,
        now: Instant,
        policy: &Arc<Policy>,
        effects: &mut Vec<StreamEffect>,
    ) {
        match update {
            StreamUpdate::Placed(position) => {
                self.position.get_or_insert(position);
                for join in std::mem::take(&mut self.unplaced) {
                    self.join(join, policy, effects);
                }
            }
            StreamUpdate::Broadcast(broadcast) => self.broadcast(broadcast, now, policy, effects),
            StreamUpdate::Head(head) => {
                if self.position.is_some() {
                    self.known_head = Some(head);
                    self.next(now, policy, effects);
                }
            }
            StreamUpdate::Renamed { before, now } => {
                // While broadcasts are under way, the first under the new name asks the log.
                if self.is_idle() && self.position.as_ref() == Some(&before) {
                    self.position = Some(now);
                }
            }
        }
    }

    fn broadcast(
        &mut self,
        broadcast: Arc<Broadcast>,
        now: Instant,
        policy: &Arc<Policy>,
        effects: &mut Vec<StreamEffect>,
    ) {
        if self.position.is_none() {
            // Sent before the sequencer knew that this worker had left and come back: the answer to the new join follows,
            // and stands behind it.
            return;
        }
        if self.backlog.len() < Self::MAX_BACKLOG {
            // Its own `after` tells what is missing before it.
            self.known_head = None;
            self.backlog.push_back(broadcast);
            self.next(now, policy, effects);
        } else if let Some(range) = broadcast.range() {
            if !planted(Fault::FullBacklog) {
                self.known_head = Some(Position::new(range.epoch, range.offset));
            }
        } else {
            effects.push(StreamEffect::CountDropped);
        }
    }

    /// The running fan-out has reached every member.
    pub fn fan_out_finished(&mut self, now: Instant, policy: &Arc<Policy>, effects: &mut Vec<StreamEffect>) {
        if self.activity == Activity::FanningOut {
            self.activity = Activity::Idle;
            self.next(now, policy, effects);
        }
    }

    /// The log answered a [`StreamEffect::ReadHole`].
    pub fn hole_read(
        &mut self,
        (since, until): (Since, Position),
        missed: Result<Missed, BrokerError>,
        now: Instant,
        policy: &Arc<Policy>,
        effects: &mut Vec<StreamEffect>,
    ) {
        if self.activity != Activity::Healing {
            return;
        }
        self.activity = Activity::Idle;
        match missed {
            Ok(Missed::All(broadcasts)) => {
                // The log knows the position as one of its own.
                self.position = Some(Position::new(until.epoch, since.offset));
                broadcasts.into_iter().rev().for_each(|broadcast| self.backlog.push_front(broadcast));
            }
            Ok(Missed::Gone) | Err(_) => {
                let Position { epoch, offset } = until;
                let range = Range { room: self.name.clone(), epoch, after: since.offset, offset };
                let gap = Broadcast::new(Content::Gap(range), Arc::clone(policy), now);
                self.backlog.push_front(Arc::new(gap));
            }
        }
        self.next(now, policy, effects);
    }

    /// Begins what waits, if nothing is under way; reads the log if it is known to be ahead.
    fn next(&mut self, now: Instant, policy: &Arc<Policy>, effects: &mut Vec<StreamEffect>) {
        while self.activity == Activity::Idle
            && let Some(broadcast) = self.backlog.pop_front()
        {
            self.begin(broadcast, now, policy, effects);
        }
        if self.activity == Activity::Idle
            && let (Some(head), Some(position)) = (self.known_head.take(), &self.position)
            && (position.epoch != head.epoch || position.offset < head.offset)
        {
            self.heal(head, effects);
        }
    }

    /// Begins a fan-out, or reads the hole before it first. A broadcast for a room without members here is over at once.
    fn begin(
        &mut self,
        broadcast: Arc<Broadcast>,
        now: Instant,
        policy: &Arc<Policy>,
        effects: &mut Vec<StreamEffect>,
    ) {
        if let (Content::Events(batch), Some(position)) = (&broadcast.content, &self.position)
            && (batch.after != position.offset || batch.epoch != position.epoch)
        {
            if batch.epoch == position.epoch && batch.offset <= position.offset {
                return;
            }
            let until = Position::new(batch.epoch.clone(), batch.after);
            if !planted(Fault::HoleOnTheWay) {
                self.backlog.push_front(broadcast);
                self.heal(until, effects);
                return;
            }
        }
        let broadcast = match (&broadcast.content, &self.position) {
            (Content::Gap(gap), Some(position)) if gap.room == self.name => {
                if gap.epoch == position.epoch && gap.offset <= position.offset {
                    return;
                }
                // What was lost on the way before the gap is gone with it.
                let gap = Range { after: position.offset, ..gap.clone() };
                Arc::new(Broadcast::new(Content::Gap(gap), Arc::clone(policy), broadcast.arrived))
            }
            _ => broadcast,
        };
        self.pass(&broadcast);
        let to = if *broadcast.room() == self.name {
            Some(FanOutTo::Own)
        } else {
            let parts = self.parts.as_ref();
            parts.and_then(|parts| parts.get(broadcast.room())).map(|part| FanOutTo::Part(*part))
        };
        // A hole in a shared log is one in each of its rooms.
        if to == Some(FanOutTo::Own)
            && let (Content::Gap(range), Some(parts)) = (&broadcast.content, &self.parts)
        {
            for room in parts.keys() {
                let range = Range { room: room.clone(), ..range.clone() };
                let gap = Broadcast::new(Content::Gap(range), Arc::clone(policy), now);
                self.backlog.push_front(Arc::new(gap));
            }
        }
        if let Some(to) = to {
            self.activity = Activity::FanningOut;
            effects.push(StreamEffect::StartFanOut(broadcast, to));
        }
        let reached = self.position.as_ref().map_or(0, |position| position.offset);
        let waits = |join: &PendingJoin| join.since.as_ref().is_some_and(|since| since.offset > reached);
        let (early, ready) = std::mem::take(&mut self.early).into_iter().partition(waits);
        self.early = early;
        let ready: Vec<PendingJoin> = ready;
        for join in ready {
            self.join(join, policy, effects);
        }
    }

    /// From now on joiners stand behind a broadcast.
    fn pass(&mut self, broadcast: &Arc<Broadcast>) {
        if let Some(range) = broadcast.range() {
            self.position = Some(Position::new(range.epoch, range.offset));
        }
        // A joiner gets only what is for all members.
        for read in self.reading.iter_mut().filter(|_| broadcast.except.is_none()) {
            read.hold(broadcast);
        }
    }

    fn heal(&mut self, until: Position, effects: &mut Vec<StreamEffect>) {
        let Some(Position { epoch, offset }) = self.position.clone() else { return };
        self.activity = Activity::Healing;
        effects.push(StreamEffect::ReadHole { since: Since { epoch, offset }, until });
    }

    /// Lets a join in, or has it wait for the log.
    pub fn join(&mut self, join: PendingJoin, policy: &Arc<Policy>, effects: &mut Vec<StreamEffect>) {
        let Some(mut position) = self.position.clone() else {
            self.unplaced.push(join);
            return;
        };
        if planted(Fault::FlushBoundary) && self.activity == Activity::FanningOut {
            position.offset = position.offset.saturating_sub(1);
        }
        let at_position = |since: &Since| {
            since.offset == position.offset && (since.epoch == position.epoch || planted(Fault::EpochIgnored))
        };
        match &join.since {
            Some(since) if at_position(since) => self.admit(join, position, true, effects),
            None if policy.retain == Retain::None => self.admit(join, position, false, effects),
            _ => {
                let since = join.since.clone();
                let shared = |read: &&mut JoinRead| read.since == since && join.parts.is_empty();
                if let Some(read) = self.reading.iter_mut().find(shared) {
                    read.joins.push(join);
                    return;
                }
                self.reads += 1;
                let (ticket, target, parts) = (self.reads, position.clone(), join.parts.clone());
                effects.push(StreamEffect::ReadForJoin { ticket, since: since.clone(), target: position, parts });
                let (joins, held) = (vec![join], Vec::new());
                self.reading.push(JoinRead { ticket, since, target, joins, held, overflowed: false });
            }
        }
    }

    /// A join into a stream that fans out stands behind what is being sent: the position is that of the running batch.
    fn admit(&self, join: PendingJoin, position: Position, recovered: bool, effects: &mut Vec<StreamEffect>) {
        effects.push(StreamEffect::Admit(Admission { join, position, recovered, before: Arc::new([]) }));
    }

    /// The log answered a [`StreamEffect::ReadForJoin`].
    pub fn join_read(
        &mut self,
        ticket: u64,
        answer: Result<JoinAnswer, BrokerError>,
        policy: &Arc<Policy>,
        effects: &mut Vec<StreamEffect>,
    ) {
        let Some(at) = self.reading.iter().position(|read| read.ticket == ticket) else { return };
        let JoinRead { since, target, joins, held, overflowed, .. } = self.reading.swap_remove(at);
        let Some(position) = self.position.clone() else { return };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                effects.extend(joins.into_iter().map(|join| StreamEffect::TurnAway(join, error.clone())));
                return;
            }
        };
        let overflowed = overflowed && !planted(Fault::FullHold);
        match (answer, since) {
            (JoinAnswer::Early, Some(since)) => {
                for join in joins {
                    // The batch may have begun while the log was read.
                    if position.offset >= since.offset {
                        self.join(join, policy, effects);
                    } else {
                        self.early.push(join);
                    }
                }
            }
            (JoinAnswer::Missed(broadcasts), Some(since)) if !overflowed => {
                effects.push(StreamEffect::CountRecoveries(true, joins.len()));
                let before: Arc<[_]> = broadcasts.into_iter().chain(held).collect();
                let position = Position::new(target.epoch, since.offset);
                effects.extend(joins.into_iter().map(|join| {
                    let (position, before) = (position.clone(), Arc::clone(&before));
                    StreamEffect::Admit(Admission { join, position, recovered: true, before })
                }));
            }
            (answer, since) => {
                if since.is_some() {
                    effects.push(StreamEffect::CountRecoveries(false, joins.len()));
                }
                if overflowed {
                    // More was begun meanwhile than is held: what was read is too old to continue from.
                    for join in joins {
                        if join.purpose == JoinPurpose::CatchUp {
                            self.admit(join, position.clone(), false, effects);
                        } else {
                            self.join(PendingJoin { since: None, ..join }, policy, effects);
                        }
                    }
                    return;
                }
                // The retained values were read after `target`: what was begun since follows them, so that none stays stale.
                let retained = if let JoinAnswer::Fresh(retained) = answer { retained } else { None };
                let before: Arc<[_]> = retained.into_iter().chain(held).collect();
                effects.extend(joins.into_iter().map(|join| {
                    let (position, before) = (target.clone(), Arc::clone(&before));
                    StreamEffect::Admit(Admission { join, position, recovered: false, before })
                }));
            }
        }
    }

    /// A connection no longer joins `part`, the stream's own room or one that shares its log; why it did, if it did.
    pub fn cancel_join(&mut self, key: ConnectionKey, part: RoomIndex) -> Option<JoinPurpose> {
        let mut purpose = None;
        let mut stays = |join: &mut PendingJoin| {
            if join.key != key {
                return true;
            }
            // Without a shared log there are no parts, and it joins this room.
            let all = join.parts.len();
            join.parts.retain(|(index, _)| *index != part);
            if all == 0 || join.parts.len() < all {
                purpose = Some(join.purpose.clone());
            }
            !join.parts.is_empty()
        };
        self.unplaced.retain_mut(&mut stays);
        self.early.retain_mut(&mut stays);
        for read in &mut self.reading {
            read.joins.retain_mut(&mut stays);
        }
        purpose
    }

    /// Whether a connection is on its way into a room that shares this log.
    #[must_use]
    pub fn is_joined(&self, part: RoomIndex) -> bool {
        self.joins().flat_map(|join| &join.parts).any(|(index, _)| *index == part)
    }

    fn joins(&self) -> impl Iterator<Item = &PendingJoin> {
        let reading = self.reading.iter().flat_map(|read| &read.joins);
        self.unplaced.iter().chain(&self.early).chain(reading)
    }
}
