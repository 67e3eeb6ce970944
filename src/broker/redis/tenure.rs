//! What a pod knows of the lease on plain messages, and of itself as its holder.
//!
//! No I/O. Never asks for the lease. Always holds: a pod holds it only while it hears the messages.

use std::time::Instant;

use super::plain_ring::{PlainRing, StreamMark};

/// What is known of the lease.
#[derive(Debug, Default)]
pub(super) struct Tenure {
    /// The patterns stand.
    pub(super) hears: bool,
    /// Which tenure of this pod it is, counted from 1.
    pub(super) number: u64,
    /// The newest tenure whose ping was answered.
    pub(super) echoed: u64,
    /// When the lease of this pod ends; `None`: it has none.
    pub(super) until: Option<Instant>,
    /// Since when no pod has the lease.
    pub(super) free: Option<Instant>,
    /// The patterns were lost since the lease was last asked for: what came meanwhile is not in the ring, so that another pod must take
    /// it in.
    pub(super) missed: bool,
    /// How many marks this pod published.
    marks: u64,
    pub(super) ring: PlainRing,
}

impl Tenure {
    pub(super) fn holds(&self, now: Instant) -> bool {
        self.hears && self.until.is_some_and(|until| now < until)
    }

    /// The text of a new mark.
    pub(super) fn next_mark(&mut self, pod: &str, held: bool) -> String {
        self.marks += 1;
        let name = format!("{pod}.{}", self.marks);
        StreamMark { name: &name, settled: self.ring.settled(), held }.text()
    }

    /// Whether this pod publishes a message that has no name.
    pub(super) fn surely_holds(&self, now: Instant) -> bool {
        self.holds(now) && self.echoed == self.number
    }
}
