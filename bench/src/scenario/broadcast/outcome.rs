//! What a broadcast run found, and its report.

use serde::Serialize;

use super::plan::Plan;
use crate::{
    floor::control::Counts,
    plot::Plot,
    report::{Row, spread, thousands},
    scenario::window::Round,
    stats::{Latencies, Percentiles, Spread},
};

/// The most that a delivery to Socket.IO may cost: the pod's CPU over that of a delivery in the native protocol.
pub(super) const NATIVE_BAR: f64 = 1.1;

/// One server's figures.
#[derive(Debug, Serialize)]
pub(super) struct Side {
    pub(super) agreed_suite: String,
    pub(super) agreed_deflate: bool,
    pub(super) cpu_us_per_delivery: Option<Spread>,
    /// What one ping costs, while nothing else happens.
    pub(super) ping_cpu_us: Option<f64>,
    /// Less the pings of each repetition.
    pub(super) cpu_us_per_delivery_without_pings: Option<Spread>,
    pub(super) last_receiver_p50_ms: Spread,
    pub(super) last_receiver_p99_ms: Spread,
    /// Over the events of all repetitions.
    pub(super) last_receiver_pooled: Percentiles,
    pub(super) latency_p50_ms: Spread,
    pub(super) latency_p99_ms: Spread,
    /// Over all deliveries of all repetitions.
    pub(super) latency_pooled: Percentiles,
    pub(super) deliveries_per_second: Spread,
    pub(super) wire_bytes_per_delivery: Spread,
    pub(super) rounds: Vec<Round>,
    #[serde(skip)]
    pub(super) latency: Latencies,
    #[serde(skip)]
    pub(super) last: Latencies,
}

#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) connections: usize,
    pub(super) rate: f64,
    pub(super) seconds: f64,
    pub(super) size: usize,
    pub(super) deflate: bool,
    pub(super) threads: usize,
    pub(super) pod_ready_ms: Option<f64>,
    pub(super) pod: Option<Side>,
    /// The pod's receivers of the native protocol, where the others speak another dialect.
    pub(super) native: Option<Side>,
    pub(super) floor: Option<Side>,
    /// Another build's.
    pub(super) reference: Option<Side>,
    /// Pod over reference: CPU per delivery of each pair of neighbouring repetitions.
    pub(super) reference_cpu_ratio: Option<Spread>,
    pub(super) floor_counts: Option<Counts>,
    /// Pod over floor: of each pair of neighbouring repetitions.
    pub(super) cpu_ratio: Option<Spread>,
    /// The same without the pod's pings.
    pub(super) cpu_ratio_without_pings: Option<Spread>,
    /// Pod over floor, of the p99s to the last receiver: of each pair of neighbouring repetitions, whose p99 is the maximum
    /// where they have fewer than a hundred events.
    pub(super) last_receiver_p99_ratio: Option<Spread>,
    /// Pod over floor, of the p99s to the last receiver over the events of all repetitions.
    pub(super) last_receiver_p99_ratio_pooled: Option<f64>,
    /// Pod over floor, of the medians to the last receiver.
    pub(super) last_receiver_p50_ratio: Option<Spread>,
    /// Pod over the native protocol: CPU per delivery without pings, as far as it is known what these cost, of each pair of
    /// neighbouring repetitions.
    pub(super) native_cpu_ratio: Option<Spread>,
    /// The most that its median may be.
    pub(super) native_cpu_bar: Option<f64>,
}

impl Outcome {
    /// What the sides came to: the pod, its receivers of the native protocol, the floor, another build.
    pub(super) fn of(
        plan: Plan,
        threads: usize,
        pod_ready_ms: Option<f64>,
        floor_counts: Option<Counts>,
        [pod, native, floor, reference]: [Option<Side>; 4],
    ) -> Self {
        let both = pod.as_ref().zip(floor.as_ref());
        let ratio = |figure: fn(&Round) -> Option<f64>| both.and_then(|(pod, floor)| pod.over(floor, |_, r| figure(r)));
        let over_native = pod.as_ref().zip(native.as_ref());
        let native_cpu_ratio = over_native.and_then(|(pod, native)| pod.over(native, Side::bare_cpu));
        let over_reference = pod.as_ref().zip(reference.as_ref());
        Self {
            connections: plan.connections,
            rate: plan.schedule.rate,
            seconds: plan.schedule.seconds,
            size: plan.recipe.size,
            deflate: plan.deflate,
            threads,
            pod_ready_ms,
            floor_counts,
            cpu_ratio: ratio(|round| round.cpu_us_per_delivery),
            cpu_ratio_without_pings: both.and_then(|(pod, floor)| {
                pod.ping_cpu_us?;
                pod.over(floor, Side::bare_cpu)
            }),
            last_receiver_p99_ratio: ratio(|round| Some(round.last_receiver.p99)),
            last_receiver_p99_ratio_pooled: both
                .map(|(pod, floor)| pod.last_receiver_pooled.p99 / floor.last_receiver_pooled.p99),
            last_receiver_p50_ratio: ratio(|round| Some(round.last_receiver.p50)),
            native_cpu_ratio,
            native_cpu_bar: native_cpu_ratio.map(|_| NATIVE_BAR),
            reference_cpu_ratio: over_reference
                .and_then(|(pod, reference)| pod.over(reference, |_, round| round.cpu_us_per_delivery)),
            pod,
            native,
            floor,
            reference,
        }
    }
}

/// A repetition's CPU per delivery without its pings.
pub(super) fn without_pings(round: &Round, ping_cpu_us: f64) -> Option<f64> {
    Some(round.cpu_us_per_delivery? - ping_cpu_us * round.pings as f64 / round.deliveries.max(1) as f64)
}

impl Side {
    /// This one over another, of each pair of neighbouring repetitions.
    pub(super) fn over(&self, other: &Self, figure: impl Fn(&Self, &Round) -> Option<f64>) -> Option<Spread> {
        let pairs = self.rounds.iter().zip(&other.rounds);
        Spread::of(pairs.filter_map(|(one, another)| Some(figure(self, one)? / figure(other, another)?)))
    }

    /// A repetition's CPU per delivery without its pings, as far as it is known what they cost.
    fn bare_cpu(&self, round: &Round) -> Option<f64> {
        without_pings(round, self.ping_cpu_us.unwrap_or(0.0))
    }
}

/// The row for `docs/BENCHMARKS.md`.
pub(super) fn row(outcome: &Outcome) -> Row {
    let side = |side: &Option<Side>, figure: &dyn Fn(&Side) -> Option<String>| {
        side.as_ref().and_then(figure).unwrap_or_else(|| "-".to_owned())
    };
    let both = |figure: &dyn Fn(&Side) -> Option<String>| {
        format!("{} / {}", side(&outcome.pod, figure), side(&outcome.floor, figure))
    };
    let ratio = |ratio: &Option<Spread>| ratio.as_ref().map_or_else(|| "-".to_owned(), |ratio| spread(ratio, 2));
    let kind = if outcome.deflate { "compressed" } else { "plain" };
    let row = Row::default()
        .cell("receivers", thousands(outcome.connections as u64))
        .cell("events", format!("{} B, {kind}, {}/s", outcome.size, outcome.rate))
        .cell("CPU us/delivery, pod / floor", both(&|s| s.cpu_us_per_delivery.as_ref().map(|c| spread(c, 2))))
        .cell("ratio", ratio(&outcome.cpu_ratio))
        .cell("ratio without pings", ratio(&outcome.cpu_ratio_without_pings))
        .cell("p99 to the last receiver ms, pod / floor", both(&|s| Some(spread(&s.last_receiver_p99_ms, 1))))
        .cell("ratio", ratio(&outcome.last_receiver_p99_ratio))
        .cell(
            "ratio of all events' p99",
            outcome.last_receiver_p99_ratio_pooled.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
        )
        .cell("ratio of the medians to the last", ratio(&outcome.last_receiver_p50_ratio))
        .cell(
            "publish to receive ms, p50 p99 p99.9 max, pod / floor",
            both(&|s| {
                let Percentiles { p50, p99, p999, max, .. } = s.latency_pooled;
                Some(format!("{p50:.1} {p99:.1} {p999:.1} {max:.1}"))
            }),
        )
        .cell("bytes/delivery, pod / floor", both(&|s| Some(format!("{:.0}", s.wire_bytes_per_delivery.median))))
        .cell("deliveries/s, pod / floor", both(&|s| Some(thousands(s.deliveries_per_second.median as u64))));
    if let Some(reference) = &outcome.reference {
        return row
            .cell(
                "reference: CPU us/delivery",
                reference.cpu_us_per_delivery.as_ref().map_or_else(|| "-".to_owned(), |c| spread(c, 2)),
            )
            .cell("CPU, pod to reference", ratio(&outcome.reference_cpu_ratio));
    }
    if outcome.native.is_none() {
        return row;
    }
    let native = |figure: &dyn Fn(&Side) -> Option<String>| side(&outcome.native, figure);
    row.cell("native: CPU us/delivery", native(&|s| s.cpu_us_per_delivery.as_ref().map(|c| spread(c, 2))))
        .cell(&format!("CPU, pod to native (bar {NATIVE_BAR})"), ratio(&outcome.native_cpu_ratio))
        .cell("native: p99 to the last receiver ms", native(&|s| Some(spread(&s.last_receiver_p99_ms, 1))))
        .cell("native: bytes/delivery", native(&|s| Some(format!("{:.0}", s.wire_bytes_per_delivery.median))))
}

/// The plot.
pub(super) fn plot(outcome: &Outcome) -> Plot {
    let mut plot = Plot {
        title: format!(
            "broadcast of {} B to {} receivers, {} threads",
            outcome.size,
            thousands(outcome.connections as u64),
            outcome.threads
        ),
        bars_title: "CPU per delivery (us)".to_owned(),
        curves_title: "publish to receive, and to the last receiver (ms)".to_owned(),
        ..Plot::default()
    };
    for (name, side) in [
        ("pod", &outcome.pod),
        ("native", &outcome.native),
        ("floor", &outcome.floor),
        ("reference", &outcome.reference),
    ] {
        let Some(side) = side else { continue };
        let values = side.rounds.iter().filter_map(|round| round.cpu_us_per_delivery).collect();
        plot.bars.push((name.to_owned(), values));
        plot.curves.push((name.to_owned(), side.latency.curve()));
        plot.curves.push((format!("{name}, last receiver"), side.last.curve()));
    }
    plot
}
