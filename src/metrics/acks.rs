//! What becomes of acks, and of receipts.

use metrics::{Counter, counter};

/// Acks by what became of them: one is what a user has read in a room since the last write.
#[derive(Debug)]
pub struct AckMetrics {
    /// The broker keeps them.
    pub kept: Counter,
    /// The broker did not take them, and they wait for the next round.
    pub failed: Counter,
    /// Nothing is kept of them: the log has another epoch by now, or too many waited.
    pub lost: Counter,
    /// Receipts that authors were told.
    pub told: Counter,
    /// Receipts that are lost: the broker did not take them, or there were too many at once.
    pub untold: Counter,
}

impl Default for AckMetrics {
    fn default() -> Self {
        let counter = |outcome: &'static str| counter!("roomcast_acks_total", "outcome" => outcome);
        let receipts = |outcome: &'static str| counter!("roomcast_receipts_total", "outcome" => outcome);
        let (told, untold) = (receipts("told"), receipts("lost"));
        Self { kept: counter("kept"), failed: counter("failed"), lost: counter("lost"), told, untold }
    }
}
