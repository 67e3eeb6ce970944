//! The servers of Redis as an operator sees them: one line a master, from what subscriptions, commands and outages know.
//!
//! Never asks a server. Always holds: it shows what [`Redis::condition`] judges by.

use super::Redis;
use crate::{
    broker::Condition,
    model::{MasterStatus, RedisStatus},
};

impl Redis {
    /// How the servers are.
    #[must_use]
    pub fn status(&self) -> RedisStatus {
        let state = match self.condition() {
            Condition::Starting => "starting",
            Condition::Well => "well",
            Condition::Degraded | Condition::Cut => "degraded",
        };
        let mut status = RedisStatus { state: state.to_owned(), ..RedisStatus::default() };
        let Some(health) = self.state.subscriber.get().map(|subscriber| subscriber.health()) else { return status };
        status.confirmed = health.confirmed;
        status.unconfirmed = health.unconfirmed;
        status.unowned_slots = health.unowned_slots;
        let commanded = self.state.shards.commanded();
        for node in health.nodes {
            let address = node.address.to_string();
            let (troubles, error) = self.state.shards.outages.of(&address);
            status.masters.push(MasterStatus {
                subscribed: node.connected,
                commanded: commanded.contains(&node.address),
                canary_ms: node.canary_age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
                troubles: troubles.into_iter().map(|trouble| trouble.word().to_owned()).collect(),
                error: error.or_else(|| node.error.map(|error| error.to_string())),
                address,
            });
        }
        status
    }
}
