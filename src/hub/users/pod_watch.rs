//! What a pod knows of the other pods, and of its own lease.
//!
//! Pure. Always holds: one look at the leases at a time changes it.

use super::{pods_gone::PodsGone, seen_lapses::SeenLapses};
use crate::{broker::LeaseLapses, hub::worker::clock::millis};

/// What is known of the other pods, and of this one's own lease.
#[derive(Debug, Default)]
pub(super) struct PodWatch {
    pub(super) gone: PodsGone,
    lapses: SeenLapses,
    /// When it was looked last.
    pub(super) looked_ms: u64,
}

impl PodWatch {
    /// Whether all users of this pod are to be looked at.
    pub(super) fn are_users_due(&mut self, lapses: LeaseLapses, now_ms: u64) -> bool {
        self.lapses.are_due(lapses.count, millis(lapses.lease), now_ms)
    }
}
