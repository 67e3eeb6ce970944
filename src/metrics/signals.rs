//! What becomes of signals.

use metrics::{Counter, counter};

/// Signals by what became of them.
#[derive(Debug)]
pub struct SignalMetrics {
    /// A worker's clients sent them, and the broker took them.
    pub sent: Counter,
    /// They came too soon after the one before, or ended nothing.
    pub thinned: Counter,
    /// A connection, or all in a room, sent too many.
    pub limited: Counter,
    /// The broker did not take them, or a queue was full.
    pub lost: Counter,
    /// They ended by themselves, on the pod of their receivers.
    pub expired: Counter,
}

impl Default for SignalMetrics {
    fn default() -> Self {
        let counter = |outcome: &'static str| counter!("roomcast_signals_total", "outcome" => outcome);
        Self {
            sent: counter("sent"),
            thinned: counter("thinned"),
            limited: counter("limited"),
            lost: counter("lost"),
            expired: counter("expired"),
        }
    }
}
