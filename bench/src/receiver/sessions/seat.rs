//! What is known of a session, and what all sessions of the process share.

use std::cell::RefCell;

use super::{callers::Callers, frames::Frames};
use crate::{receiver::tally::Tally, verify::Tracker};

/// One session in one room, as its task and the orders see it.
pub(super) struct Seat {
    /// The room's number.
    pub(super) room: u32,
    /// Whether `subscribed` came.
    pub(super) member: bool,
    /// What it has received.
    pub(super) tracker: Tracker,
    /// Whether its streams are compressed.
    pub(super) deflate: bool,
    /// The connection, once there is one, and what it had read when counting began.
    pub(super) connection: Option<(quinn::Connection, u64)>,
    /// Why it ended, if it did.
    pub(super) ended: Option<String>,
}

impl Seat {
    /// What its connection has read.
    pub(super) fn wire_bytes(&self) -> u64 {
        self.connection.as_ref().map_or(0, |(connection, _)| connection.stats().udp_rx.bytes)
    }
}

/// What all sessions share.
pub(super) struct Hall {
    /// What they count.
    pub(super) tally: RefCell<Tally>,
    /// Where they read and inflate.
    pub(super) frames: RefCell<Frames>,
    /// What they connect with.
    pub(super) callers: Callers,
}
