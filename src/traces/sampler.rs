//! Which publishes begin a trace, where their callers say nothing: a share of them, at random.
//!
//! Never waits, and asks the system for nothing. Always holds: at 0 % it takes none, at 100 % all.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::Share;

/// Takes a share of what it is asked about.
#[derive(Debug)]
pub(super) struct Sampler {
    /// What is below is taken; `None`: everything.
    below: Option<u64>,
    /// The state of a SplitMix64, which is as good as chance for this.
    state: AtomicU64,
}

impl Sampler {
    /// A sampler whose choices begin with `seed`.
    pub(super) fn new(share: Share, seed: u64) -> Self {
        let millionths = u64::from(share.millionths());
        let below = (millionths < 1_000_000).then(|| millionths * (u64::MAX / 1_000_000));
        Self { below, state: AtomicU64::new(seed) }
    }

    /// Whether this one is taken.
    pub(super) fn takes(&self) -> bool {
        let Some(below) = self.below else { return true };
        let mut mixed = self.state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) < below
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_taken() {
        let taken = |share: &str| {
            let sampler = Sampler::new(Share::parse(share).unwrap(), 7);
            (0..100_000).filter(|_| sampler.takes()).count()
        };
        assert_eq!((taken("0%"), taken("100%")), (0, 100_000));
        assert!((9_500..10_500).contains(&taken("10%")) && (40..180).contains(&taken("0.1%")));
    }
}
