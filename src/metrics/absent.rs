//! Metrics of events whose users have no connection; only a pod with `hooks.absent` has them.

use metrics::{Counter, Gauge, counter, gauge};

/// What each says, besides the pod's own.
pub const ABSENT_DESCRIPTIONS: &[(&str, &str)] = &[
    (
        "roomcast_absent_events_total",
        "Events of personal rooms with absent_hook by outcome: present (the user had a connection), told (the backend took it), \
         refused (the backend answered that it does not take it), failed (it gave no answer, several times), dropped (too many waited).",
    ),
    ("roomcast_absent_events_waiting", "Events that wait to be looked at, against hooks.absent_queue."),
];

/// The handles.
#[derive(Debug, Clone)]
pub struct AbsentMetrics {
    /// The user was there.
    pub present: Counter,
    /// The backend took it.
    pub told: Counter,
    /// The backend did not want it.
    pub refused: Counter,
    /// The backend could not be told.
    pub failed: Counter,
    /// It went for a newer one.
    pub dropped: Counter,
    /// Those that wait.
    pub waiting: Gauge,
}

impl Default for AbsentMetrics {
    /// Handles of the recorder that is current.
    fn default() -> Self {
        super::describe(ABSENT_DESCRIPTIONS);
        let outcome = |outcome: &'static str| counter!("roomcast_absent_events_total", "outcome" => outcome);
        Self {
            present: outcome("present"),
            told: outcome("told"),
            refused: outcome("refused"),
            failed: outcome("failed"),
            dropped: outcome("dropped"),
            waiting: gauge!("roomcast_absent_events_waiting"),
        }
    }
}
