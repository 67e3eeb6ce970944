//! The events of one room that leave together.

use std::sync::Arc;

use super::{Epoch, Event, Offset, Room};

/// The events of a room in (`after`, `offset`], oldest first. The range also covers the events that conflation removed. The
/// offsets of unlogged events ([`Epoch::none`]) only order the batch; no client sees them.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The room.
    pub room: Room,
    /// The epoch of `offset`.
    pub epoch: Epoch,
    /// The offset that the batch continues from.
    pub after: Offset,
    /// The last offset that the batch covers.
    pub offset: Offset,
    /// What is left of the range after conflation.
    pub events: Vec<Arc<Event>>,
}

impl Batch {
    /// Whether its events have positions.
    #[must_use]
    pub fn is_logged(&self) -> bool {
        !self.epoch.is_none()
    }
}

/// The retained values of a room, for a new subscriber. They do not move its position.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Retained {
    /// The room.
    pub room: Room,
    /// The room's epoch.
    pub epoch: Epoch,
    /// The room's offset when the values were read.
    pub offset: Offset,
    /// The values in the order of their offsets.
    pub events: Vec<Arc<Event>>,
}
