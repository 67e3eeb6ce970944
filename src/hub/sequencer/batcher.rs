//! When a room's events leave: after the batch window, or as soon as a batch is full. Pure: the time is the caller's.

use std::{sync::Arc, time::Instant};

use crate::{
    hub::sequencer::collector::Collector,
    model::{Batch, Epoch, Event, Policy, Position, Room},
};

/// A room's events on their way into batches. The caller sends what [`Batcher::take`] gives when the deadline has come;
/// with a window of 0 that is at once, and what arrived in the same turn leaves together.
#[derive(Debug)]
pub struct Batcher {
    collector: Collector,
    room: Room,
    policy: Arc<Policy>,
    /// When the oldest event that waits arrived.
    waiting_since: Option<Instant>,
}

impl Batcher {
    /// Batches what follows `position`.
    #[must_use]
    pub fn new(room: Room, policy: Arc<Policy>, position: Position) -> Self {
        let collector = Collector::new(room.clone(), Arc::clone(&policy), position);
        Self { collector, room, policy, waiting_since: None }
    }

    /// Where the next batch begins: the last event of the batches taken.
    #[must_use]
    pub fn position(&self) -> &Position {
        self.collector.position()
    }

    /// When to take the next batch; `None`: nothing waits. In the past once a batch is full.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let window = self.policy.batch_window;
        self.waiting_since.map(|since| if self.collector.is_full() { since } else { since + window })
    }

    /// Takes in the event that follows the last one.
    pub fn push(&mut self, epoch: Epoch, event: Arc<Event>, arrived: Instant) {
        self.collector.push(epoch, event);
        self.waiting_since.get_or_insert(arrived);
    }

    /// The next batch and when the oldest event of what waited arrived. Called until `None`, it empties the room: a
    /// burst beyond the largest batch leaves as several.
    pub fn take(&mut self) -> Option<(Batch, Instant)> {
        let batch = self.collector.cut()?;
        let since = self.waiting_since?;
        if self.collector.is_empty() {
            self.waiting_since = None;
        }
        Some((batch, since))
    }

    /// Drops what waits and continues from `position`: what lies between was lost, and is told otherwise.
    pub fn reset(&mut self, position: Position) {
        *self = Self::new(self.room.clone(), Arc::clone(&self.policy), position);
    }
}

#[cfg(test)]
mod tests;
