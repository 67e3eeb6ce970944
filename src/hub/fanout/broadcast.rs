//! What is said to a whole room: the content, and its frames for the wire formats that receivers have asked for.
//!
//! Never knows a receiver. Always holds: a broadcast is encoded and compressed once for each wire format, whatever worker asks.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use smallvec::SmallVec;

use crate::{
    hub::fanout::{frame::Frame, range::Range, room_window::RoomWindow},
    model::{Batch, Delivery, Member, Notice, Policy, Retained, Room, SignalNotice},
    protocol::{PresenceChange, WireFormat},
    session::ConnectionId,
};

/// What a broadcast says.
#[derive(Debug)]
pub enum Content {
    /// Events.
    Events(Batch),
    /// Events that are in no log.
    Unlogged(Batch),
    /// The newest values, for a new member.
    Retained(Retained),
    /// Members that came and went.
    Presence(PresenceChange),
    /// A signal, which no log has.
    Signal(SignalNotice),
    /// Something for the members of a personal room, which no log has.
    Notice(Room, Notice),
    /// Events that will not come: the log no longer has them.
    Gap(Range),
}

/// The connections that do not get a broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Excluded {
    /// Those of a user.
    User(Box<str>),
    /// One that has no user.
    Connection(ConnectionId),
}

/// The frame of a wire format. `None`: the room has no chain in that format, and the independent frame stands in.
type FormatFrame = (WireFormat, Option<Frame>);

/// One thing that is said to a room, and its bytes in each wire format that a receiver needed.
#[derive(Debug)]
pub struct Broadcast {
    /// What is said.
    pub content: Content,
    /// The room's policy.
    pub policy: Arc<Policy>,
    /// When the first of the events reached this pod.
    pub arrived: Instant,
    /// The connections that do not get it.
    pub except: Option<Excluded>,
    /// Whether it was sent before, and is read from the log for clients that come back.
    pub recovered: bool,
    /// The window that its frames may refer to; `None`: each is compressed for itself.
    window: Option<Arc<RoomWindow>>,
    frames: Mutex<SmallVec<[FormatFrame; 2]>>,
}

impl Broadcast {
    /// Something to be said, not yet encoded.
    #[must_use]
    pub fn new(content: Content, policy: Arc<Policy>, arrived: Instant) -> Self {
        Self { content, policy, arrived, except: None, recovered: false, window: None, frames: Mutex::default() }
    }

    /// The same, with frames that may refer to those before in the room.
    #[must_use]
    pub fn in_window(self, window: Option<&Arc<RoomWindow>>) -> Self {
        Self { window: window.cloned(), ..self }
    }

    /// The window that its frames may refer to.
    #[must_use]
    pub fn window(&self) -> Option<&Arc<RoomWindow>> {
        self.window.as_ref()
    }

    /// The same, for clients that come back.
    #[must_use]
    pub fn recovered(self) -> Self {
        Self { recovered: true, ..self }
    }

    /// The same, for all members but the connections of a user.
    #[must_use]
    pub fn except(self, user: Option<&str>) -> Self {
        Self { except: user.map(|user| Excluded::User(user.into())), ..self }
    }

    /// The same, for all members but the one that it comes from, on whatever connection.
    #[must_use]
    pub fn except_sender(self, sender: &Member) -> Self {
        let except = match &sender.user {
            Some(user) => Some(Excluded::User(user.as_ref().into())),
            None => sender.connection.parse().ok().map(Excluded::Connection),
        };
        Self { except, ..self }
    }

    /// The part of the log that it stands for.
    #[must_use]
    pub fn range(&self) -> Option<Range> {
        self.stands_for().filter(|range| !range.epoch.is_none())
    }

    /// What a gap names where it is dropped.
    pub(super) fn stands_for(&self) -> Option<Range> {
        match &self.content {
            Content::Events(batch) | Content::Unlogged(batch) => Some(Range {
                room: batch.room.clone(),
                epoch: batch.epoch.clone(),
                after: batch.after,
                offset: batch.offset,
            }),
            Content::Gap(range) => Some(range.clone()),
            Content::Retained(_) | Content::Presence(_) | Content::Signal(_) | Content::Notice(..) => None,
        }
    }

    /// Whether it carries events as they happen.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.content, Content::Events(_) | Content::Unlogged(_))
    }

    /// Whether it may be lost: a signal that ends by itself.
    #[must_use]
    fn is_passing(&self) -> bool {
        matches!(&self.content, Content::Signal(notice) if notice.ttl_ms > 0)
    }

    /// Whether it may go out as a datagram, where there are some: it may be lost, or something newer follows.
    #[must_use]
    pub fn fits_datagram(&self) -> bool {
        self.is_passing() || (self.policy.delivery == Delivery::Latest && self.is_live())
    }

    /// The room whose members it is for.
    #[must_use]
    pub fn room(&self) -> &Room {
        match &self.content {
            Content::Events(batch) | Content::Unlogged(batch) => &batch.room,
            Content::Retained(retained) => &retained.room,
            Content::Presence(change) => &change.room,
            Content::Signal(notice) => &notice.room,
            Content::Notice(room, _) => room,
            Content::Gap(range) => &range.room,
        }
    }

    /// The bytes of its events' payloads.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.content {
            Content::Events(batch) | Content::Unlogged(batch) => {
                batch.events.iter().map(|event| event.payload.len()).sum()
            }
            Content::Retained(_)
            | Content::Presence(_)
            | Content::Signal(_)
            | Content::Notice(..)
            | Content::Gap(_) => 0,
        }
    }

    /// How many events reach each receiver.
    #[must_use]
    pub fn events(&self) -> usize {
        match &self.content {
            Content::Events(batch) | Content::Unlogged(batch) => batch.events.len(),
            Content::Retained(retained) => retained.events.len(),
            Content::Presence(_) | Content::Signal(_) | Content::Notice(..) | Content::Gap(_) => 0,
        }
    }

    /// The bytes for one wire format, made by the worker that asks first. Another worker that asks meanwhile waits for them
    /// instead of making them again.
    pub(super) fn frame_or_make(&self, format: WireFormat, make: impl FnOnce() -> Option<Frame>) -> Option<Frame> {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, frame)) = frames.iter().find(|(f, _)| *f == format) {
            return frame.clone();
        }
        let frame = make();
        // A keyframe is the independent frame as well.
        if let Some(keyframe) = &frame
            && format.framing.keeps_window()
            && keyframe.is_independent()
        {
            let independent = format.independent();
            if frames.iter().all(|(f, _)| *f != independent) {
                frames.push((independent, frame.clone()));
            }
        }
        frames.push((format, frame.clone()));
        frame
    }
}
