//! What clients without a WebSocket find on a path: which dialect is spoken there, and what the parameters of a poll are called.
//!
//! Shapes only.

use super::wire_format::DialectId;

/// What is on a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpMount {
    /// A `GET` waits for what is new.
    Poll(DialectId, PollParameters),
    /// The body of a request has commands.
    Send(DialectId),
    /// A `GET` asks for something: the one at this place among those of the dialect.
    Ask(DialectId, usize),
}

/// The parameters of a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollParameters {
    /// The name of that which says where the client stands.
    pub cursor: Box<str>,
    /// The name of those that say in which rooms.
    pub room: Box<str>,
    /// Whether there are no others but the native protocol's own.
    pub no_others: bool,
}

impl Default for PollParameters {
    /// As the native protocol has them.
    fn default() -> Self {
        Self { cursor: "cursor".into(), room: "room".into(), no_others: true }
    }
}
