//! When a node is asked for the subscriptions that are missing there.
//!
//! No I/O, no clock, and no knowledge of what is missing. Always holds: while something was asked for and is not answered, a moment is
//! set at which it is asked for again; errors in a row make that later, up to a bound, and one success makes it soon again.

use std::time::{Duration, Instant};

/// An unanswered channel is asked for again after this.
const UNANSWERED: Duration = Duration::from_secs(1);

/// After an error, what is missing is asked for again after this, and each time twice that until something is confirmed.
const RETRY: Duration = Duration::from_millis(100);

/// The longest time between retries: as long as for what is not answered at all.
const MAX_RETRY: Duration = UNANSWERED;

/// The time until a subscription that the server took away is asked for again.
const RETAKE: Duration = Duration::from_millis(1);

/// When what is missing is asked for.
#[derive(Debug)]
pub(super) struct AskSchedule {
    due: Option<Instant>,
    retry: Duration,
    /// Whether an error came since the last time that something was asked for.
    has_failed: bool,
}

impl AskSchedule {
    /// Nothing is due.
    pub(super) fn new() -> Self {
        Self { due: None, retry: RETRY, has_failed: false }
    }

    /// The connection is gone: nothing can be asked for.
    pub(super) fn stop(&mut self) {
        self.due = None;
    }

    /// Something is missing.
    pub(super) fn ask(&mut self, now: Instant) {
        self.ask_at(now);
    }

    /// The server took a subscription away.
    pub(super) fn retake(&mut self, now: Instant) {
        self.ask_at(now + RETAKE);
    }

    /// The server answered with an error.
    pub(super) fn fail(&mut self, now: Instant) {
        self.has_failed = true;
        self.ask_at(now + self.retry);
    }

    /// The server takes subscriptions, or will from now on.
    pub(super) fn succeed(&mut self) {
        self.retry = RETRY;
    }

    /// When something is to be asked for.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What is missing is asked for now. `waits`: something is, and is asked for again unless it is answered.
    pub(super) fn asked(&mut self, now: Instant, waits: bool) {
        if std::mem::take(&mut self.has_failed) {
            self.retry = (self.retry * 2).min(MAX_RETRY);
        }
        self.due = waits.then_some(now + UNANSWERED);
    }

    /// Whether the answer to what was asked for at that moment may still come.
    pub(super) fn is_under_way(at: Instant, now: Instant) -> bool {
        now < at + UNANSWERED
    }

    fn ask_at(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}
