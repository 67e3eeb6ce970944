//! When a pod whose lease had run out looks at all of its users again.
//!
//! Pure: the time is the caller's. Always holds: they are looked at once at the lapse, and once more when all other pods know that it is
//! back: until then they may take its users for gone.

/// The lapses of this pod's lease that were seen.
#[derive(Debug, Default)]
pub(super) struct SeenLapses {
    seen: u64,
    again_at: Option<u64>,
}

impl SeenLapses {
    /// Whether all users are to be looked at now.
    pub(super) fn are_due(&mut self, lapses: u64, lease_ms: u64, now_ms: u64) -> bool {
        let lapsed = std::mem::replace(&mut self.seen, lapses) != lapses;
        if lapsed {
            self.again_at = Some(now_ms + lease_ms);
        }
        lapsed || self.again_at.take_if(|at| *at <= now_ms).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_looked_at_at_a_lapse_and_a_lease_later() {
        let mut lapses = SeenLapses::default();
        let mut due = |count, now| lapses.are_due(count, 10_000, now);
        assert_eq!([due(0, 0), due(1, 1_000), due(1, 2_000), due(1, 10_999)], [false, true, false, false]);
        assert_eq!([due(1, 11_000), due(1, 12_000)], [true, false]);
        assert_eq!([due(2, 20_000), due(3, 25_000), due(3, 30_000), due(3, 35_000)], [true, true, false, true]);
    }
}
