//! What a run of trips found, and its report.

use serde::Serialize;

use crate::{
    plot::Plot,
    report::{Row, spread, thousands},
    scenario::window::Round,
    stats::{Latencies, Percentiles, Spread},
};

#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) connections: usize,
    pub(super) trips: u32,
    pub(super) workers: usize,
    pub(super) event_bytes: usize,
    pub(super) rate: f64,
    pub(super) burst: u32,
    pub(super) gap_ms: u64,
    pub(super) passes: Vec<Pass>,
}

/// With or without permessage-deflate.
#[derive(Debug, Serialize)]
pub(super) struct Pass {
    agreed_suite: String,
    agreed_deflate: bool,
    /// With the preset's window.
    window: Side,
    /// With the window 0.
    none: Side,
    /// With the window over without, of each pair of neighbouring repetitions.
    ratio: Figures,
}

/// One batch window's figures.
#[derive(Debug, Serialize)]
pub(super) struct Side {
    window_ms: u64,
    #[serde(flatten)]
    figures: Figures,
    /// Publish to receive, over all repetitions, in milliseconds. The window counts in.
    latency: Percentiles,
    rounds: Vec<Round>,
    #[serde(skip)]
    pooled: Latencies,
}

/// Figures of the repetitions. A delivery is an event that a member received; *owed* is an event times a member, whether it
/// came or a newer one of the same batch stood for it.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    cpu_us_per_delivery: Option<Spread>,
    cpu_us_per_owed: Option<Spread>,
    /// Ciphertext that the receivers read, records' overhead included.
    wire_bytes_per_delivery: Option<Spread>,
    wire_bytes_per_owed: Option<Spread>,
    wire_bytes_per_frame: Option<Spread>,
    events_per_frame: Option<Spread>,
    frames_per_owed: Option<Spread>,
}

impl Figures {
    /// `value` gives the values of all repetitions of a figure of one.
    fn of(value: impl Fn(&dyn Fn(&Round) -> Option<f64>) -> Vec<f64>) -> Self {
        let spread = |figure: &dyn Fn(&Round) -> Option<f64>| Spread::of(value(figure));
        let owed = |round: &Round| round.deliveries as f64 / (round.deliveries + round.collapsed).max(1) as f64;
        Self {
            cpu_us_per_delivery: spread(&|round| round.cpu_us_per_delivery),
            cpu_us_per_owed: spread(&|round| Some(round.cpu_us_per_delivery? * owed(round))),
            wire_bytes_per_delivery: spread(&|round| Some(round.wire_bytes_per_delivery)),
            wire_bytes_per_owed: spread(&|round| Some(round.wire_bytes_per_delivery * owed(round))),
            wire_bytes_per_frame: spread(&|round| Some(round.wire_bytes_per_delivery / round.frames_per_delivery)),
            events_per_frame: spread(&|round| Some(1.0 / round.frames_per_delivery)),
            frames_per_owed: spread(&|round| Some(round.frames_per_delivery * owed(round))),
        }
    }
}

impl Side {
    pub(super) fn of(window_ms: u64, rounds: Vec<Round>, pooled: Latencies) -> Self {
        let figures = Figures::of(|figure| rounds.iter().filter_map(figure).collect());
        Self { window_ms, figures, latency: pooled.percentiles(), rounds, pooled }
    }
}

impl Pass {
    pub(super) fn of(agreed_suite: String, agreed_deflate: bool, window: Side, none: Side) -> Self {
        let ratio = Figures::of(|figure| {
            let pairs = window.rounds.iter().zip(&none.rounds);
            pairs.filter_map(|(with, without)| Some(figure(with)? / figure(without)?)).collect()
        });
        Self { agreed_suite, agreed_deflate, window, none, ratio }
    }
}

/// The rows for `docs/BENCHMARKS.md`: for each pass the two windows, and their ratio.
pub(super) fn row(outcome: &Outcome) -> Row {
    let rows = outcome.passes.iter().flat_map(|pass| {
        let kind = if pass.agreed_deflate { "compressed" } else { "plain" };
        let side = |side: &Side| {
            let window = format!("{} ms", side.window_ms);
            let counts = |count: fn(&Round) -> u64| thousands(side.rounds.iter().map(count).sum::<u64>());
            let Percentiles { p50, p95, p99, max, .. } = side.latency;
            let latency = format!("{p50:.1} {p95:.1} {p99:.1} {max:.1}");
            let events = (counts(|round| round.deliveries), counts(|round| round.collapsed));
            line(outcome, kind, window, events, &side.figures, [1, 0], latency)
        };
        let ratio = line(outcome, kind, "ratio".to_owned(), ("-".into(), "-".into()), &pass.ratio, [2, 2], "-".into());
        [side(&pass.window), side(&pass.none), ratio]
    });
    rows.reduce(Row::above).unwrap_or_default()
}

/// `digits`: of what is near 1, and of bytes.
fn line(
    outcome: &Outcome,
    kind: &str,
    window: String,
    (deliveries, collapsed): (String, String),
    figures: &Figures,
    [digits, of_bytes]: [usize; 2],
    latency: String,
) -> Row {
    let told = |value: &Option<Spread>, digits| value.as_ref().map_or_else(|| "-".to_owned(), |s| spread(s, digits));
    Row::default()
        .cell("members, trips", format!("{}, {}", thousands(outcome.connections as u64), thousands(outcome.trips)))
        .cell("events", format!("{} B, {kind}, {}/s", outcome.event_bytes, outcome.rate))
        .cell("window", window)
        .cell("deliveries", deliveries)
        .cell("collapsed", collapsed)
        .cell("events/frame", told(&figures.events_per_frame, digits))
        .cell("bytes/frame", told(&figures.wire_bytes_per_frame, of_bytes))
        .cell("bytes/delivery", told(&figures.wire_bytes_per_delivery, of_bytes))
        .cell("bytes/owed", told(&figures.wire_bytes_per_owed, of_bytes))
        .cell("CPU us/delivery", told(&figures.cpu_us_per_delivery, 2))
        .cell("CPU us/owed", told(&figures.cpu_us_per_owed, 2))
        .cell("publish to receive ms, p50 p95 p99 max", latency)
}

/// The plot.
pub(super) fn plot(outcome: &Outcome) -> Plot {
    let mut plot = Plot {
        title: format!(
            "{} members of {} trips over Redis",
            thousands(outcome.connections as u64),
            thousands(outcome.trips)
        ),
        bars_title: "CPU per event and member (us)".to_owned(),
        curves_title: "publish to receive (ms)".to_owned(),
        ..Plot::default()
    };
    for pass in &outcome.passes {
        let kind = if pass.agreed_deflate { "compressed" } else { "plain" };
        for side in [&pass.window, &pass.none] {
            let name = format!("{kind}, {} ms", side.window_ms);
            let owed =
                |round: &Round| Some(round.cpu_seconds? * 1e6 / (round.deliveries + round.collapsed).max(1) as f64);
            plot.bars.push((name.clone(), side.rounds.iter().filter_map(owed).collect()));
            plot.curves.push((name, side.pooled.curve()));
        }
    }
    plot
}
