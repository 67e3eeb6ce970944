//! A warning that may be due for each of many clients, told once a minute.
//!
//! Pure: the time is the caller's. Always holds: how many it stands for is told with it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The time from one to the next.
const EVERY: Duration = Duration::from_secs(60);

/// When it was told last, and how often it was due since.
#[derive(Debug, Default)]
pub struct RareWarning(Mutex<(Option<Instant>, u64)>);

impl RareWarning {
    /// It was never due.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new((None, 0)))
    }

    /// It is due. If it is to be told now: how often it was due since it was told last, this time included.
    pub fn due(&self, now: Instant) -> Option<u64> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (told, count) = &mut *inner;
        *count += 1;
        if told.is_some_and(|told| now.saturating_duration_since(told) < EVERY) {
            return None;
        }
        *told = Some(now);
        Some(std::mem::take(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_a_minute_with_how_many_it_stands_for() {
        let (warning, began) = (RareWarning::new(), Instant::now());
        let after = |ms| began + Duration::from_millis(ms);
        assert_eq!(warning.due(after(5)), Some(1));
        assert_eq!((0..1_000).filter_map(|n| warning.due(after(5 + n))).count(), 0);
        assert_eq!([warning.due(after(60_005)), warning.due(after(60_006))], [Some(1_001), None]);
    }
}
