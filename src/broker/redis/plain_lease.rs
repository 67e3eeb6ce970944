//! The lease on plain messages, as Redis keeps it: it is asked for, renewed and given back, and marks are published beside it.
//!
//! Never decides who takes the lease ([`tenure`](super::tenure)). Always holds: pods that take in other channels have a lease of their own.

use std::time::Duration;

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

/// The keys that a claim names.
pub(super) type LeaseKeys = [String; 5];

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

impl RedisState {
    pub(super) fn lease_keys(&self, patterns: &[&str]) -> LeaseKeys {
        let names = &self.names;
        [
            names.legacy(patterns),
            names.old_legacy(),
            names.legacy_count(patterns),
            names.marks(patterns),
            names.legacy_at(patterns),
        ]
    }

    /// Asks for the lease. `eager`: it is taken if it is free. `at`: where this pod listens.
    pub(super) async fn claim_legacy(
        &self,
        keys: &LeaseKeys,
        eager: bool,
        at: Option<&Address>,
    ) -> Result<LeaseView, BrokerError> {
        let at = at.map(Address::to_string).unwrap_or_default();
        let frame = self.call_claim(keys, LEASE, eager, String::new(), at).await?;
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
        read().map_err(|error| self.unexpected(&error))
    }

    /// Gives the lease back, and says so with a mark.
    pub(super) async fn give_back_legacy(&self, keys: &LeaseKeys, mark: String) {
        // It runs out otherwise.
        let _ = self.call_claim(keys, Duration::ZERO, false, mark, String::new()).await;
    }

    async fn call_claim(
        &self,
        keys: &LeaseKeys,
        lasts: Duration,
        eager: bool,
        mark: String,
        at: String,
    ) -> Result<Resp3Frame, BrokerError> {
        let args = [
            Value::from(self.pod.name.as_str()),
            millis(lasts),
            Value::from(i64::from(eager)),
            millis(COUNT),
            Value::from(mark),
            Value::from(at),
        ];
        self.shards.call(Partition::FIRST, &script::CLAIM, keys.clone(), args).await
    }

    /// Publishes a mark among the plain messages.
    pub(super) async fn mark_legacy(&self, channel: &str, mark: String) -> Result<(), BrokerError> {
        self.shards.call(Partition::FIRST, &script::MARK, [channel.to_owned()], [Value::from(mark)]).await.map(drop)
    }

    /// Gives the lease back at the end and says so, so that another pod need not wait for it to run out.
    pub(super) async fn release_legacy(&self) {
        let heard: Vec<&str> = self.settings.heard().map(ChannelPattern::as_str).collect();
        if heard.is_empty() || !self.metrics.legacy.holds() {
            return;
        }
        self.metrics.legacy.show_lease(false);
        let name = format!("{}.end", self.pod.name);
        let mark = StreamMark { name: &name, settled: "", held: false }.text();
        let keys = self.lease_keys(&heard);
        let _ = timeout(LAST, self.give_back_legacy(&keys, mark)).await;
    }
}
