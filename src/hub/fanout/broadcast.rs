//! What is said to a whole room: the content, and its frames for the wire formats that receivers have asked for.
//!
//! Never knows a receiver. Always holds: a broadcast is encoded and compressed once for each wire format, whatever worker asks.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use smallvec::SmallVec;

use crate::{
    hub::{Encoder, Frame},
    model::{Batch, Epoch, Offset, Policy, Reply, Retained, Room},
    protocol::{PresenceChange, WireFormat},
};

/// Events in (`after`, `offset`] of a room: what a frame stands for, and what a gap names when the frame is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The room.
    pub room: Room,
    /// The epoch of `offset`.
    pub epoch: Epoch,
    /// The offset before the first event.
    pub after: Offset,
    /// The last offset.
    pub offset: Offset,
}

impl Range {
    /// The same, of no log.
    #[must_use]
    pub fn of_no_epoch(self) -> Self {
        Self { epoch: Epoch::none(), ..self }
    }

    /// Takes in what follows it, so that one gap stands for both.
    pub fn widen(&mut self, newer: &Self) {
        if self.epoch.is_none() {
            *self = newer.clone();
        } else if !newer.epoch.is_none() {
            self.offset = newer.offset;
            self.epoch = newer.epoch.clone();
        }
    }
}

/// What is said to a room's members.
#[derive(Debug)]
pub enum Content {
    /// Events.
    Events(Batch),
    /// Events that are in no log.
    Unlogged(Batch),
    /// The newest values, to new members.
    Retained(Retained),
    /// Members that came and went.
    Presence(PresenceChange),
    /// Events that will not come: the log no longer has them.
    Gap(Range),
}

/// One thing said to a room, and its bytes in each wire format that some receiver asked for.
#[derive(Debug)]
pub struct Broadcast {
    /// What is said.
    pub content: Content,
    /// The room's policy.
    pub policy: Arc<Policy>,
    /// When the first of the events reached this pod.
    pub arrived: Instant,
    /// The user whose connections do not get it.
    pub except: Option<Box<str>>,
    frames: Mutex<SmallVec<[(WireFormat, Frame); 2]>>,
}

impl Broadcast {
    /// Wraps what is to be said.
    #[must_use]
    pub fn new(content: Content, policy: Arc<Policy>, arrived: Instant) -> Self {
        Self { content, policy, arrived, except: None, frames: Mutex::default() }
    }

    /// The same, for everybody but a user.
    #[must_use]
    pub fn except(self, user: Option<&str>) -> Self {
        Self { except: user.map(Into::into), ..self }
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
            Content::Retained(_) | Content::Presence(_) => None,
        }
    }

    /// Whether events happen in it now.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.content, Content::Events(_) | Content::Unlogged(_))
    }

    /// Whose members it is for.
    #[must_use]
    pub fn room(&self) -> &Room {
        match &self.content {
            Content::Events(batch) | Content::Unlogged(batch) => &batch.room,
            Content::Retained(retained) => &retained.room,
            Content::Presence(change) => &change.room,
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
            Content::Retained(_) | Content::Presence(_) | Content::Gap(_) => 0,
        }
    }

    /// How many events reach each receiver.
    #[must_use]
    pub fn events(&self) -> usize {
        match &self.content {
            Content::Events(batch) | Content::Unlogged(batch) => batch.events.len(),
            Content::Retained(retained) => retained.events.len(),
            Content::Presence(_) | Content::Gap(_) => 0,
        }
    }

    /// The bytes for one wire format, made by the worker that asks first. Another worker that asks meanwhile waits for them
    /// instead of making them again.
    pub fn frame(&self, format: WireFormat, encoder: &mut Encoder) -> Frame {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, frame)) = frames.iter().find(|(f, _)| *f == format) {
            return frame.clone();
        }
        let frame = encoder.encode(self, format);
        frames.push((format, frame.clone()));
        frame
    }
}

/// The `gap` that stands for a range.
#[must_use]
pub fn gap(range: &Range) -> Reply {
    let Range { room, epoch, after, offset } = range.clone();
    Reply::Gap { room, epoch, after, offset }
}
