//! A window of publishing: what was sent in it, what was received, and what that cost the server.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use serde::Serialize;

use super::schedule::Schedule;
use crate::{
    audience::{Audience, Received},
    error::BenchError,
    process::Process,
    receiver::control::Target,
    stats::{Percentiles, milliseconds},
};

/// How long after the last event a receiver may still get it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How many of so many members, spread over so many rooms in turn, are in this one.
pub(crate) fn members(connections: usize, rooms: u32, room: u32) -> u64 {
    let (all, rooms) = (connections as u64, u64::from(rooms));
    all / rooms + u64::from(u64::from(room) < all % rooms)
}

/// One window of publishing, measured and verified.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Round {
    /// From the first event until the last receiver had the last one.
    pub(crate) seconds: f64,
    /// Events times receivers.
    pub(crate) deliveries: u64,
    /// Events times receivers that a newer one of the same frame stood for: only where a preset collapses batches.
    pub(crate) collapsed: u64,
    /// Per second of the window.
    pub(crate) deliveries_per_second: f64,
    /// The server process' CPU time in the window over the deliveries.
    pub(crate) cpu_us_per_delivery: Option<f64>,
    /// The server process' CPU time in the window, in seconds.
    pub(crate) cpu_seconds: Option<f64>,
    /// Ciphertext that the receivers read, records' overhead included, over the deliveries.
    pub(crate) wire_bytes_per_delivery: f64,
    /// Frames over deliveries: below 1 where events came in batches.
    pub(crate) frames_per_delivery: f64,
    /// Publish to receive, over all deliveries, in milliseconds.
    pub(crate) latency: Percentiles,
    /// Publish to the last receiver, one value an event, in milliseconds.
    pub(crate) last_receiver: Percentiles,
    /// How late the latest event was sent, in milliseconds: large where the machine is overloaded.
    pub(crate) publisher_late_ms: f64,
    /// Pings that the receivers answered in the window.
    pub(crate) pings: u64,
}

/// The last offset of each room that got an event, and how many it got.
#[derive(Debug, Default)]
pub(crate) struct Ends(HashMap<u32, (u64, u64)>);

impl Ends {
    /// Event with this offset was published.
    pub(crate) fn published(&mut self, room: u32, offset: u64) {
        let end = self.0.entry(room).or_default();
        *end = (end.0.max(offset), end.1 + 1);
    }

    /// (room, last offset).
    pub(crate) fn offsets(&self) -> Vec<(u32, u64)> {
        self.0.iter().map(|(&room, &(offset, _))| (room, offset)).collect()
    }

    /// Deliveries that follow, if each room has so many members.
    pub(crate) fn deliveries(&self, members: impl Fn(u32) -> u64) -> u64 {
        self.0.iter().map(|(&room, &(_, events))| events * members(room)).sum()
    }
}

/// A window that has begun.
pub(crate) struct Window {
    target: Target,
    processes: Vec<Process>,
    /// What they had used; `None`: the server's processes are not known.
    cpu: Option<u64>,
    start: Instant,
}

/// The processor time of all these, if there are any.
fn used(processes: &[Process]) -> Result<Option<u64>, BenchError> {
    let all = processes.iter().map(Process::cpu).collect::<Result<Vec<_>, _>>()?;
    Ok((!all.is_empty()).then(|| all.iter().sum()))
}

impl Window {
    /// Lets the audience count, and looks at the clock and at the server's CPU.
    pub(crate) async fn begin(
        audience: &mut Audience,
        target: Target,
        processes: impl IntoIterator<Item = Process>,
    ) -> Result<Self, BenchError> {
        audience.begin(target).await?;
        let processes: Vec<_> = processes.into_iter().collect();
        let cpu = used(&processes)?;
        Ok(Self { target, processes, cpu, start: Instant::now() })
    }

    /// Calls `send` with 0, 1, 2 … as the schedule says, which publishes and says in which room and with which offset; then
    /// ends, as [`Window::end`] does.
    pub(crate) async fn publish(
        self,
        audience: &mut Audience,
        schedule: Schedule,
        progress: &ProgressBar,
        members: impl Fn(u32) -> u64,
        mut send: impl AsyncFnMut(u64) -> Result<(u32, u64), BenchError>,
    ) -> Result<(Round, Received), BenchError> {
        progress.set_length(schedule.events());
        progress.set_position(0);
        let mut ends = Ends::default();
        let publishing = async |n| {
            let (room, offset) = send(n).await?;
            ends.published(room, offset);
            Ok(())
        };
        let late = schedule.keep(progress, publishing).await?;
        self.end(audience, &ends, members, late).await
    }

    /// Waits for the last receiver; fails unless exactly `ends` was received by `members` of each room.
    pub(crate) async fn end(
        self,
        audience: &mut Audience,
        ends: &Ends,
        members: impl Fn(u32) -> u64,
        publisher_late_ms: f64,
    ) -> Result<(Round, Received), BenchError> {
        let received = audience.finish(self.target, ends.offsets(), PATIENCE, true).await?;
        let seconds = self.start.elapsed().as_secs_f64();
        let now = used(&self.processes)?;
        received.check(ends.deliveries(members))?;
        let deliveries = received.deliveries;
        let over = |value: f64| value / deliveries.max(1) as f64;
        let cpu = now.zip(self.cpu).map(|(now, before)| now.saturating_sub(before));
        let round = Round {
            seconds,
            deliveries,
            collapsed: received.collapsed,
            deliveries_per_second: deliveries as f64 / seconds,
            cpu_us_per_delivery: cpu.map(|nanoseconds| over(nanoseconds as f64 / 1e3)),
            cpu_seconds: cpu.map(|nanoseconds| milliseconds(nanoseconds) / 1e3),
            wire_bytes_per_delivery: over(received.wire_bytes as f64),
            frames_per_delivery: over(received.frames as f64),
            latency: received.latency.percentiles(),
            last_receiver: received.last.percentiles(),
            publisher_late_ms,
            pings: received.pings,
        };
        Ok((round, received))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_know_how_much_was_due() {
        let mut ends = Ends::default();
        for (room, offset) in [(0, 7), (1, 3), (0, 8)] {
            ends.published(room, offset);
        }
        let mut offsets = ends.offsets();
        offsets.sort_unstable();
        assert_eq!(offsets, [(0, 8), (1, 3)]);
        assert_eq!(ends.deliveries(|room| if room == 0 { 10 } else { 100 }), 120);
    }
}
