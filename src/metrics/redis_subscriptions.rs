//! The metrics of a pod's subscriptions in Redis.
//!
//! Owns the handles. Never asks the subscriber: it is shown how they are.

use std::time::Duration;

use metrics::{Counter, Gauge, counter, gauge};

use super::descriptions::{REDIS_DESCRIPTIONS, describe};

/// The subscriptions in Redis; only a pod with Redis has them. Cloning shares the handles.
#[derive(Debug, Clone)]
pub struct RedisMetrics {
    /// Channels whose subscription stands.
    pub confirmed: Gauge,
    /// Channels whose subscription is missing.
    pub unconfirmed: Gauge,
    /// Connections for subscriptions that ended, or could not be made.
    pub reconnects: Counter,
    /// Seconds since the last echo of a canary, the oldest over all masters.
    pub canary_age: Gauge,
    /// Times that slots had another owner.
    pub topology_changes: Counter,
    /// Messages that came over subscriptions.
    pub messages: Counter,
}

impl RedisMetrics {
    /// Handles that count nothing.
    #[must_use]
    pub fn none() -> Self {
        Self {
            confirmed: Gauge::noop(),
            unconfirmed: Gauge::noop(),
            reconnects: Counter::noop(),
            canary_age: Gauge::noop(),
            topology_changes: Counter::noop(),
            messages: Counter::noop(),
        }
    }

    /// Shows how the subscriptions are.
    pub fn show(&self, confirmed: usize, unconfirmed: usize, canary_age: Option<Duration>) {
        // Below 2^52, far from where a float would round.
        #[allow(clippy::cast_precision_loss)]
        {
            self.confirmed.set(confirmed as f64);
            self.unconfirmed.set(unconfirmed as f64);
        }
        self.canary_age.set(canary_age.unwrap_or_default().as_secs_f64());
    }
}

impl Default for RedisMetrics {
    /// Handles of the recorder that is current.
    fn default() -> Self {
        describe(REDIS_DESCRIPTIONS);
        let subscriptions = |state: &'static str| gauge!("roomcast_redis_subscriptions", "state" => state);
        Self {
            confirmed: subscriptions("confirmed"),
            unconfirmed: subscriptions("unconfirmed"),
            reconnects: counter!("roomcast_redis_reconnects_total"),
            canary_age: gauge!("roomcast_redis_canary_age_seconds"),
            topology_changes: counter!("roomcast_redis_topology_changes_total"),
            messages: counter!("roomcast_redis_messages_total"),
        }
    }
}
