//! How many backends wait for acks.
//!
//! Always holds: it is bounded.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many backends wait for acks at once.
#[derive(Debug, Default)]
pub struct AwaitedAcks(AtomicUsize);

impl AwaitedAcks {
    /// The most: each asks the broker ten times a second.
    pub const MAX: usize = 512;

    /// A place among them; `None`: there is none.
    pub(super) fn take(&self) -> Option<WaitPlace<'_>> {
        let taken = self.0.fetch_add(1, Ordering::Relaxed);
        let place = WaitPlace(self);
        (taken < Self::MAX).then_some(place)
    }
}

/// Given back when it is dropped.
pub(super) struct WaitPlace<'a>(&'a AwaitedAcks);

impl Drop for WaitPlace<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_wait_are_bounded() {
        let awaited = AwaitedAcks::default();
        let mut places: Vec<_> = (0..AwaitedAcks::MAX).map_while(|_| awaited.take()).collect();
        assert_eq!((places.len(), awaited.take().is_none()), (AwaitedAcks::MAX, true));
        places.pop();
        assert!(awaited.take().is_some());
    }
}
