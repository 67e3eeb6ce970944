//! What the subscriber receives, handed on: events to their rooms, questions of other pods to `control`, news to the shards.
//!
//! Never waits and never talks to Redis: the subscriber calls it between two messages.

use std::sync::{Arc, Weak, atomic::Ordering};

use bytes::Bytes;
use roomcast_redis_subscriber::{Health, Layout, Observer, Sink};

use super::{entry, partition::Names, state::RedisState};
use crate::metrics::RedisMetrics;

/// Receives for the broker, without keeping it alive.
pub(super) struct SubscriptionSink(Weak<RedisState>);

impl SubscriptionSink {
    pub(super) fn of(state: &Arc<RedisState>) -> Self {
        Self(Arc::downgrade(state))
    }
}

impl Sink for SubscriptionSink {
    fn message(&self, channel: &str, payload: Bytes) {
        let Some(state) = self.0.upgrade() else { return };
        let Some(room) = Names::room_on(channel) else {
            if channel == state.names.control() {
                state.asked(&payload);
            } else if channel == state.names.replies(&state.pod.name) {
                state.replied(&payload);
            }
            return;
        };
        match entry::message(&payload) {
            Ok(message) => state.rooms.message(room, message),
            Err(error) => {
                // If it was an event, the next one shows the hole.
                state.metrics.unreadable.increment(1);
                tracing::debug!(room, %error, "a message in Redis is unreadable");
            }
        }
    }

    fn confirmed(&self, channel: &str) {
        if let (Some(state), Some(room)) = (self.0.upgrade(), Names::room_on(channel)) {
            state.rooms.confirmed(room);
        }
    }

    fn health_changed(&self, health: &Health) {
        if let Some(state) = self.0.upgrade() {
            if let Some(sharded) = health.sharded {
                state.shards.plain.store(!sharded, Ordering::Relaxed);
            }
            state.condition();
        }
    }

    fn layout_changed(&self, layout: &Layout) {
        if let Some(state) = self.0.upgrade() {
            state.shards.adopt(layout);
        }
    }
}

impl Observer for RedisMetrics {
    fn messages_received(&self, count: u64) {
        self.messages.increment(count);
    }

    fn disconnected(&self) {
        self.reconnects.increment(1);
    }

    fn layout_changed(&self) {
        self.topology_changes.increment(1);
    }

    fn measured(&self, health: &Health) {
        self.show(health.confirmed, health.unconfirmed, health.canary_age());
    }
}
