//! How much of a worker's time signals may take.
//!
//! Pure: the time is the caller's, in milliseconds since the worker began. Always holds: however many rooms a connection is in, and
//! however many members these have, events go before what nobody needs later.

use crate::session::{Bucket, Verdict};

/// The receivers of a worker that may still be told of signals.
#[derive(Debug)]
pub struct SignalShare(Bucket);

impl SignalShare {
    /// The most receivers a second, and at once: a tenth to a fifth of a core.
    const RECEIVERS: u32 = 100_000;

    /// All of it.
    #[must_use]
    pub fn new() -> Self {
        Self(Bucket::new(Self::RECEIVERS, 0))
    }

    /// Whether so many receivers may be told of one more.
    #[must_use]
    pub fn take(&mut self, receivers: usize, now_ms: u64) -> bool {
        let cost = u32::try_from(receivers).unwrap_or(u32::MAX);
        self.0.take_for(cost, Self::RECEIVERS, Self::RECEIVERS, now_ms) == Verdict::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_rooms_use_it_up_and_it_comes_back() {
        let mut share = SignalShare::new();
        let told = (0..1_000).filter(|_| share.take(2_000, 0)).count();
        assert_eq!(told, 50);
        assert!(!share.take(2_000, 19) && share.take(2_000, 40));
        let small = (0..60_000_u64).filter(|n| share.take(5, 1_000 + n / 2)).count();
        assert_eq!(small, 60_000, "2,000 a second to 5 each");
        assert!(share.take(1_000_000, 100_000), "a larger room than that takes all of it");
        assert!(!share.take(5, 100_000));
    }
}
