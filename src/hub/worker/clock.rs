//! Times as the worker's clocks and tokens count them: in milliseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::UnixMillis;

/// A duration in whole milliseconds.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The time of day, as events carry it.
#[must_use]
pub fn unix_millis() -> UnixMillis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}
