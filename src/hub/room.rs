//! A room on one worker: its members here, where its stream stands, and who waits to come in.
//!
//! Always holds: `position` is the last batch that the worker began to fan out (the flush boundary at which members
//! join); batches of a room begin in order and never overlap.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use smallvec::SmallVec;

use super::{
    Broadcast, Frame,
    beginning::First,
    members::{Members, Place},
};
use crate::model::{CommandId, Event, Policy, Position, Room, Since};

/// A room on one worker.
#[derive(Debug)]
pub struct LocalRoom {
    /// Its name.
    pub name: Room,
    /// Its policy.
    pub policy: Arc<Policy>,
    /// The last batch that was begun; `None` until the room's owner has answered.
    pub position: Option<Position>,
    /// Who gets every frame.
    pub members: Members,
    /// The fan-out in progress.
    pub run: Option<Run>,
    /// Broadcasts behind it. Full: the newest is dropped, noted in `tip`, and recovered from history.
    pub backlog: VecDeque<Arc<Broadcast>>,
    /// Where the room is known to stand beyond the backlog: what lies between was lost on the way.
    pub tip: Option<Position>,
    /// Whether a hole in the stream is being filled from history: nothing begins meanwhile.
    pub healing: bool,
    /// Who waits for something older than the live stream.
    pub pending: Vec<Pending>,
    /// Who waits for the owner's first answer.
    pub arrivals: Vec<Arrival>,
    /// Who has seen more than this worker has flushed (from another worker or pod) and waits for the flush.
    pub ahead: Vec<Arrival>,
    /// How many have fallen behind: out of the fan-out, but still here.
    pub behind: usize,
    /// Since when nobody is here.
    pub empty_since: Option<Instant>,
    /// When the last fan-out began and ended, in fan-outs of the worker.
    pub spoke: (u64, u64),
}

/// A fan-out in progress.
#[derive(Debug)]
pub struct Run {
    /// What is sent.
    pub broadcast: Arc<Broadcast>,
    /// Where each group ended when the fan-out began.
    pub ends: SmallVec<[usize; 1]>,
    /// The group in progress.
    pub group: usize,
    /// The next place in it.
    pub slot: usize,
    /// The group's frame, once made.
    pub frame: Option<Frame>,
    /// How many receivers it went to.
    pub receivers: u64,
    /// Bytes of frames times receivers, before compression.
    pub bytes_plain: u64,
    /// And after it.
    pub bytes_framed: u64,
    /// When it began.
    pub began: Instant,
}

impl Run {
    /// Whether the member at a place was here when this began, and has not been written to.
    #[must_use]
    pub fn awaits(&self, place: Place) -> bool {
        let (group, slot) = (usize::from(place.group), place.slot as usize);
        let here = self.ends.get(group).is_some_and(|end| slot < *end);
        here && (group > self.group || (group == self.group && slot >= self.slot))
    }
}

/// Why somebody comes into a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// It subscribes.
    Subscribe(Option<CommandId>),
    /// Its dialect begins with the room.
    Begin(Box<First>),
    /// It had fallen behind.
    CatchUp,
    /// Its session comes back, on whatever worker.
    Resume,
}

impl Default for Purpose {
    fn default() -> Self {
        Self::Subscribe(None)
    }
}

/// A connection that comes in.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The connection.
    pub key: u32,
    /// Where it stopped.
    pub since: Option<Since>,
    /// Why it comes.
    pub purpose: Purpose,
    /// What the backend shows it where nothing is retained.
    pub snapshot: Option<Arc<[Event]>>,
}

/// Connections that wait for the same part of the log. Live broadcasts are held for them once, not once each.
#[derive(Debug)]
pub struct Pending {
    /// Where they stopped; `None`: only the retained values are wanted.
    pub since: Option<Since>,
    /// The room's position when the log was asked.
    pub target: Position,
    /// Who waits.
    pub waiting: Vec<Arrival>,
    /// What was begun since. Beyond its bound nobody is recovered: see [`Pending::MAX_HELD`].
    pub held: Vec<Arc<Broadcast>>,
    /// Whether `held` went beyond its bound.
    pub lost: bool,
}

impl Pending {
    /// The most broadcasts held while the log is read; beyond it the answer is `recovered: false`.
    pub const MAX_HELD: usize = 256;

    /// Holds a broadcast.
    pub fn hold(&mut self, broadcast: &Arc<Broadcast>) {
        if self.held.len() < Self::MAX_HELD {
            self.held.push(Arc::clone(broadcast));
        } else {
            self.lost = true;
        }
    }
}

impl LocalRoom {
    /// The most broadcasts that wait behind a fan-out.
    pub const MAX_BACKLOG: usize = 256;

    /// A room whose owner was not asked yet.
    #[must_use]
    pub fn new(name: Room, policy: Arc<Policy>) -> Self {
        Self {
            name,
            policy,
            position: None,
            members: Members::default(),
            run: None,
            backlog: VecDeque::new(),
            tip: None,
            healing: false,
            pending: Vec::new(),
            arrivals: Vec::new(),
            ahead: Vec::new(),
            behind: 0,
            empty_since: None,
            spoke: (0, 0),
        }
    }

    /// Begins to fan out: from now on joiners stand behind it.
    pub fn begin(&mut self, broadcast: Arc<Broadcast>, now: Instant) {
        if let Some(range) = broadcast.range() {
            self.position = Some(Position::new(range.epoch, range.offset));
        }
        for pending in &mut self.pending {
            pending.hold(&broadcast);
        }
        self.members.pin();
        let ends = self.members.groups().iter().map(super::members::Group::end).collect();
        self.run = Some(Run {
            broadcast,
            ends,
            group: 0,
            slot: 0,
            frame: None,
            receivers: 0,
            bytes_plain: 0,
            bytes_framed: 0,
            began: now,
        });
    }

    /// Whether nobody is here or on the way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.members.is_empty()
            && self.behind == 0
            && self.run.is_none()
            && self.backlog.is_empty()
            && self.arrivals.is_empty()
            && self.ahead.is_empty()
            && self.pending.iter().all(|p| p.waiting.is_empty())
    }
}
