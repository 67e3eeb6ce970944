//! A connection's publishes that wait for the one before them, so that they enter a room's log in order.

use std::collections::VecDeque;

use crate::model::{CommandId, Publication, Room};

/// A publish that waits: its command, its room, and what is published.
pub type QueuedPublish = (Option<CommandId>, Room, Publication);

/// One connection's waiting publishes. Full: the newest is refused with an error.
#[derive(Debug, Default)]
pub struct PublishQueue {
    waiting: VecDeque<QueuedPublish>,
}

impl PublishQueue {
    /// The most that wait.
    pub const MAX: usize = 64;

    /// Queues a publish; `false`: full.
    #[must_use]
    pub fn push(&mut self, id: Option<CommandId>, room: Room, publication: Publication) -> bool {
        if self.waiting.len() >= Self::MAX {
            return false;
        }
        self.waiting.push_back((id, room, publication));
        true
    }

    /// The next publish.
    pub fn take(&mut self) -> Option<QueuedPublish> {
        self.waiting.pop_front()
    }
}
