//! Numbers as arguments of scripts.

use std::time::Duration;

use fred::types::Value;

/// Scripts count in doubles: what is larger than they hold exactly is as good as the largest.
pub(super) fn whole(number: u64) -> Value {
    Value::from(i64::try_from(number.min(crate::model::MAX_OFFSET)).unwrap_or(i64::MAX))
}

/// A count.
pub(super) fn count(number: usize) -> Value {
    whole(number as u64)
}

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> Value {
    whole(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(1 << 48))
}
