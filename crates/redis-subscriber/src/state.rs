//! What the subscriber's tasks share: the plan behind its lock, the sink, the credentials and two signals.
//!
//! Knows none of the tasks. Always holds: the lock is held for moments and never across a call to the sink.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::{
    connect::Access,
    endpoints::{Endpoints, Topology},
    layout::Address,
    plan::Plan,
    sink::{Observer, Sink},
};

/// What the tasks share.
pub(super) struct SubscriberState {
    plan: Mutex<Plan>,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) observer: Box<dyn Observer>,
    pub(super) topology: Topology,
    /// The configured nodes.
    pub(super) seeds: Vec<Address>,
    /// The credentials for the configured nodes, which may be sentinels.
    pub(super) seed_access: Access,
    /// The credentials for the servers themselves.
    pub(super) server_access: Access,
    /// The canaries' channels begin with this; no other channel does.
    canary_prefix: String,
    /// The layout should be asked for.
    pub(super) refresh: Arc<Notify>,
    /// The health may have changed.
    pub(super) changed: Notify,
}

impl SubscriberState {
    pub(super) fn new(endpoints: Endpoints, sink: Arc<dyn Sink>, observer: Box<dyn Observer>) -> Self {
        let mut chance = [0; 8];
        // Two subscribers with the same canary hear each other's too, which only makes a deaf one harder to find.
        let _ = getrandom::fill(&mut chance);
        let canary_prefix = format!("{}canary:{:016x}:", endpoints.prefix, u64::from_le_bytes(chance));
        Self {
            plan: Mutex::new(Plan::new(canary_prefix.clone())),
            sink,
            observer,
            seeds: endpoints.nodes.iter().map(|(host, port)| Address::new(host, *port)).collect(),
            seed_access: Access::seeds(&endpoints),
            server_access: Access::servers(&endpoints),
            topology: endpoints.topology,
            canary_prefix,
            refresh: Arc::new(Notify::new()),
            changed: Notify::new(),
        }
    }

    pub(super) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(super) fn is_canary(&self, channel: &str) -> bool {
        channel.starts_with(&self.canary_prefix)
    }
}
