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
        connection::key::ConnectionKey,
        fanout::{
            broadcast::{Broadcast, Content},
            joins::Joins,
            range::Range,
            room_index::RoomIndex,
            stream_effect::{FanOutTo, StreamEffect},
        },
        membership::pending_join::{JoinAnswer, JoinPurpose, PendingJoin},
        planted::{Fault, planted},
        recovery::cache::Missed,
        sequencer::update::StreamUpdate,
    },
    model::{Policy, Position, Room, Since},
};

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
    /// Where the room stands beyond the backlog. What lies between was lost on the way.
    known_head: Option<Position>,
    /// Connections on their way in.
    joins: Joins,
}

impl RoomStream {
    /// The most broadcasts that wait behind a fan-out. So few in tests that a history of 200 steps fills it.
    const MAX_BACKLOG: usize = if cfg!(test) { 6 } else { 256 };

    /// A stream without a position: its sequencer was not asked yet.
    #[must_use]
    pub fn new(name: Room) -> Self {
        Self {
            name,
            parts: None,
            position: None,
            activity: Activity::Idle,
            backlog: VecDeque::new(),
            known_head: None,
            joins: Joins::default(),
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
        self.is_idle() && self.parts.is_none() && self.joins.is_empty()
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
                if self.position.is_some() {
                    // Placed before, by a life of the sequencer that may have ended before it sent everything.
                    return self.update(StreamUpdate::Head(position), now, policy, effects);
                }
                let position = self.position.insert(position);
                self.joins.placed(position, policy, effects);
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
            // A sequencer that began anew behind this stream makes other batches than the one before it: of a batch that the
            // stream stands within, the log has the rest.
            let within = batch.epoch == position.epoch && batch.after < position.offset;
            let until = Position::new(batch.epoch.clone(), if within { batch.offset } else { batch.after });
            if !planted(Fault::HoleOnTheWay) {
                if !within {
                    self.backlog.push_front(broadcast);
                }
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
        if let Some(position) = &self.position {
            self.joins.reached(position, policy, effects);
        }
    }

    /// From now on joiners stand behind a broadcast.
    fn pass(&mut self, broadcast: &Arc<Broadcast>) {
        if let Some(range) = broadcast.range() {
            self.position = Some(Position::new(range.epoch, range.offset));
        }
        // A joiner gets only what is for all members.
        if broadcast.except.is_none() {
            self.joins.hold(broadcast);
        }
    }

    fn heal(&mut self, until: Position, effects: &mut Vec<StreamEffect>) {
        let Some(Position { epoch, offset }) = self.position.clone() else { return };
        self.activity = Activity::Healing;
        effects.push(StreamEffect::ReadHole { since: Since { epoch, offset }, until });
    }

    /// Lets a join in, or has it wait for the log.
    pub fn join(&mut self, join: PendingJoin, policy: &Arc<Policy>, effects: &mut Vec<StreamEffect>) {
        let mut position = self.position.clone();
        if planted(Fault::FlushBoundary) && self.activity == Activity::FanningOut {
            position.iter_mut().for_each(|position| position.offset = position.offset.saturating_sub(1));
        }
        self.joins.join(join, position.as_ref(), policy, effects);
    }

    /// The log answered a [`StreamEffect::ReadForJoin`].
    pub fn join_read(
        &mut self,
        ticket: u64,
        answer: Result<JoinAnswer, BrokerError>,
        policy: &Arc<Policy>,
        effects: &mut Vec<StreamEffect>,
    ) {
        if let Some(position) = &self.position {
            self.joins.read_answered(ticket, answer, position, policy, effects);
        }
    }

    /// A connection no longer joins `part`, the stream's own room or one that shares its log; why it did, if it did.
    pub fn cancel_join(&mut self, key: ConnectionKey, part: RoomIndex) -> Option<JoinPurpose> {
        self.joins.cancel(key, part)
    }

    /// Whether a connection is on its way into a room that shares this log.
    #[must_use]
    pub fn is_joined(&self, part: RoomIndex) -> bool {
        self.joins.lead_to(part)
    }
}

#[cfg(test)]
mod tests;
