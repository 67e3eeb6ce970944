//! What a program implements to receive, and to measure.

use bytes::Bytes;

use crate::{health::Health, layout::Layout};

/// Receives messages and news. The subscriber's tasks call it, one call after another for each node, without holding a lock.
/// No method may block. A message that is under way when its channel is unsubscribed may still come.
pub trait Sink: Send + Sync {
    /// A published message. It may come twice while its channel moves from one node to another.
    fn message(&self, channel: &str, payload: Bytes);
    /// The subscription stands, for the first time or again. Messages that were published before may have been missed.
    fn confirmed(&self, channel: &str);
    /// The health of a node, or of all, has changed in more than its numbers.
    fn health_changed(&self, health: &Health);
    /// Slots have another owner, or their owners are known for the first time.
    fn layout_changed(&self, layout: &Layout) {
        let _ = layout;
    }
}

/// Measures. Each method does nothing unless it is implemented; none may block.
pub trait Observer: Send + Sync {
    /// So many messages came. Canaries do not count.
    fn messages_received(&self, count: u64) {
        let _ = count;
    }
    /// A connection to a node ended, or could not be made.
    fn disconnected(&self) {}
    /// Slots have another owner.
    fn layout_changed(&self) {}
    /// How the subscriptions are now. Called after each event and at least ten times a second.
    fn measured(&self, health: &Health) {
        let _ = health;
    }
}

impl Observer for () {}
