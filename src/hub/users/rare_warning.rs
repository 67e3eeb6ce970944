//! A warning that may be due for each of many users, told once a minute.
//!
//! Pure: the time is the caller's. Always holds: how many it stands for is told with it.

use std::sync::{Mutex, PoisonError};

/// The time from one to the next, in milliseconds.
const EVERY_MS: u64 = 60_000;

/// When it was told last, and how often it was due since.
#[derive(Debug, Default)]
pub(super) struct RareWarning(Mutex<(Option<u64>, u64)>);

impl RareWarning {
    /// It is due. If it is to be told now: how often it was due since it was told last, this time included.
    pub(super) fn due(&self, now_ms: u64) -> Option<u64> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (told, count) = &mut *inner;
        *count += 1;
        if told.is_some_and(|told| now_ms < told.saturating_add(EVERY_MS)) {
            return None;
        }
        *told = Some(now_ms);
        Some(std::mem::take(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_a_minute_with_how_many_it_stands_for() {
        let warning = RareWarning::default();
        assert_eq!(warning.due(5), Some(1));
        assert_eq!((0..1_000).filter_map(|n| warning.due(5 + n)).count(), 0);
        assert_eq!([warning.due(60_005), warning.due(60_006)], [Some(1_001), None]);
    }
}
