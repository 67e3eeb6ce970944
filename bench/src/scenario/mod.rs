//! What is measured: one file a scenario, and what they have in common.
//!
//! A scenario opens the servers and the audience, lets time pass, and reports. Always holds: everything it started ends
//! with it, whether it succeeds, fails or is interrupted.

use std::{
    collections::HashMap,
    future::Future,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    audience::{Audience, Received},
    content::Recipe,
    error::{BenchError, Doing as _},
    pod::Pod,
    process::Process,
    receiver::control::{Join, Target},
    stats::{Percentiles, milliseconds},
};

pub(crate) mod broadcast;
pub(crate) mod churn;
pub(crate) mod connect;
pub(crate) mod fleet;
pub(crate) mod idle;
pub(crate) mod loss;
pub(crate) mod mixed;
pub(crate) mod polls;
pub(crate) mod publish;
pub(crate) mod rooms;
pub(crate) mod transports;
pub(crate) mod trips;

/// How long after the last event a receiver may still get it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a scenario on one thread, until it ends or a signal comes.
pub(crate) fn run(scenario: impl Future<Output = Result<(), BenchError>>) -> Result<(), BenchError> {
    crate::process::raise_file_limit()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing(|| "starting the event loop".to_owned())?;
    runtime.block_on(async {
        let handler = || "listening for signals".to_owned();
        let mut interrupt = signal(SignalKind::interrupt()).doing(handler)?;
        let mut terminate = signal(SignalKind::terminate()).doing(handler)?;
        tokio::select! {
            result = scenario => result,
            _ = interrupt.recv() => Err(BenchError::Interrupted),
            _ = terminate.recv() => Err(BenchError::Interrupted),
        }
    })
}

/// A progress bar; it draws only on a terminal.
pub(crate) fn bar(what: &str, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("{msg:>28} {wide_bar:.blue} {pos:>7}/{len} {elapsed:>4}") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar
}

/// How a pod's receivers connect; the caller sets how many and to which rooms.
pub(crate) fn join_pod(pod: &Pod, recipe: Recipe, deflate: bool) -> Join {
    let join = Join::new(Target::Pod, pod.address, pod.dialect, recipe, deflate);
    Join { host: pod.host.clone(), path: pod.path.clone(), ..join }
}

/// Events at a steady rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    /// Events a second.
    pub(crate) rate: f64,
    /// For how long.
    pub(crate) seconds: f64,
}

impl Schedule {
    /// Refuses what cannot be kept.
    pub(crate) fn new(rate: f64, seconds: f64) -> Result<Self, BenchError> {
        if !(rate > 0.0 && rate <= 100_000.0 && seconds > 0.0 && seconds <= 3_600.0) {
            let message =
                format!("--rate {rate} for {seconds} s: the rate is above 0 and at most 100000, the time at most 3600");
            return Err(BenchError::Usage(message));
        }
        Ok(Self { rate, seconds })
    }

    /// How many events that are: at least one.
    pub(crate) fn events(&self) -> u64 {
        ((self.rate * self.seconds) as u64).max(1)
    }

    /// Calls `send` with 0, 1, 2 … when each is due. Says by how much the latest was late, in milliseconds.
    pub(crate) async fn keep(
        &self,
        bar: &ProgressBar,
        mut send: impl AsyncFnMut(u64) -> Result<(), BenchError>,
    ) -> Result<f64, BenchError> {
        let at = |n: u64| Duration::from_secs_f64(n as f64 / self.rate);
        // The window ends when the next event would be due, in all repetitions alike.
        let late =
            keep_times((0..self.events()).map(at), at(self.events()), bar, async |n| send(n as u64).await).await?;
        if late > (1.0 / self.rate).max(0.05) * 1e3 {
            tell_late(late, bar);
        }
        Ok(late)
    }
}

/// Calls `send` with 0, 1, 2 … when each is due, `times` after now, and waits until `end`. Says by how much the latest was
/// late, in milliseconds.
pub(crate) async fn keep_times(
    times: impl Iterator<Item = Duration>,
    end: Duration,
    bar: &ProgressBar,
    mut send: impl AsyncFnMut(usize) -> Result<(), BenchError>,
) -> Result<f64, BenchError> {
    let start = Instant::now();
    let mut latest = Duration::ZERO;
    for (n, time) in times.enumerate() {
        let due = start + time;
        tokio::time::sleep_until(due.into()).await;
        latest = latest.max(due.elapsed());
        send(n).await?;
        bar.inc(1);
    }
    tokio::time::sleep_until((start + end).into()).await;
    Ok(latest.as_secs_f64() * 1e3)
}

/// Says that the machine does not keep up.
pub(crate) fn tell_late(milliseconds: f64, bar: &ProgressBar) {
    bar.suspend(|| {
        eprintln!("an event was sent {milliseconds:.0} ms late: the machine is overloaded, lower --rate");
    });
}

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
    process: Option<Process>,
    cpu: Option<u64>,
    start: Instant,
}

impl Window {
    /// Lets the audience count, and looks at the clock and at the server's CPU.
    pub(crate) async fn begin(
        audience: &mut Audience,
        target: Target,
        process: Option<Process>,
    ) -> Result<Self, BenchError> {
        audience.begin(target).await?;
        let cpu = process.map(|process| process.cpu()).transpose()?;
        Ok(Self { target, process, cpu, start: Instant::now() })
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
        let now = self.process.map(|process| process.cpu()).transpose()?;
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

    #[test]
    fn a_schedule_is_kept() {
        let schedule = Schedule::new(200.0, 0.1).expect("valid");
        assert_eq!(schedule.events(), 20);
        assert!(Schedule::new(0.0, 1.0).is_err());
        assert!(Schedule::new(f64::NAN, 1.0).is_err());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut sent = Vec::new();
        let start = Instant::now();
        runtime
            .block_on(schedule.keep(&ProgressBar::hidden(), async |n| {
                sent.push(n);
                Ok(())
            }))
            .expect("nothing fails");
        assert_eq!(sent, (0..20).collect::<Vec<_>>());
        assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
    }
}
