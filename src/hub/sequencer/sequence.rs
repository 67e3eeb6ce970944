//! How far a room's log was followed, and the hole that is being filled.
//!
//! Shapes only: [`RoomSequencer`](super::room_sequencer::RoomSequencer) moves them.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use crate::{
    hub::sequencer::{batcher::Batcher, effect::ReadTicket},
    model::{Epoch, Event, Position},
};

/// The room's log as far as it was followed.
#[derive(Debug)]
pub(super) struct Sequence {
    /// Events that are not sent yet; it knows where the next batch begins.
    pub(super) batcher: Batcher,
    /// The last event that came, in order.
    pub(super) received: Position,
    /// The hole that is being filled.
    pub(super) hole: Option<Hole>,
}

/// A hole in the room's stream, while the log is read.
#[derive(Debug)]
pub(super) struct Hole {
    pub(super) ticket: ReadTicket,
    /// Events that came meanwhile. Full: the newest is dropped, and the log is read again.
    pub(super) held: VecDeque<(Epoch, Arc<Event>, Instant)>,
    /// How many of `held` were there when the read began: those that the answer lacks are not in the log.
    pub(super) held_before: usize,
    /// Whether an event was dropped.
    pub(super) overflowed: bool,
}
