//! What the log is told of an archive that does not do what is asked, while clients are told no more than that.
//!
//! Always holds: however many ask, there is one line when it begins, and another one after a minute without a failure at the earliest.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// For how long nothing must have failed, so that the next failure is a beginning.
const QUIET: Duration = Duration::from_secs(60);

/// When something failed last.
#[derive(Default)]
pub(super) struct Complaint(Mutex<Option<Instant>>);

impl Complaint {
    /// Something failed. Whether it begins to.
    pub(super) fn begins(&self, now: Instant) -> bool {
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        before.is_none_or(|before| now.saturating_duration_since(before) >= QUIET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_failing_is_said_once() {
        let (complaint, began) = (Complaint::default(), Instant::now());
        let after = |seconds| complaint.begins(began + Duration::from_secs(seconds));
        assert_eq!([0, 1, 59, 118].map(after), [true, false, false, false]);
        assert_eq!([178, 179].map(after), [true, false]);
    }
}
