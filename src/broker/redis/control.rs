//! Orders of backends, told to every pod of the fleet over one channel.
//!
//! Never stores anything: a pod that does not hear an order has lost its connection to Redis, and its clients come back
//! under what is true by then. Always holds: a pod does not carry out its own order twice; what is unreadable is counted
//! and left alone.

use std::sync::Arc;

use fred::types::Value;

use super::{Redis, Shared, partition::Partition, script};
use crate::{
    broker::{Answer, BrokerError, Control, Obey},
    model::Order,
};

/// An order on its way.
#[derive(serde::Serialize, serde::Deserialize)]
struct Told {
    /// The pod that it came to.
    from: String,
    order: Order,
}

impl Redis {
    /// Has orders of other pods carried out by `obey`.
    pub fn obeyed_by(&self, obey: Arc<dyn Obey>) {
        let _ = self.shared.obey.set(obey);
    }
}

impl Shared {
    /// Carries out what another pod was told.
    pub(super) fn ordered(&self, payload: &[u8]) {
        match serde_json::from_slice::<Told>(payload) {
            Ok(told) if told.from == self.pod.name => {}
            Ok(told) => {
                if let Some(obey) = self.obey.get() {
                    obey.obey(told.order);
                }
            }
            Err(error) => {
                self.metrics.unreadable.increment(1);
                tracing::warn!(%error, "an order of another pod is unreadable: is there another version of roomcast?");
            }
        }
    }

    async fn tell(&self, order: &Order) -> Result<bool, BrokerError> {
        let told = Told { from: self.pod.name.clone(), order: order.clone() };
        let message = serde_json::to_string(&told).map_err(|error| BrokerError::Unavailable(error.to_string()))?;
        let args = [self.publish_command(), Value::from(message)];
        self.shards.call(Partition::FIRST, &script::CONTROL, [self.names.control()], args).await?;
        Ok(true)
    }
}

impl Control for Redis {
    fn pod(&self) -> &str {
        &self.shared.pod.name
    }

    fn address<'a>(&'a self, pod: &'a str) -> Answer<'a, Option<String>> {
        Box::pin(self.shared.address_of(pod))
    }

    fn tell_others<'a>(&'a self, order: &'a Order) -> Answer<'a, bool> {
        Box::pin(self.shared.tell(order))
    }
}
