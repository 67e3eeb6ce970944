//! What a room's sequencer wants done by what drives it.

use std::time::Instant;

use crate::{
    hub::sequencer::update::StreamUpdate,
    model::{Member, Offset, Since},
};

/// What a sequencer wants done, in this order.
#[derive(Debug)]
pub enum SequencerEffect {
    /// Put this on a worker's queue. Where the queue is full, [`RoomSequencer::refused`] is told.
    Tell(usize, StreamUpdate),
    /// Read the log behind this position until it answers; the answer goes to [`RoomSequencer::history_read`].
    ReadHistory {
        /// Names this read.
        ticket: ReadTicket,
        /// The last position that the sequencer has.
        since: Since,
        /// The last event that is wanted; none of the log's newer ones is missed.
        until: Option<Offset>,
    },
    /// Tell the room's members of these joins and leaves.
    AnnouncePresence {
        /// Members that came.
        joined: Vec<Member>,
        /// Members that went.
        left: Vec<Member>,
    },
    /// A batch left.
    Flushed {
        /// How many events it has.
        events: usize,
        /// When the oldest of them arrived.
        arrived: Instant,
        /// Whether they are in the log.
        logged: bool,
    },
}

/// Names one read of the log: an answer that comes after the room was given up, and followed again, is not taken for one of
/// the new life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadTicket {
    /// The sequencer.
    pub life: u64,
    /// The read.
    pub read: u64,
}
