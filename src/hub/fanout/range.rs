//! A part of a room's log: what a frame stands for, and what a gap names when the frame is dropped.

use crate::model::{Epoch, Offset, Reply, Room};

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

/// The `gap` that stands for a range.
#[must_use]
pub fn gap(range: &Range) -> Reply {
    let Range { room, epoch, after, offset } = range.clone();
    Reply::Gap { room, epoch, after, offset }
}
