//! A time in which a backend fails: one line of the log where it begins, one where it is over. Without I/O.
//!
//! Always holds: what clients ask decides which questions fail, and so one that succeeds among others that fail ends nothing.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// It is over with a success, once nothing has failed for so long.
const QUIET: Duration = Duration::from_secs(10);

/// When it failed last, if there is such a time now.
#[derive(Debug, Default)]
pub(super) struct FailureSpell(Mutex<Option<Instant>>);

impl FailureSpell {
    /// It failed. Whether the time begins.
    pub(super) fn fails(&self, now: Instant) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(now).is_none()
    }

    /// Whether there is such a time now.
    pub(super) fn lasts(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// It did not. Whether the time ends.
    pub(super) fn succeeds(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.take_if(|last| now.saturating_duration_since(*last) >= QUIET).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_question_of_two_that_fails_is_two_lines_in_all() {
        let (spell, began) = (FailureSpell::default(), Instant::now());
        let after = |ms| began + Duration::from_millis(ms);
        assert!(!spell.succeeds(began));
        let lines = (0..10_000).filter(|ms| spell.fails(after(*ms)) || spell.succeeds(after(*ms))).count();
        assert_eq!(lines, 1);
        assert!(!spell.succeeds(after(19_998)) && spell.lasts());
        assert!(spell.succeeds(after(19_999)) && !spell.lasts() && !spell.succeeds(after(99_999)));
        assert!(spell.fails(after(100_000)));
    }
}
