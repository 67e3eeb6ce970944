//! The seam between the hub and a part of the pod that counts deliveries in words of its own.
//!
//! The hub says what happened in its own terms: a kind of message, a reply, a batch. What these are called elsewhere is the observer's
//! business. At most one observer is registered, at start. Always holds: it is asked once a message, reply, batch or report, never once a
//! receiver; where none is registered, nothing is asked and nothing is allocated.

use std::fmt::Debug;

use metrics::Gauge;

use crate::model::{Batch, Reply};

/// What a message of a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientMessage {
    /// A sign of life that is answered.
    Ping,
    /// To enter rooms.
    Subscribe,
    /// To leave a room.
    Unsubscribe,
    /// Anything else.
    Other,
}

/// Hears what the hub receives and delivers. Its calls run on a worker's thread between two writes, so they must be short.
pub trait DeliveryObserver: Debug + Send + Sync {
    /// A client sent a message.
    fn message_received(&self, kind: ClientMessage);

    /// A new connection was sent its dialect's greeting.
    fn connection_greeted(&self);

    /// A connection is sent a reply.
    fn reply_sent(&self, reply: &Reply);

    /// A batch of so many events left its room's sequencer.
    fn batch_flushed(&self, events: usize);

    /// A worker wrote a batch: each of its events to so many connections.
    fn batch_delivered(&self, batch: &Batch, receivers: u64);

    /// By how much the number of a worker's connections, and of those with a user, differs from its last report.
    fn connections_changed(&self, all: f64, with_user: f64);

    /// The gauge of members of a namespace's rooms, which go up and down with each that joins or leaves.
    fn members_gauge(&self, namespace: &str) -> Gauge;
}
