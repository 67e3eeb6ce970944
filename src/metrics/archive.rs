//! What becomes of events on their way into the archive.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::handshakes::{Upgrades, requests};

/// The archive. Made where there is one only: without it no series exists.
#[derive(Debug)]
pub struct ArchiveMetrics {
    /// Events that are in the archive, at their positions.
    pub kept: Counter,
    /// Publishes that were refused because the archive took nothing.
    pub refused: Counter,
    /// Events that were published, and whose position was not written in time.
    pub unconfirmed: Counter,
    /// Pending events that the repair settled: they have their positions.
    pub settled: Counter,
    /// Pending events that the repair took back: their keys are other events'.
    pub withdrawn: Counter,
    /// Pending events that nothing can be said about any more.
    pub given_up: Counter,
    /// Until a row is pending.
    pub pend_seconds: Histogram,
    /// Until it is confirmed.
    pub confirm_seconds: Histogram,
    /// Rows that are pending, of the whole fleet.
    pub pending: Gauge,
    /// Rows of which nothing is known, of the whole fleet.
    pub unknown: Gauge,
    /// What waits to be written.
    pub waiting: Gauge,
    /// Connections that write.
    pub writing: Gauge,
    /// Connections that read.
    pub reading: Gauge,
    /// Events that were too old.
    pub aged: Counter,
    /// What became of requests for a page of messages.
    pub pages: Upgrades,
}

impl Default for ArchiveMetrics {
    fn default() -> Self {
        super::describe(ARCHIVE_DESCRIPTIONS);
        let events = |outcome: &'static str| counter!("roomcast_archive_events_total", "outcome" => outcome);
        let repairs = |outcome: &'static str| counter!("roomcast_archive_repairs_total", "outcome" => outcome);
        let seconds = |step: &'static str| histogram!("roomcast_archive_write_seconds", "step" => step);
        let connections = |used: &'static str| gauge!("roomcast_archive_connections", "use" => used);
        Self {
            kept: events("kept"),
            refused: events("refused"),
            unconfirmed: events("unconfirmed"),
            settled: repairs("settled"),
            withdrawn: repairs("withdrawn"),
            given_up: repairs("unknown"),
            pend_seconds: seconds("pend"),
            confirm_seconds: seconds("confirm"),
            pending: gauge!("roomcast_archive_pending"),
            unknown: gauge!("roomcast_archive_unknown"),
            waiting: gauge!("roomcast_archive_waiting"),
            writing: connections("write"),
            reading: connections("read"),
            aged: counter!("roomcast_archive_aged_total"),
            pages: requests("messages"),
        }
    }
}

/// What the metrics of the archive say.
pub const ARCHIVE_DESCRIPTIONS: &[(&str, &str)] = &[
    (
        "roomcast_archive_events_total",
        "Events for the archive, by outcome: kept, refused (503, nothing published), unconfirmed (published, left to the repair).",
    ),
    (
        "roomcast_archive_repairs_total",
        "Pending events of the archive that the repair dealt with, by outcome: settled, withdrawn, unknown.",
    ),
    ("roomcast_archive_write_seconds", "How long the archive took for a write, by step: pend, confirm."),
    ("roomcast_archive_pending", "Events of the whole fleet that are pending in the archive."),
    (
        "roomcast_archive_unknown",
        "Events of the whole fleet of which nothing tells whether they were published. They never will be: look at them.",
    ),
    ("roomcast_archive_waiting", "Writes of this pod that wait for a connection to the archive."),
    ("roomcast_archive_connections", "Connections to the archive, by use: write, read (in use now)."),
    ("roomcast_archive_aged_total", "Events that this pod deleted from the archive because of their age."),
];
