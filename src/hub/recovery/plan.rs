//! Whether a client that comes back can have exactly what it missed. Pure: a log's answer in, batches out.

use std::sync::Arc;

use crate::{
    broker::History,
    hub::{
        planted::{Fault, planted},
        sequencer::collector::Collector,
    },
    model::{Batch, Policy, Position, Room, Since},
};

/// The most events of one recovery; beyond it the client is told `recovered: false`.
pub const MAX_EVENTS: usize = 1_000;

/// The most bytes of payload of one recovery.
pub const MAX_BYTES: usize = 1024 * 1024;

/// What a client that comes back is given.
#[derive(Debug, Clone)]
pub enum Recovered {
    /// Exactly the events in (`since`, `target`], conflated where the room conflates, in batches that follow one
    /// another.
    Exactly(Vec<Batch>),
    /// Nothing, because not all of it can be had: never a part.
    Not,
}

/// Judges the log's answer to "what lies in (`since`, `target`], within the bounds?".
///
/// The log alone knows whether the client's epoch continues in its own ([`History::complete`]); what is checked here is
/// that the answer ends where the live stream begins, in the epoch of the live stream.
#[must_use]
pub fn plan(room: &Room, history: History, since: &Since, target: &Position, policy: &Arc<Policy>) -> Recovered {
    let exact = history.complete
        && history.after == since.offset
        && history.offset == target.offset
        && history.epoch == target.epoch;
    if !exact && !planted(Fault::PartialRecovery) {
        return Recovered::Not;
    }
    let from = Position::new(since.epoch.clone(), since.offset);
    let mut collector = Collector::new(room.clone(), Arc::clone(policy), from);
    for event in history.events {
        collector.push(history.epoch.clone(), event);
    }
    Recovered::Exactly(std::iter::from_fn(|| collector.cut()).collect())
}

#[cfg(test)]
mod tests;
