//! What the floor and its parent say to each other.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What the floor reports to its parent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Notice {
    /// It accepts connections here.
    Listening(SocketAddr),
    /// What it has done since it started.
    Counts(Counts),
}

/// What the floor's threads have done.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Sockets that finished the handshakes.
    pub(crate) open: u64,
    /// Writes that the kernel took only in part, or not at once.
    pub(crate) short_writes: u64,
    /// Sockets given up: closed by their receiver, or too far behind.
    pub(crate) given_up: u64,
}

/// The largest frame that the parent may hand over.
pub(super) const MOST_FRAME: u32 = 16 << 20;

/// An order to send `frame` to every socket; an empty one asks for [`Counts`].
pub(crate) fn order(frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes(), frame].concat()
}
