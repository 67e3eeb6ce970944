//! What the subscriber hears, handed to whom it is for. Never does more than that: it is called between two messages.

use std::sync::{Arc, Weak, atomic::Ordering};

use bytes::Bytes;

use super::{Shared, entry, partition::Names};
use crate::broker::wire::{Health, Layout, Sink};

/// What the subscriber tells. Does not keep the broker alive.
pub(super) struct Ear(Weak<Shared>);

impl Ear {
    pub(super) fn of(shared: &Arc<Shared>) -> Self {
        Self(Arc::downgrade(shared))
    }
}

impl Sink for Ear {
    fn message(&self, channel: &str, payload: Bytes) {
        let Some(shared) = self.0.upgrade() else { return };
        let Some(room) = Names::room_on(channel) else {
            if channel == shared.names.control() {
                shared.asked(&payload);
            } else if channel == shared.names.replies(&shared.pod.name) {
                shared.replied(&payload);
            }
            return;
        };
        match entry::message(&payload) {
            Ok(message) => shared.rooms.message(room, message),
            Err(error) => {
                // If it was an event, the next one shows the hole.
                shared.metrics.unreadable.increment(1);
                tracing::debug!(room, %error, "a message in Redis is unreadable");
            }
        }
    }

    fn confirmed(&self, channel: &str) {
        if let (Some(shared), Some(room)) = (self.0.upgrade(), Names::room_on(channel)) {
            shared.rooms.confirmed(room);
        }
    }

    fn trouble(&self, health: &Health) {
        if let Some(shared) = self.0.upgrade() {
            if let Some(sharded) = health.sharded {
                shared.plain.store(!sharded, Ordering::Relaxed);
            }
            shared.condition();
        }
    }

    fn layout(&self, layout: &Layout) {
        if let Some(shared) = self.0.upgrade() {
            shared.shards.adopt(layout);
        }
    }
}
