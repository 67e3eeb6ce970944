//! What the parts of the Redis broker share: the rooms, members, masters and settings of one pod.
//!
//! Knows the parts' types and none of their work. Always holds: the condition is judged from connections and leases, never
//! remembered.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use fred::types::Value;
use roomcast_redis_subscriber::{NodeError, NodeHealth, State, Subscriber};
use tokio::{runtime::Handle, sync::Semaphore};

use super::{
    arguments::millis,
    leases::Leases,
    local_presence::LocalPresence,
    outages::{OutageNews, SeenTrouble},
    own_places::OwnPlaces,
    partition::{KeyKind, Names},
    questions::FleetQuestions,
    refusal::Trouble,
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

/// How long an attempt is known by a key of ours: far longer than all its repetitions take.
pub(super) const ATTEMPT_AGE: Duration = Duration::from_secs(30);

/// How long a record without events is known after the last time it was asked for: pods of the build before write one for each room
/// that has members, and a publish that Redis refused in part leaves one.
const EMPTY_TTL: Duration = Duration::from_secs(90);

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
    pub(super) places: OwnPlaces,
    pub(super) leases: Leases,
    pub(super) metrics: Arc<RedisCommands>,
    pub(super) subscriber: OnceLock<Arc<Subscriber>>,
    /// Answers other pods.
    pub(super) respond: OnceLock<Arc<dyn Respond>>,
    /// Room for answers that are being made.
    pub(super) answering: Arc<Semaphore>,
    pub(super) questions: FleetQuestions,
    pub(super) runtime: Handle,
    /// Numbers what may be tried more than once.
    pub(super) attempts: AtomicU64,
    /// Whether there ever was a server that could be used.
    pub(super) was_reached: AtomicBool,
    /// Whether this pod keeps what other publishers send, so that it can go on when other pods die, or has nothing to keep.
    pub(super) follows_plain: AtomicBool,
}

impl RedisState {
    /// The broker's condition now. Also shows it as a metric.
    pub(super) fn condition(&self) -> Condition {
        let subscriptions = self.subscriber.get().map(|subscriber| subscriber.health());
        let (any, all) = self.shards.connected();
        let hears = subscriptions.as_ref().is_some_and(|health| health.nodes.iter().any(|node| node.connected));
        // Without its lease the other pods do not count on it.
        if any && hears && self.leases.held() && self.follows_plain.load(Ordering::Relaxed) {
            self.was_reached.store(true, Ordering::Relaxed);
        }
        let condition = if !self.was_reached.load(Ordering::Relaxed) {
            Condition::Starting
        } else if all
            && !self.shards.outages.has_refusals()
            && subscriptions.is_some_and(|health| health.state == State::Up)
        {
            Condition::Well
        } else {
            Condition::Degraded
        };
        self.metrics.degraded.set(if condition == Condition::Well { 0.0 } else { 1.0 });
        condition
    }

    /// Says in the log what began to be wrong with a server and what is over, and shows the reasons as metrics.
    pub(super) fn report_outages(&self) {
        let Some(subscriber) = self.subscriber.get() else { return };
        let mut seen: Vec<SeenTrouble> = subscriber.health().nodes.iter().filter_map(trouble_of).collect();
        // The reason for that stands where subscriptions have it too.
        let known: Vec<String> = seen.iter().map(|seen| seen.server.clone()).collect();
        seen.extend(self.shards.away().into_iter().filter(|away| !known.contains(&away.server)));
        let (now_wrong, news) = self.shards.outages.look(seen, Instant::now());
        self.metrics.show_troubles(|word| now_wrong.iter().any(|trouble| trouble.word() == word));
        for news in news {
            match news {
                OutageNews::Begun(SeenTrouble { server, trouble, error }) => {
                    tracing::warn!(%server, reason = trouble.word(), %error, "{}", trouble.sentence());
                }
                OutageNews::Over { server, lasted } => {
                    tracing::info!(%server, seconds = lasted.as_secs_f64(), "Redis is well again");
                }
            }
        }
    }

    pub(super) fn policy(&self, room: &Room) -> Arc<Policy> {
        self.policies.load().of(room)
    }

    pub(super) fn empty_ttl(&self) -> Value {
        millis(EMPTY_TTL.min(self.settings.room_ttl))
    }

    pub(super) fn room_ttl(&self) -> Value {
        millis(self.settings.room_ttl)
    }

    pub(super) fn publish_command(&self) -> Value {
        Value::from_static_str(self.shards.publish_command())
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

/// What is wrong with a server's subscriptions.
fn trouble_of(node: &NodeHealth) -> Option<SeenTrouble> {
    let trouble = match &node.error {
        Some(NodeError::Login(_)) => Trouble::Login,
        Some(NodeError::Subscribe(_) | NodeError::Canary(_)) => Trouble::Rights,
        Some(NodeError::Demoted) => Trouble::ReadOnly,
        Some(NodeError::Refused(error)) if !node.connected => Trouble::of(error).unwrap_or(Trouble::Away),
        _ if !node.connected => Trouble::Away,
        _ if !node.is_well() => Trouble::Deaf,
        _ => return None,
    };
    let error = node.error.as_ref().map_or_else(|| "no answer yet".to_owned(), ToString::to_string);
    Some(SeenTrouble { server: node.address.to_string(), trouble, error })
}
