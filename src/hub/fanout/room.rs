//! A room on one worker: its members here, its stream or the log that it shares, the fan-out in progress.
//!
//! Always holds: where rooms share a log, the room whose log it is has the stream; the others have members only.

use std::{sync::Arc, time::Instant};

use smallvec::SmallVec;

use crate::{
    hub::{
        connection::key::ConnectionKey,
        fanout::{
            broadcast::Broadcast,
            chain::FrameReach,
            frame::Frame,
            members::{Members, Place},
            room_index::RoomIndex,
            room_stream::RoomStream,
            walk::Walk,
        },
    },
    model::{Policy, Room},
};

/// A room on one worker.
#[derive(Debug)]
pub struct LocalRoom {
    /// Its name.
    pub name: Room,
    /// Its policy.
    pub policy: Arc<Policy>,
    /// Where its events come from.
    pub log: RoomLog,
    /// The connections that get every frame.
    pub members: Members,
    /// The fan-out in progress.
    pub fan_out: Option<FanOut>,
    /// How many members have fallen behind. They are out of the fan-out and still in the room.
    pub behind: usize,
    /// Since when it is empty.
    pub empty_since: Option<Instant>,
    /// When the last fan-out began and ended, in fan-outs of the worker.
    pub fan_out_span: (u64, u64),
}

/// Where a room's events come from.
#[derive(Debug)]
pub enum RoomLog {
    /// From a log of its own.
    Own(RoomStream),
    /// From the log of another room here.
    Shared(RoomIndex),
}

/// A fan-out in progress.
#[derive(Debug)]
pub struct FanOut {
    /// What is sent.
    pub broadcast: Arc<Broadcast>,
    /// The room whose members get it: the one whose fan-out it is, or a part of its log.
    pub part: RoomIndex,
    /// Which members it has reached.
    pub walk: Walk,
    /// The connections that do not get it; of nearly every broadcast none.
    pub except: SmallVec<[ConnectionKey; 1]>,
    /// The group's frame, once made.
    pub frame: Option<Frame>,
    /// The frame for those of the group that cannot read it, once one is met.
    pub independent: Option<Frame>,
    /// What the group's frame came to so far.
    pub reach: FrameReach,
    /// How many receivers it went to.
    pub receivers: u64,
    /// Bytes of frames times receivers, before compression.
    pub bytes_plain: u64,
    /// The same after compression.
    pub bytes_framed: u64,
    /// When it began.
    pub began: Instant,
}

impl FanOut {
    /// A fan-out that has sent nothing yet.
    #[must_use]
    pub fn new(
        broadcast: Arc<Broadcast>,
        part: RoomIndex,
        ends: SmallVec<[usize; 1]>,
        except: SmallVec<[ConnectionKey; 1]>,
        began: Instant,
    ) -> Self {
        Self {
            broadcast,
            part,
            walk: Walk::new(ends),
            except,
            frame: None,
            independent: None,
            reach: FrameReach::default(),
            receivers: 0,
            bytes_plain: 0,
            bytes_framed: 0,
            began,
        }
    }

    /// Whether a member at a place is still to be written to: it was here when this began, and is not left out.
    #[must_use]
    pub fn awaits(&self, key: ConnectionKey, place: Place) -> bool {
        !self.except.contains(&key) && self.walk.awaits(place)
    }
}

impl LocalRoom {
    /// A room without members.
    #[must_use]
    pub fn new(name: Room, policy: Arc<Policy>, log: RoomLog) -> Self {
        Self {
            name,
            policy,
            log,
            members: Members::default(),
            fan_out: None,
            behind: 0,
            empty_since: None,
            fan_out_span: (0, 0),
        }
    }

    /// Its own stream, if it does not share another room's.
    #[must_use]
    pub fn stream(&self) -> Option<&RoomStream> {
        match &self.log {
            RoomLog::Own(stream) => Some(stream),
            RoomLog::Shared(_) => None,
        }
    }

    /// Its own stream, to be changed.
    #[must_use]
    pub fn stream_mut(&mut self) -> Option<&mut RoomStream> {
        match &mut self.log {
            RoomLog::Own(stream) => Some(stream),
            RoomLog::Shared(_) => None,
        }
    }

    /// The room whose log it shares.
    #[must_use]
    pub fn shares(&self) -> Option<RoomIndex> {
        match self.log {
            RoomLog::Own(_) => None,
            RoomLog::Shared(log) => Some(log),
        }
    }

    /// Whether a connection is in it, one that has fallen behind too.
    #[must_use]
    pub fn has_members(&self) -> bool {
        self.behind > 0 || !self.members.is_empty()
    }

    /// Whether no connection is here or on its way, as far as the room itself knows: joins of a shared log wait there.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.members.is_empty()
            && !self.members.is_pinned()
            && self.behind == 0
            && self.fan_out.is_none()
            && self.stream().is_none_or(RoomStream::is_unused)
    }
}
