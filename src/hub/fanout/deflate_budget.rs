//! How much a worker compresses for clients that come back. Beyond it they get the same events uncompressed.
//!
//! Pure: it is told the time. Always holds: in any second no more is compressed than a burst and a second's worth.

/// Bytes a second: about a tenth of what a worker could compress.
const PER_SECOND: u64 = 16 * 1024 * 1024;

/// The budget of one worker.
#[derive(Debug)]
pub struct DeflateBudget {
    left: u64,
    filled_ms: u64,
}

impl DeflateBudget {
    /// A full budget.
    #[must_use]
    pub fn new() -> Self {
        Self { left: PER_SECOND, filled_ms: 0 }
    }

    /// Whether so many bytes may be compressed now.
    pub fn take(&mut self, bytes: usize, now_ms: u64) -> bool {
        let gained = now_ms.saturating_sub(self.filled_ms).saturating_mul(PER_SECOND) / 1_000;
        self.left = self.left.saturating_add(gained).min(PER_SECOND);
        self.filled_ms = now_ms;
        let left = self.left.checked_sub(bytes as u64);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let (mut budget, mib) = (DeflateBudget::new(), 1024 * 1024);
        assert_eq!((0..20).filter(|_| budget.take(mib, 1_000)).count(), 16);
        assert!(!budget.take(mib, 1_031) && !budget.take(mib, 1_062), "a sixteenth of a second brings one");
        assert!(budget.take(mib, 1_126));
        assert_eq!((0..40).filter(|_| budget.take(mib, 60_000)).count(), 16, "it holds no more than a second's worth");
        assert!(budget.take(0, 60_000));
    }
}
