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
    /// Receipts that were not told at once, and will be: what waits for them stands beside what is kept.
    pub later: Counter,
    /// Receipts that are lost: there were too many at once, or they were of what devices have got and the broker did not take them.
    pub untold: Counter,
    /// Acks of which authors were told, or would have been, by another pod than the one that kept them, or a while later.
    pub taken: Counter,
}

impl Default for AckMetrics {
    fn default() -> Self {
        let counter = |outcome: &'static str| counter!("roomcast_acks_total", "outcome" => outcome);
        let receipts = |outcome: &'static str| counter!("roomcast_receipts_total", "outcome" => outcome);
        Self {
            kept: counter("kept"),
            failed: counter("failed"),
            lost: counter("lost"),
            told: receipts("told"),
            later: receipts("later"),
            untold: receipts("lost"),
            taken: counter!("roomcast_untold_acks_total"),
        }
    }
}
