//! Whether spans arrive, and what the log is told of it.
//!
//! Always holds: one line when they begin not to arrive and one when they do again, and a trace collector that comes and goes has a pair of
//! lines a minute at most.

use std::time::{Duration, Instant};

use crate::config::OtlpUrl;

/// So long after a line the next failure has one of its own.
const QUIET: Duration = Duration::from_secs(60);

/// How the trace collector was.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// When the log was told last that spans do not arrive.
    told: Option<Instant>,
    /// They do not arrive, and the log was told so.
    is_told: bool,
}

impl Outage {
    /// Spans did not arrive.
    pub(super) fn fails(&mut self, collector: &OtlpUrl, why: &str, now: Instant) {
        if self.begins(now) {
            tracing::warn!(%collector, why, "spans do not arrive at the trace collector; publishes go on");
        }
    }

    /// Spans arrived.
    pub(super) fn ends(&mut self, collector: &OtlpUrl) {
        if std::mem::take(&mut self.is_told) {
            tracing::info!(%collector, "spans arrive at the trace collector again");
        }
    }

    fn begins(&mut self, now: Instant) -> bool {
        let begins = !self.is_told && self.told.is_none_or(|told| now.saturating_duration_since(told) >= QUIET);
        if begins {
            (self.told, self.is_told) = (Some(now), true);
        }
        begins
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_has_one_line_however_long_it_is() {
        let (mut outage, began) = (Outage::default(), Instant::now());
        let collector = OtlpUrl::parse("http://localhost:4318").unwrap();
        let after = |seconds| began + Duration::from_secs(seconds);
        assert_eq!([0, 5, 100, 500].map(|seconds| outage.begins(after(seconds))), [true, false, false, false]);
        outage.ends(&collector);
        assert!(!outage.is_told && outage.begins(after(501)));
        outage.ends(&collector);
        assert!(!outage.begins(after(510)), "it comes and goes");
        assert!(outage.begins(after(570)));
    }
}
