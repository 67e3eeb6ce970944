//! What a receiver's connections to one server have received since counting began.

use std::collections::HashMap;

use super::{
    control::{Report, Target},
    frames::{Batch, Known},
};
use crate::{clock, stats::Latencies, verify::Faults};

/// The counts of one server's connections, and the frames that they have seen.
pub(super) struct Tally {
    /// The server.
    pub(super) target: Target,
    /// Events times connections.
    pub(super) deliveries: u64,
    /// Events times connections that a newer one of the same frame stood for.
    pub(super) collapsed: u64,
    /// Frames times connections.
    pub(super) frames: u64,
    /// Bytes read.
    pub(super) wire_bytes: u64,
    /// Pings answered.
    pub(super) pings: u64,
    /// Publish to receive.
    pub(super) latency: Latencies,
    /// The slowest receiver of each event so far.
    last: HashMap<(u32, u64), u64>,
    /// What went wrong since the last report.
    pub(super) faults: Faults,
    example: Option<String>,
    known: HashMap<u32, Known>,
}

impl Tally {
    /// Nothing received.
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            deliveries: 0,
            collapsed: 0,
            frames: 0,
            wire_bytes: 0,
            pings: 0,
            latency: Latencies::new(),
            last: HashMap::new(),
            faults: Faults::default(),
            example: None,
            known: HashMap::new(),
        }
    }

    /// The last few frames of a room.
    pub(super) fn known(&mut self, room: u32) -> &mut Known {
        self.known.entry(room).or_default()
    }

    /// Counts from here. Faults stay: what went wrong before counts as well.
    pub(super) fn begin(&mut self) {
        (self.deliveries, self.collapsed, self.frames, self.wire_bytes, self.pings) = (0, 0, 0, 0, 0);
        self.latency.clear();
        self.last.clear();
    }

    /// A connection received a batch.
    pub(super) fn batch(&mut self, room: u32, batch: &Batch) {
        let now = clock::now();
        self.frames += 1;
        self.deliveries += batch.events.len() as u64;
        for (offset, stamp) in &batch.events {
            let Some(stamp) = stamp else {
                self.faults.corrupt += 1;
                self.example(|| format!("the data of event {offset} of room {room} are not what was published"));
                continue;
            };
            let latency = now.saturating_sub(stamp.t);
            self.latency.record(latency);
            let slowest = self.last.entry((room, stamp.n)).or_default();
            *slowest = latency.max(*slowest);
        }
    }

    /// Keeps the first example of what went wrong.
    pub(super) fn example(&mut self, what: impl FnOnce() -> String) {
        self.example.get_or_insert_with(what);
    }

    /// Reports, and forgets the faults.
    pub(super) fn report(&mut self, connections: u64, last: bool) -> Report {
        let slowest = self.last.iter().map(|(&(room, n), &nanoseconds)| (room, n, nanoseconds));
        Report {
            connections,
            deliveries: self.deliveries,
            collapsed: self.collapsed,
            frames: self.frames,
            wire_bytes: self.wire_bytes,
            pings: self.pings,
            latency: self.latency.buckets(),
            last: if last { slowest.collect() } else { Vec::new() },
            faults: std::mem::take(&mut self.faults),
            example: self.example.take(),
        }
    }
}
