//! How times are written.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{dialect::Clock, model::UnixMillis};

/// Seconds or milliseconds since 1970.
pub(super) fn clock_of(time: UnixMillis, clock: Clock) -> u64 {
    if clock == Clock::Seconds { time / 1000 } else { time }
}

/// RFC 3339, UTC, with milliseconds where there are some.
pub(super) fn rfc3339(time: UnixMillis, out: &mut String) {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(time) * 1_000_000).ok();
    if let Some(text) = time.and_then(|time| time.format(&Rfc3339).ok()) {
        out.push_str(&text);
    }
}
