//! The subscriber as others see it: channels come and go from any thread, the work is one future.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

use crate::metrics::RedisMetrics;

use super::{Endpoints, Health, Kind, Sink, connect::Access, layout::Address, plan::Plan, watch::Watch};

/// Subscriptions in Redis that cannot go deaf. See the module.
pub struct Subscriber {
    shared: Arc<Shared>,
}

/// What the parts have in common.
pub(super) struct Shared {
    plan: Mutex<Plan>,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) metrics: RedisMetrics,
    pub(super) kind: Kind,
    pub(super) seeds: Vec<Address>,
    pub(super) seed_access: Access,
    pub(super) servers: Access,
    /// With what the canaries' channels begin; nobody else has these.
    canaries: String,
    /// Somebody should look at the layout.
    pub(super) refresh: Arc<Notify>,
    /// Something happened that may have changed the health.
    pub(super) changed: Notify,
}

impl Subscriber {
    /// A subscriber that does nothing until it is [`run`](Self::run).
    #[must_use]
    pub fn new(endpoints: Endpoints, sink: Arc<dyn Sink>, metrics: RedisMetrics) -> Self {
        let mut chance = [0; 8];
        // Two pods with the same canary hear each other's too, which only makes them harder to find deaf.
        let _ = getrandom::fill(&mut chance);
        let canaries = format!("{}canary:{:016x}:", endpoints.prefix, u64::from_le_bytes(chance));
        let shared = Shared {
            plan: Mutex::new(Plan::new(canaries.clone())),
            sink,
            metrics,
            seeds: endpoints.nodes.iter().map(|(host, port)| Address::new(host, *port)).collect(),
            seed_access: Access::seeds(&endpoints),
            servers: Access::servers(&endpoints),
            kind: endpoints.kind,
            canaries,
            refresh: Arc::new(Notify::new()),
            changed: Notify::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Keeps the subscriptions, on the runtime it is awaited on; never ends. Dropping it ends every connection.
    pub async fn run(self: Arc<Self>) {
        let watch = Watch::new(Arc::clone(&self.shared));
        tokio::join!(watch.run(), self.shared.herald());
    }

    /// Wants a channel, which is not one of the canaries': [`Sink::confirmed`] says when it stands. Repeating it is harmless.
    pub fn subscribe(&self, channel: &str) {
        self.shared.plan().subscribe(channel);
    }

    /// Wants a channel no more.
    pub fn unsubscribe(&self, channel: &str) {
        self.shared.plan().unsubscribe(channel);
    }

    /// Looks at the layout now: somebody was told that a slot's owner is another one.
    pub fn refresh(&self) {
        self.shared.refresh.notify_one();
    }

    /// How it is now.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.plan().health(Instant::now())
    }
}

impl Shared {
    pub(super) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_canary(&self, channel: &str) -> bool {
        channel.starts_with(&self.canaries)
    }

    /// Tells of changes, one after the other, and shows them as metrics.
    async fn herald(&self) {
        let mut told: Option<Health> = None;
        loop {
            self.changed.notified().await;
            let health = self.plan().health(Instant::now());
            self.metrics.show(health.confirmed, health.unconfirmed, health.canary_age());
            if told.as_ref().is_none_or(|told| !health.is_like(told)) {
                self.sink.trouble(&health);
                told = Some(health);
            }
        }
    }
}
