//! How often a peer may change its key.
//!
//! A KeyUpdate is 27 bytes for the peer, and here it is two key derivations and a new key: some microseconds. A stream of
//! them would keep a processor busy for little. RFC 8446 section 4.6.3 sets no limit and expects one update in many millions
//! of records (section 5.5).
//!
//! The rule is a bucket that time fills: [`KeyUpdateLimit::AT_ONCE`] updates at once, and one more every
//! [`KeyUpdateLimit::EACH`]. OpenSSL (32) and Go (16) count updates in a row without data between; a peer evades that with
//! one byte of data, at the same cost to the receiver. Time cannot be evaded.

use std::time::{Duration, Instant};

/// A bucket of KeyUpdates that time fills. The same rule for each connection, so it keeps one instant.
#[derive(Debug, Clone, Default)]
pub struct KeyUpdateLimit {
    /// When the bucket is full again; `None`: it is full.
    full_at: Option<Instant>,
}

impl KeyUpdateLimit {
    /// So many may come at once.
    pub const AT_ONCE: u32 = 8;
    /// The time in which one more may come.
    pub const EACH: Duration = Duration::from_millis(500);

    /// Takes one update that comes at `now`; `false`: it is one too many. A clock that goes back fills nothing.
    pub fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + Self::EACH;
        let fits = full_at.duration_since(now) <= Self::EACH * Self::AT_ONCE;
        if fits {
            self.full_at = Some(full_at);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_at_once_and_then_one_at_a_time() {
        let start = Instant::now();
        let mut limit = KeyUpdateLimit::default();
        for _ in 0..KeyUpdateLimit::AT_ONCE {
            assert!(limit.take(start));
        }
        assert!(!limit.take(start), "the bucket is empty");
        let just_before = start + KeyUpdateLimit::EACH - Duration::from_millis(1);
        assert!(!limit.take(just_before));
        for step in 1..100 {
            let now = start + KeyUpdateLimit::EACH * step;
            assert!(limit.take(now), "step {step}");
            assert!(!limit.take(now), "step {step}: one only");
        }
    }

    #[test]
    fn a_pause_fills_the_bucket_and_no_more() {
        let start = Instant::now();
        let mut limit = KeyUpdateLimit::default();
        for hour in 0..3 {
            let now = start + Duration::from_secs(3600 * hour);
            let taken = (0..100).filter(|_| limit.take(now)).count();
            assert_eq!(taken, KeyUpdateLimit::AT_ONCE as usize);
        }
    }

    #[test]
    fn a_clock_that_goes_back_fills_nothing() {
        let start = Instant::now() + Duration::from_secs(60);
        let mut limit = KeyUpdateLimit::default();
        for _ in 0..KeyUpdateLimit::AT_ONCE {
            assert!(limit.take(start));
        }
        assert!(!limit.take(start - Duration::from_secs(30)));
    }
}
