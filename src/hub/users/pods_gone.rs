//! Pods that are gone, and when their users count as gone.
//!
//! Pure: no I/O; the time is the caller's. Always holds: the users of a pod have the time of the debounce to come back, from the
//! end of its lease on.

use std::{collections::HashMap, sync::Arc};

use crate::{broker::GonePod, model::UnixMillis};

/// A pod that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LostPod {
    pub(super) pod: Arc<str>,
    /// When its users were seen last, as far as that is known.
    pub(super) seen: UnixMillis,
}

/// The pods that are gone and whose users were not all looked at.
#[derive(Debug, Default)]
pub(super) struct PodsGone(HashMap<Arc<str>, (u64, UnixMillis)>);

impl PodsGone {
    /// Takes in which pods are gone now.
    pub(super) fn note(&mut self, gone: &[GonePod], now_ms: u64, unix_now: UnixMillis, offline_after_ms: u64) {
        self.0.retain(|pod, _| gone.iter().any(|one| *one.pod == **pod));
        for GonePod { pod, for_ms, looked_ms } in gone {
            let due = (now_ms + offline_after_ms).saturating_sub(for_ms.unwrap_or(0));
            // Of one that is not among the leases any more, as after a night without pods, it is known when it was there last.
            let seen = unix_now.saturating_sub(for_ms.unwrap_or(*looked_ms));
            self.0.entry(Arc::from(pod.as_str())).or_insert((due, seen));
        }
    }

    /// When that is so for the next of them.
    pub(super) fn next_due(&self, now_ms: u64) -> Option<u64> {
        self.0.values().map(|(due, _)| *due).filter(|due| *due > now_ms).min()
    }

    /// Those whose users did not come back in time.
    pub(super) fn due(&self, now_ms: u64) -> Vec<LostPod> {
        let due = self.0.iter().filter(|(_, (due, _))| *due <= now_ms);
        due.map(|(pod, (_, seen))| LostPod { pod: Arc::clone(pod), seen: *seen }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(pod: &str, for_ms: Option<u64>) -> GonePod {
        GonePod { pod: pod.to_owned(), for_ms, looked_ms: 700 }
    }

    #[test]
    fn the_debounce_begins_where_the_lease_ended() {
        let mut pods = PodsGone::default();
        pods.note(&[gone("a", Some(2_000)), gone("b", None)], 50_000, 1_000_000, 10_000);
        assert_eq!(pods.due(57_999), []);
        assert_eq!([pods.next_due(50_000), pods.next_due(58_000)], [Some(58_000), Some(60_000)]);
        assert_eq!(pods.due(58_000), [LostPod { pod: "a".into(), seen: 998_000 }]);
        // It is asked about every second: that does not move the time.
        pods.note(&[gone("a", Some(3_000)), gone("b", None)], 51_000, 1_001_000, 10_000);
        assert_eq!(pods.due(58_000).len(), 1);
        assert_eq!(pods.due(60_000).len(), 2);
        pods.note(&[gone("b", None)], 60_001, 1_010_001, 10_000);
        assert_eq!(
            pods.due(70_000),
            [LostPod { pod: "b".into(), seen: 999_300 }],
            "a lives, or all its users were looked at"
        );
    }

    #[test]
    fn a_lease_that_ended_long_ago_leaves_no_time() {
        let mut pods = PodsGone::default();
        pods.note(&[gone("a", Some(3_000_000))], 5, 4_000_000, 10_000);
        assert_eq!(pods.due(5), [LostPod { pod: "a".into(), seen: 1_000_000 }]);
    }
}
