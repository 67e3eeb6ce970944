//! `GET /status.json`: what the pod shows of itself to an operator, and the last minutes of it.
//!
//! Owns the last minutes: 150 moments of 2 s. Never walks rooms or connections. Always holds: however many ask, the metrics are read
//! once in 2 s and the other pods once in 5 s.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    answer::{Answer, ApiError, ok},
    stats::fleet_body,
    target::Query,
};
use crate::{
    hub::{FleetStats, Readiness, Reason, Services, millis, unix_millis},
    metrics::{Buckets, Exposition, Samples},
    model::{
        CarriedConnections, DrainStatus, LatencyStatus, LimitStatus, MAX_OFFSET, MemoryStats, PodStatus, PodTotals,
        QueueStats, RedisStatus, StatusMoment, TreeStatus, UnixMillis,
    },
};

/// The time between two moments. The pod looks at itself so often, whether it is asked or not.
const EVERY: Duration = Duration::from_secs(2);

/// How many moments are kept: five minutes.
const MOMENTS: usize = 150;

/// The latency is that of the last minute.
const LATENCY_MOMENTS: usize = 30;

/// So long the answers of the other pods are good for.
const FLEET_FOR: Duration = Duration::from_secs(5);

/// What the pod showed lately.
pub(super) struct StatusBoard {
    servers: Servers,
    tree: Tree,
    state: Mutex<BoardState>,
    /// The last answers of the fleet. Others wait while one asks.
    fleet: tokio::sync::Mutex<Option<(Instant, FleetStats)>>,
}

/// Says how the servers of Redis are, where there are any.
pub type Servers = Box<dyn Fn() -> Option<RedisStatus> + Send + Sync>;

/// Says how the links to a home and to edges are, where there are any.
pub type Tree = Box<dyn Fn() -> Option<TreeStatus> + Send + Sync>;

#[derive(Default)]
struct BoardState {
    newest: PodStatus,
    looked: Option<Instant>,
    moments: VecDeque<StatusMoment>,
    /// What latencies were at the end of each moment, and before the first.
    latencies: VecDeque<Buckets>,
    draining: Option<Instant>,
}

impl StatusBoard {
    pub(super) fn new(servers: Servers, tree: Tree) -> Self {
        Self { servers, tree, state: Mutex::default(), fleet: tokio::sync::Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, BoardState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the pod, if the last look is old enough.
    pub(super) fn look(&self, services: &Services, exposition: &Exposition, now: Instant) {
        let mut state = self.state();
        // Half a second for a clock that is a little early.
        if state.looked.is_some_and(|last| now.saturating_duration_since(last) + Duration::from_millis(500) < EVERY) {
            return;
        }
        let text = exposition.own();
        let samples = Samples::of(&text);
        let mut status = read(services, &samples, ((self.servers)(), (self.tree)()));
        if services.gate.is_draining() {
            state.draining.get_or_insert(now);
        }
        status.drain.draining_ms = state.draining.map(|since| millis(now.saturating_duration_since(since)));
        state.take(status, samples.buckets("roomcast_publish_to_write_seconds"), now);
    }

    /// The answer to `GET /status.json`.
    pub(super) async fn answer(
        &self,
        services: &Services,
        exposition: &Exposition,
        query: &Query,
    ) -> Result<Answer, ApiError> {
        // As far as JSON's readers count.
        let after: UnixMillis = query.number("after", 0..=MAX_OFFSET)?.unwrap_or(0);
        match query.text("scope") {
            None | Some("pod") => {
                if self.state().looked.is_none() {
                    self.look(services, exposition, Instant::now());
                }
                let state = self.state();
                let moments = state.moments.iter().filter(|moment| moment.at > after).copied().collect();
                let status = PodStatus { moments, ..state.newest.clone() };
                drop(state);
                Ok(ok(&status))
            }
            Some("fleet") => self.fleet(services).await,
            Some(_) => Err(ApiError::bad_request("`scope` must be `pod` or `fleet`")),
        }
    }

    async fn fleet(&self, services: &Services) -> Result<Answer, ApiError> {
        let mut known = self.fleet.lock().await;
        let stats = match &*known {
            Some((asked, stats)) if asked.elapsed() < FLEET_FOR => stats.clone(),
            _ => {
                let stats = services.fleet_stats().await?;
                *known = Some((Instant::now(), stats.clone()));
                stats
            }
        };
        drop(known);
        Ok(ok(&fleet_body(stats)))
    }
}

impl BoardState {
    /// Takes in what was read at `now`.
    fn take(&mut self, mut status: PodStatus, latencies: Buckets, now: Instant) {
        if let (Some(looked), Some(before)) = (self.looked, self.latencies.back()) {
            let span = now.saturating_duration_since(looked).as_secs_f64().max(0.001);
            self.moments.push_back(moment(&self.newest.totals, &status, &latencies.since(before), span));
        }
        self.latencies.push_back(latencies);
        while self.moments.len() > MOMENTS {
            self.moments.pop_front();
        }
        while self.latencies.len() > LATENCY_MOMENTS + 1 {
            self.latencies.pop_front();
        }
        if let (Some(first), Some(last)) = (self.latencies.front(), self.latencies.back()) {
            status.latency = latency(&last.since(first));
        }
        self.newest = status;
        self.looked = Some(now);
    }
}

fn latency(buckets: &Buckets) -> LatencyStatus {
    let ms = |part| buckets.quantile(part).map(|seconds| rounded(seconds * 1_000.0));
    LatencyStatus { p50_ms: ms(0.5), p99_ms: ms(0.99) }
}

/// To three digits behind the point.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

// Counts are below 2^53, and a rate of them is no more exact than that.
#[allow(clippy::cast_precision_loss)]
fn moment(before: &PodTotals, status: &PodStatus, latencies: &Buckets, span: f64) -> StatusMoment {
    let now = &status.totals;
    let rate = |now: u64, before: u64| rounded(now.saturating_sub(before) as f64 / span);
    let LatencyStatus { p50_ms, p99_ms } = latency(latencies);
    StatusMoment {
        at: status.at,
        connections: status.connections as u64,
        events: rate(now.events_api + now.events_client, before.events_api + before.events_client),
        deliveries: rate(now.deliveries, before.deliveries),
        sent_bytes: rate(now.sent_bytes, before.sent_bytes),
        refused: rate(now.refused, before.refused),
        dropped: rate(now.dropped_frames, before.dropped_frames),
        cores: rounded((now.cpu_s - before.cpu_s).max(0.0) / span),
        held_bytes: status.queues.held_bytes as u64,
        p50_ms,
        p99_ms,
    }
}

/// The pod as it is, without what needs an earlier look.
// A gauge of bytes or connections is a whole number below 2^53.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn read(
    services: &Services,
    samples: &Samples<'_>,
    (redis, tree): (Option<RedisStatus>, Option<TreeStatus>),
) -> PodStatus {
    let config = services.config.load();
    let whole = |value: f64| value.max(0.0) as u64;
    let carried = samples.each("roomcast_connections", ["transport", "dialect"]).filter(|(_, value)| *value > 0.0);
    let carried = carried.map(|([transport, dialect], value)| CarriedConnections {
        transport: transport.to_owned(),
        dialect: dialect.to_owned(),
        connections: whole(value),
    });
    let mut carried: Vec<_> = carried.collect();
    carried.sort_by(|a, b| {
        let name = |one: &CarriedConnections| (one.transport.clone(), one.dialect.clone());
        b.connections.cmp(&a.connections).then_with(|| name(a).cmp(&name(b)))
    });
    let workers = samples.each("roomcast_worker_connections", ["worker"]);
    let workers = workers.map(|([worker], value)| (worker.parse::<usize>().unwrap_or_default(), whole(value)));
    let workers: BTreeMap<usize, u64> = workers.collect();
    let certificate = ["roomcast_certificate_expires_seconds", "roomcast_certificate_age_seconds"];
    let [expires, age] = certificate.map(|name| samples.sum(name, &[]));
    PodStatus {
        pod: services.control.pod().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at: unix_millis(),
        uptime_ms: millis(services.began.elapsed()),
        readiness: Readiness::of(services).as_str().to_owned(),
        degraded: Reason::ALL.iter().filter(|one| one.holds(services)).map(|one| one.as_str().to_owned()).collect(),
        connections: services.gate.connections(),
        max_connections: config.max_connections,
        carried,
        rooms: samples.count("roomcast_rooms", &[]),
        workers: workers.into_values().collect(),
        totals: totals(samples),
        latency: LatencyStatus::default(),
        queues: QueueStats {
            held_bytes: services.budget.held(),
            owed_bytes: services.budget.queued_bytes(),
            budget_bytes: services.budget.limit(),
        },
        memory: MemoryStats {
            used_bytes: services.memory.used(),
            limit_bytes: services.memory.mark(),
            from: config.memory_ceiling.origin(config.settings.general.memory_budget.is_some()),
        },
        limits: services
            .metrics
            .pressures
            .all()
            .map(|pressure| limit(pressure.name(), pressure.bites(), samples))
            .into(),
        redis,
        tree,
        failing_hooks: services.hooks.as_ref().map(|hooks| hooks.failing().into_iter().map(str::to_owned).collect()),
        drain: DrainStatus {
            draining_ms: None,
            delay_ms: millis(config.drain.delay),
            window_ms: millis(config.drain.window),
        },
        certificate_expires_s: (expires != 0.0 || age > 0.0).then_some(expires),
        every_ms: millis(EVERY),
        moments: Vec::new(),
    }
}

fn totals(samples: &Samples<'_>) -> PodTotals {
    let count = |name, labels: &[(&str, &str)]| samples.count(name, labels);
    PodTotals {
        events_api: count("roomcast_events_in_total", &[("source", "api")]),
        events_client: count("roomcast_events_in_total", &[("source", "client")]),
        deliveries: count("roomcast_deliveries_total", &[]),
        messages_in: count("roomcast_messages_in_total", &[]),
        plain_bytes: count("roomcast_sent_bytes_total", &[("stage", "plain")]),
        sent_bytes: count("roomcast_sent_bytes_total", &[("stage", "framed")]),
        dropped_frames: count("roomcast_dropped_frames_total", &[]),
        stream_holes: count("roomcast_stream_holes_total", &[]),
        slow_disconnects: count("roomcast_disconnects_total", &[("code", "4008")]),
        slow_sockets: count("roomcast_slow_sockets_total", &[("clock", "write")]),
        refused: count("roomcast_limit_refused_total", &[]),
        cpu_s: samples.sum("roomcast_worker_cpu_seconds_total", &[]),
    }
}

fn limit(name: &str, bites: bool, samples: &Samples<'_>) -> LimitStatus {
    let of = |metric| samples.count(metric, &[("limit", name)]);
    let most = Some(of("roomcast_limit")).filter(|limit| *limit > 0);
    LimitStatus {
        name: name.to_owned(),
        // Without a limit, what is used is not one figure.
        used: most.map(|_| of("roomcast_limit_used")),
        limit: most,
        refused: of("roomcast_limit_refused_total"),
        bites,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(deliveries: u64, cpu_s: f64, at: UnixMillis) -> PodStatus {
        PodStatus { at, totals: PodTotals { deliveries, cpu_s, ..PodTotals::default() }, ..PodStatus::default() }
    }

    #[test]
    fn rates_are_of_the_time_that_passed_and_the_last_minutes_are_bounded() {
        let (mut state, began) = (BoardState::default(), Instant::now());
        state.take(seen(100, 1.0, 1), Buckets::default(), began);
        assert!(state.moments.is_empty(), "one look is no rate");
        state.take(seen(400, 2.5, 2), Buckets::default(), began + Duration::from_secs(3));
        let first = state.moments.front().copied().unwrap_or_default();
        assert_eq!((first.at, first.deliveries, first.cores), (2, 100.0, 0.5));
        for n in 0..400 {
            state.take(seen(400 + n, 2.5, 3 + n), Buckets::default(), began + Duration::from_secs(5 + 2 * n));
        }
        assert_eq!((state.moments.len(), state.latencies.len()), (MOMENTS, LATENCY_MOMENTS + 1));
        assert_eq!(state.moments.back().map(|moment| (moment.at, moment.deliveries)), Some((402, 0.5)));
    }

    #[test]
    fn the_latency_is_that_of_the_last_minute() {
        let mut state = BoardState::default();
        let (began, mut text) = (Instant::now(), String::new());
        let mut look = |slow: u32, fast: u32, n: u64| {
            text = format!(
                "h_bucket{{le=\"0.001\"}} {fast}\nh_bucket{{le=\"1\"}} {0}\nh_bucket{{le=\"+Inf\"}} {0}\n",
                fast + slow
            );
            state.take(seen(0, 0.0, n), Samples::of(&text).buckets("h"), began + EVERY * n as u32);
            (state.newest.latency.p50_ms, state.moments.back().and_then(|moment| moment.p50_ms))
        };
        assert_eq!(look(100, 0, 0), (None, None));
        assert_eq!(look(200, 0, 1), (Some(500.5), Some(500.5)));
        assert_eq!(look(200, 50, 2), (Some(250.75), Some(0.5)));
        for n in 3..=60 {
            look(200, 50, n);
        }
        assert_eq!(look(200, 60, 61), (Some(0.5), Some(0.5)), "the slow ones were more than a minute ago");
    }
}
