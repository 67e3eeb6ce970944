//! What this pod knows of the pods' leases.
//!
//! No I/O, no clock. Always holds: in doubt a lease runs.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// What is known of the leases.
#[derive(Debug, Default)]
pub(super) struct Leases {
    inner: Mutex<Renewals>,
    /// Whether this pod ever had its lease. Before, it writes no members: other pods would take them for a dead pod's.
    pub(super) held: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Renewals {
    /// The pods whose lease ran at the last renewal.
    live: HashSet<String>,
    last: Option<Instant>,
    /// The first of the renewals that were all in time.
    unbroken: Option<Instant>,
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, Renewals> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this pod ever had its lease.
    pub(super) fn held(&self) -> bool {
        *self.held.borrow()
    }

    /// Takes in an answer. `ran`: our own lease had not run out.
    pub(super) fn renewed(&self, ran: bool, live: HashSet<String>, lease: Duration, now: Instant) {
        let mut inner = self.lock();
        let in_time = ran && inner.last.is_some_and(|last| now.duration_since(last) < lease);
        if !in_time {
            inner.unbroken = Some(now);
        }
        inner.last = Some(now);
        inner.live = live;
        self.held.send_replace(true);
    }

    /// Whether a pod's lease runs. In doubt it does: an outage of Redis, in which no pod could renew, must not empty the rooms.
    /// After it every other pod has one whole lease of this pod to renew its own.
    pub(super) fn is_live(&self, pod: &str, lease: Duration, now: Instant) -> bool {
        let inner = self.lock();
        let current = inner.last.is_some_and(|last| now.duration_since(last) < lease);
        let trusted = current && inner.unbroken.is_some_and(|since| now.duration_since(since) >= lease);
        !trusted || inner.live.contains(pod)
    }
}
