//! What a node's subscriptions are told, and what they tell.

use std::sync::Arc;

use crate::error::NodeError;

/// What becomes of a channel at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Subscribe, and see to it that the subscription stays.
    Subscribe,
    /// Keep what stands, but do not ask again: the channel is another node's now.
    Linger,
    /// Unsubscribe.
    Unsubscribe,
}

/// What happened at a node.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// The server takes subscriptions.
    Up {
        /// With `SSUBSCRIBE` instead of `SUBSCRIBE`.
        sharded: bool,
    },
    /// The subscription stands.
    Confirmed(&'a Arc<str>),
    /// The subscription stands no more.
    Lost(&'a Arc<str>),
    /// A channel and a message.
    Message(&'a str, &'a [u8]),
    /// The server names another owner of a slot, as `host:port`.
    Moved(u16, &'a str),
    /// The layout has changed, or may have.
    Refresh,
    /// The server refuses, for a reason that does not pass by itself.
    Refused(NodeError),
}
