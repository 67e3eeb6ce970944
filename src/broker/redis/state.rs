//! What the parts of the Redis broker share: the rooms, members, masters and settings of one pod.
//!
//! Knows the parts' types and none of their work. Always holds: the condition is judged from connections and leases, never
//! remembered.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use fred::types::Value;
use roomcast_redis_subscriber::{State, Subscriber};
use tokio::{runtime::Handle, sync::Semaphore};

use super::{
    arguments::millis,
    leases::Leases,
    local_presence::LocalPresence,
    partition::{KeyKind, Names},
    questions::FleetQuestions,
    rooms::SubscribedRooms,
    settings::Settings,
    shards::Shards,
};
use crate::{
    broker::{BrokerError, Condition, Respond},
    config::Policies,
    metrics::RedisCommands,
    model::{Policy, Room},
};

/// How long a publish without a key is known by ours: far longer than all its attempts take.
pub(super) const ATTEMPT_AGE: Duration = Duration::from_secs(30);

/// How long a room without events is known after the last time it was asked for.
pub(super) const EMPTY_TTL: Duration = Duration::from_secs(3600);

/// What a stored event costs beside its bytes; the scripts count the same.
pub(super) const EVENT_COST: usize = 64;

/// The largest event: subscribers refuse messages of more than 8 MiB.
pub(super) const MAX_EVENT: usize = (8 << 20) - 1024;

/// This pod.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) number: u64,
    pub(super) name: String,
}

/// What the parts of the broker share.
pub(super) struct RedisState {
    pub(super) settings: Settings,
    pub(super) policies: Arc<ArcSwap<Policies>>,
    pub(super) names: Names,
    pub(super) pod: Pod,
    pub(super) shards: Arc<Shards>,
    pub(super) rooms: SubscribedRooms,
    pub(super) members: LocalPresence,
    pub(super) leases: Leases,
    pub(super) metrics: Arc<RedisCommands>,
    pub(super) subscriber: OnceLock<Arc<Subscriber>>,
    /// Answers other pods.
    pub(super) respond: OnceLock<Arc<dyn Respond>>,
    /// Room for answers that are being made.
    pub(super) answering: Arc<Semaphore>,
    pub(super) questions: FleetQuestions,
    pub(super) runtime: Handle,
    /// Numbers our publishes without a key.
    pub(super) attempts: AtomicU64,
    /// Whether the server has no sharded pub/sub.
    pub(super) plain: AtomicBool,
    /// Whether there ever was a server that could be used.
    pub(super) was_reached: AtomicBool,
}

impl RedisState {
    /// The broker's condition now. Also shows it as a metric.
    pub(super) fn condition(&self) -> Condition {
        let subscriptions = self.subscriber.get().map(|subscriber| subscriber.health());
        let (any, all) = self.shards.connected();
        let hears = subscriptions.as_ref().is_some_and(|health| health.nodes.iter().any(|node| node.connected));
        // Without its lease the other pods do not count on it.
        if any && hears && self.leases.held() {
            self.was_reached.store(true, Ordering::Relaxed);
        }
        let condition = if !self.was_reached.load(Ordering::Relaxed) {
            Condition::Starting
        } else if all && subscriptions.is_some_and(|health| health.state == State::Up) {
            Condition::Well
        } else {
            Condition::Degraded
        };
        self.metrics.degraded.set(if condition == Condition::Well { 0.0 } else { 1.0 });
        condition
    }

    pub(super) fn policy(&self, room: &Room) -> Arc<Policy> {
        self.policies.load().of(room)
    }

    /// 12 random hexadecimal digits, should a room's record have to be made.
    pub(super) fn base(&self) -> Result<String, BrokerError> {
        let chance = getrandom::u64().map_err(|error| BrokerError::Unavailable(format!("no randomness: {error}")))?;
        Ok(format!("{:012x}", chance >> 16))
    }

    pub(super) fn empty_ttl(&self) -> Value {
        millis(EMPTY_TTL.min(self.settings.room_ttl))
    }

    pub(super) fn room_ttl(&self) -> Value {
        millis(self.settings.room_ttl)
    }

    pub(super) fn publish_command(&self) -> Value {
        Value::from(if self.plain.load(Ordering::Relaxed) { "PUBLISH" } else { "SPUBLISH" })
    }

    /// The error for an answer that no script of ours gives: another program writes under the fleet's keys.
    pub(super) fn unexpected(&self, error: &dyn std::error::Error) -> BrokerError {
        self.metrics.unreadable.increment(1);
        BrokerError::Unavailable(format!("Redis holds something else under this fleet's prefix: {error}"))
    }

    pub(super) fn leave_channel(&self, room: &Room) {
        if let Some(subscriber) = self.subscriber.get() {
            subscriber.unsubscribe(&self.names.of(room, KeyKind::Channel));
        }
    }
}
