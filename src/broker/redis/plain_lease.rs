//! The lease on plain messages, as Redis keeps it: it is asked for, renewed and given back, and marks are published beside it.
//!
//! Never decides who takes the lease ([`tenure`](super::tenure)). Always holds: pods that take in other channels have a lease of their own.

use std::{sync::Arc, time::Duration};

use fred::{interfaces::Resp3Frame, types::Value};
use roomcast_redis_subscriber::Address;
use tokio::time::timeout;

use super::{
    arguments::millis,
    partition::Partition,
    plain_ring::StreamMark,
    reply::{ReplyError, ReplyFields},
    script,
    state::RedisState,
};
use crate::{broker::BrokerError, config::ChannelPattern};

/// How long the lease lasts. Its holder renews it in time, and another pod takes it within a moment after it has run out.
pub(super) const LEASE: Duration = Duration::from_secs(1);

/// How long it is known how often the lease was taken: far longer than a pod stands still and goes on.
const COUNT: Duration = Duration::from_secs(3_600);

/// How long a pod that ends tries to give the lease back.
const LAST: Duration = Duration::from_millis(250);

/// The lease of the pods that take in the same channels.
pub(super) struct PlainLease {
    state: Arc<RedisState>,
    /// The keys that a claim names.
    keys: [String; 5],
    /// The channel of marks.
    pub(super) marks: String,
}

/// What the lease was found to be.
pub(super) struct LeaseView {
    pub(super) is_ours: bool,
    /// For how long it is some pod's; zero: it is free.
    pub(super) lasts: Duration,
    /// A pod of an older build has it.
    pub(super) is_older: bool,
    /// How often it had been taken, not counting this pod's last time if it is this pod's.
    pub(super) count: u64,
    /// Where another pod that has it listens.
    pub(super) at: Option<Address>,
}

impl PlainLease {
    pub(super) fn new(state: Arc<RedisState>, patterns: &[&str]) -> Self {
        let names = &state.names;
        let marks = names.marks(patterns);
        let (lease, count, at) = (names.legacy(patterns), names.legacy_count(patterns), names.legacy_at(patterns));
        let keys = [lease, names.old_legacy(), count, marks.clone(), at];
        Self { state, keys, marks }
    }

    /// Asks for the lease. `eager`: it is taken if it is free. `at`: where this pod listens.
    pub(super) async fn claim(&self, eager: bool, at: Option<&Address>) -> Result<LeaseView, BrokerError> {
        let at = at.map(Address::to_string).unwrap_or_default();
        let frame = self.call(LEASE, eager, String::new(), at).await?;
        let read = || {
            let mut fields = ReplyFields::of(frame)?;
            Ok::<_, ReplyError>(LeaseView {
                is_ours: fields.number()? == 1,
                lasts: Duration::from_millis(fields.number()?),
                is_older: fields.number()? == 1,
                count: fields.number()?,
                at: Address::parse(&fields.text()?, ""),
            })
        };
        read().map_err(|error| self.state.unexpected(&error))
    }

    /// Gives the lease back, and says so with a mark.
    pub(super) async fn give_back(&self, mark: String) {
        // It runs out otherwise.
        let _ = self.call(Duration::ZERO, false, mark, String::new()).await;
    }

    async fn call(&self, lasts: Duration, eager: bool, mark: String, at: String) -> Result<Resp3Frame, BrokerError> {
        let args = [
            Value::from(self.state.pod.name.as_str()),
            millis(lasts),
            Value::from(i64::from(eager)),
            millis(COUNT),
            Value::from(mark),
            Value::from(at),
        ];
        self.state.shards.call(Partition::FIRST, &script::CLAIM, self.keys.clone(), args).await
    }

    /// Publishes a mark among the plain messages.
    pub(super) async fn mark(&self, mark: String) -> Result<(), BrokerError> {
        let args = [Value::from(mark)];
        self.state.shards.call(Partition::FIRST, &script::MARK, [self.marks.clone()], args).await.map(drop)
    }

    /// Gives the lease back at the end and says so, so that another pod need not wait for it to run out.
    pub(super) async fn release(state: &Arc<RedisState>) {
        let heard: Vec<&str> = state.settings.heard().map(ChannelPattern::as_str).collect();
        if heard.is_empty() || !state.metrics.legacy.holds() {
            return;
        }
        state.metrics.legacy.show_lease(false);
        let name = format!("{}.end", state.pod.name);
        let mark = StreamMark { name: &name, settled: "", held: false }.text();
        let _ = timeout(LAST, Self::new(Arc::clone(state), &heard).give_back(mark)).await;
    }
}
