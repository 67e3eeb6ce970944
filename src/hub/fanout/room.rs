//! A room on one worker: its members here, where its stream stands, and who waits to come in.
//!
//! Of rooms that share a log, the one whose log it is has the stream (position, fan-out, backlog, who waits), and the others,
//! its parts, have the members.
//!
//! Always holds: `position` is the last batch that the worker began to fan out (the flush boundary at which members
//! join); batches of a stream begin in order and never overlap.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use smallvec::SmallVec;

use crate::{
    hub::{
        Broadcast, Frame,
        access::opening::First,
        connection::connections::ConnectionKey,
        fanout::{
            members::{Members, Place},
            rooms::RoomIndex,
        },
    },
    model::{CommandId, Event, Offset, Policy, Position, Room, Since},
};

/// A room on one worker.
#[derive(Debug)]
pub struct LocalRoom {
    /// Its name.
    pub name: Room,
    /// Its policy.
    pub policy: Arc<Policy>,
    /// The room whose log it shares, by its number here.
    pub log: Option<RoomIndex>,
    /// How many rooms here share its log.
    pub parts: usize,
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
    /// How many times the log was asked for those who come.
    pub asked: u64,
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
    /// The room whose members get it: the one whose fan-out it is, or a part of its log.
    pub part: RoomIndex,
    /// Where each group ended when the fan-out began.
    pub ends: SmallVec<[usize; 1]>,
    /// Who does not get it; of nearly every broadcast nobody.
    pub except: SmallVec<[ConnectionKey; 1]>,
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
    /// Whether a member, at a place, was here when this began, is to get it, and has not been written to.
    #[must_use]
    pub fn awaits(&self, key: ConnectionKey, place: Place) -> bool {
        if self.except.contains(&key) {
            return false;
        }
        let (group, slot) = (usize::from(place.group), place.slot.at());
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
    pub key: ConnectionKey,
    /// Where it stopped.
    pub since: Option<Since>,
    /// Why it comes.
    pub purpose: Purpose,
    /// What the backend shows it where nothing is retained.
    pub snapshot: Option<Arc<[Event]>>,
    /// In a shared log: the rooms that it comes into, each with the offset up to which it was not in it. Otherwise none.
    pub parts: Parts,
}

/// Rooms of a shared log by their numbers, each with an offset.
pub type Parts = SmallVec<[(RoomIndex, Offset); 1]>;

/// Connections that wait for the same part of the log. Live broadcasts are held for them once, not once each.
#[derive(Debug)]
pub struct Pending {
    /// Its name among those of the room.
    pub ticket: u64,
    /// Where they stopped; `None`: only the retained values are wanted.
    pub since: Option<Since>,
    /// The room's position when the log was asked.
    pub target: Position,
    /// Who waits. In a shared log one only, because each is in other rooms.
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
            log: None,
            parts: 0,
            position: None,
            members: Members::default(),
            run: None,
            backlog: VecDeque::new(),
            tip: None,
            healing: false,
            asked: 0,
            pending: Vec::new(),
            arrivals: Vec::new(),
            ahead: Vec::new(),
            behind: 0,
            empty_since: None,
            spoke: (0, 0),
        }
    }

    /// From now on joiners stand behind a broadcast.
    pub fn pass(&mut self, broadcast: &Arc<Broadcast>) {
        if let Some(range) = broadcast.range() {
            self.position = Some(Position::new(range.epoch, range.offset));
        }
        // Who comes later is told only what is for everybody.
        for pending in self.pending.iter_mut().filter(|_| broadcast.except.is_none()) {
            pending.hold(broadcast);
        }
    }

    /// Begins to fan out to the members of `part`, which end there.
    pub fn begin(
        &mut self,
        broadcast: Arc<Broadcast>,
        part: RoomIndex,
        ends: SmallVec<[usize; 1]>,
        except: SmallVec<[ConnectionKey; 1]>,
        now: Instant,
    ) {
        self.pass(&broadcast);
        self.run = Some(Run {
            broadcast,
            part,
            ends,
            except,
            group: 0,
            slot: 0,
            frame: None,
            receivers: 0,
            bytes_plain: 0,
            bytes_framed: 0,
            began: now,
        });
    }

    /// Takes who comes into a room off the list of those who wait; why it came, if it did.
    pub fn forget_arrival(&mut self, key: ConnectionKey, part: RoomIndex) -> Option<Purpose> {
        let mut purpose = None;
        let mut gone = |arrival: &mut Arrival| {
            if arrival.key != key {
                return false;
            }
            // Without a shared log there are no parts, and it comes into this room.
            let all = arrival.parts.len();
            arrival.parts.retain(|(number, _)| *number != part);
            if all == 0 || arrival.parts.len() < all {
                purpose = Some(arrival.purpose.clone());
            }
            arrival.parts.is_empty()
        };
        self.arrivals.retain_mut(|arrival| !gone(arrival));
        self.ahead.retain_mut(|arrival| !gone(arrival));
        for pending in &mut self.pending {
            pending.waiting.retain_mut(|arrival| !gone(arrival));
        }
        purpose
    }

    /// Whether somebody is on the way into a part of this log.
    #[must_use]
    pub fn awaits(&self, part: RoomIndex) -> bool {
        let waiting = self.pending.iter().flat_map(|pending| &pending.waiting);
        let all = self.arrivals.iter().chain(&self.ahead).chain(waiting);
        all.flat_map(|arrival| &arrival.parts).any(|(number, _)| *number == part)
    }

    /// Whether nobody is here or on the way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.members.is_empty()
            && !self.members.is_pinned()
            && self.parts == 0
            && self.behind == 0
            && self.run.is_none()
            && self.backlog.is_empty()
            && self.arrivals.is_empty()
            && self.ahead.is_empty()
            && self.pending.iter().all(|p| p.waiting.is_empty())
    }
}
