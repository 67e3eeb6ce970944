//! The parent's side of the receivers: all their processes as one.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use tokio::{sync::mpsc, time::timeout};

use crate::{
    child::{Heard, NOTICES, Role},
    error::BenchError,
    process,
    receiver::control::{Agreed, Join, Notice, Order, Target, VisitReport, Visits},
    stats::Latencies,
    transport::Transport,
    verify::Faults,
};

/// Files that a receiver has open besides its connections.
const OTHER_FILES: usize = 64;
/// Handshakes under way in all receivers together: enough to keep the server busy, too few to fill its backlog.
const IN_FLIGHT: usize = 128;

/// All receivers together.
pub(crate) struct Audience {
    receivers: Vec<Role>,
    heard: mpsc::Receiver<Heard<Notice>>,
    connections: usize,
    first_source: u8,
    transport: Transport,
}

/// What all receivers together received since counting began.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Connections that are still open.
    pub(crate) connections: u64,
    /// Events times connections.
    pub(crate) deliveries: u64,
    /// Events times connections that a newer one of the same frame stood for.
    pub(crate) collapsed: u64,
    /// Frames times connections.
    pub(crate) frames: u64,
    /// Bytes read from the sockets.
    pub(crate) wire_bytes: u64,
    /// Pings answered.
    pub(crate) pings: u64,
    /// Publish to receive.
    pub(crate) latency: Latencies,
    /// Publish to the last receiver, one value an event.
    pub(crate) last: Latencies,
    /// What went wrong.
    pub(crate) faults: Faults,
    /// An example of it.
    pub(crate) example: Option<String>,
}

impl Received {
    /// Fails if anything went wrong, or if nothing was received where something should have been.
    pub(crate) fn check(&self, expected: u64) -> Result<(), BenchError> {
        let example = self.example.as_deref().unwrap_or("no example");
        if !self.faults.none() {
            return Err(BenchError::Faults(format!("{:?}; for example: {example}", self.faults)));
        }
        let came = self.deliveries + self.collapsed;
        if came != expected {
            let what = format!("{came} deliveries instead of {expected}; for example: {example}");
            return Err(BenchError::Faults(what));
        }
        Ok(())
    }
}

impl Audience {
    /// Starts `processes` receivers over a transport. `first_source` keeps their addresses apart from another audience's.
    pub(crate) fn start(transport: Transport, processes: usize, first_source: u8) -> Result<Self, BenchError> {
        let (sender, heard) = mpsc::channel(NOTICES);
        let role = match transport {
            Transport::Websocket => "receiver",
            Transport::Webtransport => "sessions",
        };
        let receivers = (0..processes.clamp(1, 64))
            .map(|index| Role::start(role, &[role.to_owned()], index, sender.clone()))
            .collect::<Result<_, _>>()?;
        Ok(Self { receivers, heard, connections: 0, first_source, transport })
    }

    /// Opens `join.connections` more connections and waits until all are members.
    pub(crate) async fn join(&mut self, join: &Join, bar: &ProgressBar) -> Result<Agreed, BenchError> {
        let processes = self.receivers.len();
        self.connections += join.connections;
        let (needed, limit) = (self.connections.div_ceil(processes) + OTHER_FILES, process::file_limit());
        // Sessions share a few sockets.
        if self.transport == Transport::Websocket && needed > limit {
            return Err(BenchError::FileLimit { what: "a receiver".to_owned(), needed, limit });
        }
        bar.set_length(join.connections as u64);
        bar.set_position(0);
        let mut first = join.first;
        for (index, receiver) in self.receivers.iter_mut().enumerate() {
            let share = join.connections / processes + usize::from(index < join.connections % processes);
            let mut join = Join { connections: share, first, ..join.clone() };
            join.source = self.first_source.wrapping_add(index as u8);
            join.in_flight = (IN_FLIGHT / processes).max(1);
            receiver.order(&Order::Join(join)).await?;
            first += share;
        }
        let patience = Duration::from_secs(60);
        let mut joined = vec![0; processes];
        let mut agreed: Option<Agreed> = None;
        let mut ready = 0;
        while ready < processes {
            match self.hear(patience).await? {
                (index, Notice::Joined(count)) => joined[index] = count,
                (_, Notice::Ready(one)) => {
                    ready += 1;
                    let all = agreed.get_or_insert_with(Agreed::default);
                    all.suite = one.suite;
                    all.deflate = one.deflate;
                    all.positions.extend(one.positions);
                }
                (index, other) => return Err(unexpected(index, &other)),
            }
            bar.set_position(joined.iter().sum::<usize>() as u64);
        }
        bar.set_position(join.connections as u64);
        Ok(agreed.unwrap_or_default())
    }

    /// Counts from now.
    pub(crate) async fn begin(&mut self, target: Target) -> Result<(), BenchError> {
        self.order_all(&Order::Begin(target)).await?;
        for _ in 0..self.receivers.len() {
            match self.hear(Duration::from_secs(30)).await? {
                (_, Notice::Began) => {}
                (index, other) => return Err(unexpected(index, &other)),
            }
        }
        Ok(())
    }

    /// Waits, at most for `patience`, until every connection has its room's events up to `ends`; says what was received.
    pub(crate) async fn finish(
        &mut self,
        target: Target,
        ends: Vec<(u32, u64)>,
        patience: Duration,
        last: bool,
    ) -> Result<Received, BenchError> {
        let timeout_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.order_all(&Order::Finish { target, ends, timeout_ms, last }).await?;
        let mut received = Received {
            connections: 0,
            deliveries: 0,
            collapsed: 0,
            frames: 0,
            wire_bytes: 0,
            pings: 0,
            latency: Latencies::new(),
            last: Latencies::new(),
            faults: Faults::default(),
            example: None,
        };
        let mut slowest: HashMap<(u32, u64), u64> = HashMap::new();
        for _ in 0..self.receivers.len() {
            let report = match self.hear(patience + Duration::from_secs(60)).await? {
                (_, Notice::Report(report)) => report,
                (index, other) => return Err(unexpected(index, &other)),
            };
            received.connections += report.connections;
            received.deliveries += report.deliveries;
            received.collapsed += report.collapsed;
            received.frames += report.frames;
            received.wire_bytes += report.wire_bytes;
            received.pings += report.pings;
            received.latency.merge(&report.latency);
            received.faults.add(&report.faults);
            received.example = received.example.or(report.example);
            for (room, n, nanoseconds) in report.last {
                let event = slowest.entry((room, n)).or_default();
                *event = nanoseconds.max(*event);
            }
        }
        for &nanoseconds in slowest.values() {
            received.last.record(nanoseconds);
        }
        Ok(received)
    }

    /// Lets connections come and go; the rate is that of all receivers together. Says what all found, with the
    /// distribution of the time to open.
    pub(crate) async fn visit(
        &mut self,
        visits: &Visits,
        bar: &ProgressBar,
    ) -> Result<(VisitReport, Latencies), BenchError> {
        let processes = self.receivers.len();
        for (index, receiver) in self.receivers.iter_mut().enumerate() {
            let mut visits = visits.clone();
            visits.join.source = self.first_source.wrapping_add(index as u8);
            visits.join.in_flight = (visits.join.in_flight / processes).max(1);
            visits.per_second = visits.per_second.map(|rate| rate / processes as f64);
            receiver.order(&Order::Visit(visits)).await?;
        }
        let stay = Duration::from_millis(visits.stay_ms.unwrap_or(0));
        let deadline = Instant::now() + Duration::from_secs_f64(visits.seconds) + stay + Duration::from_secs(90);
        let (mut total, mut latency) = (VisitReport::default(), Latencies::new());
        let mut visited = vec![0; processes];
        let mut ended = 0;
        while ended < processes {
            match self.hear(deadline.saturating_duration_since(Instant::now())).await? {
                (index, Notice::Visited(count)) => visited[index] = count,
                (_, Notice::Visits(report)) => {
                    ended += 1;
                    total.opened += report.opened;
                    total.resumed += report.resumed;
                    total.failed += report.failed;
                    total.deliveries += report.deliveries;
                    total.faults.add(&report.faults);
                    total.example = total.example.or(report.example);
                    latency.merge(&report.latency);
                }
                (index, other) => return Err(unexpected(index, &other)),
            }
            bar.set_position(visited.iter().sum());
        }
        Ok((total, latency))
    }

    async fn order_all(&mut self, order: &Order) -> Result<(), BenchError> {
        for receiver in &mut self.receivers {
            receiver.order(order).await?;
        }
        Ok(())
    }

    async fn hear(&mut self, patience: Duration) -> Result<(usize, Notice), BenchError> {
        let slow = || BenchError::Timeout {
            what: "an answer of the receivers".to_owned(),
            seconds: patience.as_secs(),
            hint: "is the machine overloaded? Lower --connections or --rate".to_owned(),
        };
        let heard = timeout(patience, self.heard.recv()).await.map_err(|_| slow())?;
        match heard.ok_or_else(slow)? {
            (_, Ok(Notice::Failed(what))) => {
                Err(BenchError::Child { who: "receiver".to_owned(), what: format!("failed: {what}") })
            }
            (index, notice) => Ok((index, notice?)),
        }
    }
}

fn unexpected(index: usize, notice: &Notice) -> BenchError {
    BenchError::Child { who: format!("receiver {index}"), what: format!("said something unexpected: {notice:?}") }
}
