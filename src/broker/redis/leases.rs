//! What this pod knows of the pods' leases.
//!
//! No I/O, no clock. Always holds: in doubt a lease runs.

use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};

use super::departures::Departures;

/// What is known of the leases.
#[derive(Debug, Default)]
pub(super) struct Leases {
    inner: Mutex<Renewals>,
    /// Whether this pod ever had its lease. Before, it writes no members: other pods would take them for a dead pod's.
    pub(super) held: watch::Sender<bool>,
    /// A renewal, and with it a new list, is wanted before its time.
    pub(super) wanted: Notify,
    /// This pod said that it goes.
    leaving: AtomicBool,
}

/// The pods, as Redis lists them.
#[derive(Debug, Default)]
pub(super) struct PodList {
    /// Their leases run.
    pub(super) live: HashSet<String>,
    /// They said that they go, or have gone.
    pub(super) going: HashSet<String>,
}

#[derive(Debug, Default)]
struct Renewals {
    /// The pods whose lease ran at the last renewal.
    live: HashSet<String>,
    last: Option<Instant>,
    /// The first of the renewals that were all in time.
    unbroken: Option<Instant>,
    departures: Departures,
    /// How often this pod's lease had run out at a renewal.
    lapses: u64,
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, Renewals> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this pod ever had its lease.
    pub(super) fn held(&self) -> bool {
        *self.held.borrow()
    }

    /// How often this pod's lease had run out at a renewal.
    pub(super) fn lapses(&self) -> u64 {
        self.lock().lapses
    }

    /// This pod goes: the others may know.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.wanted.notify_one();
    }

    /// Whether this pod said that it goes.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Takes in an answer to what was asked at `asked`. `ran`: our own lease had not run out.
    pub(super) fn renewed(&self, ran: bool, list: PodList, lease: Duration, asked: Instant, now: Instant) {
        let mut inner = self.lock();
        let in_time = ran && inner.last.is_some_and(|last| now.duration_since(last) < lease);
        if !in_time {
            inner.unbroken = Some(now);
        }
        inner.lapses += u64::from(!ran && inner.last.is_some());
        inner.last = Some(now);
        inner.departures.listed(list.live.iter(), list.going.iter(), asked);
        inner.live = list.live;
        self.held.send_replace(true);
    }

    /// Whether a pod's lease runs. In doubt it does: an outage of Redis, in which no pod could renew, must not empty the rooms.
    /// After it every other pod has one whole lease of this pod to renew its own.
    pub(super) fn is_live(&self, pod: &str, lease: Duration, now: Instant) -> bool {
        let inner = self.lock();
        !inner.is_trusted(lease, now) || inner.live.contains(pod)
    }

    /// Whether a pod's lease ran at the last renewal.
    pub(super) fn knows(&self, pod: &str) -> bool {
        self.lock().live.contains(pod)
    }

    /// Whether a pod has gone or said so, by what connection IDs carry of its number. In doubt it has not, and a newer list is asked for.
    pub(super) fn has_left(&self, pod: u64, lease: Duration, now: Instant) -> bool {
        let mut inner = self.lock();
        let trusted = inner.is_trusted(lease, now);
        let departure = inner.departures.of(pod, trusted, now);
        if departure.wants_list {
            self.wanted.notify_one();
        }
        departure.has_left
    }
}

impl Renewals {
    /// Whether leases that have run out are believed: this pod could renew its own for a whole one.
    fn is_trusted(&self, lease: Duration, now: Instant) -> bool {
        let current = self.last.is_some_and(|last| now.duration_since(last) < lease);
        current && self.unbroken.is_some_and(|since| now.duration_since(since) >= lease)
    }
}
