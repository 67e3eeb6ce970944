//! The tables and the plot of the broadcast, for `docs/BENCHMARKS.md`.

use super::{
    field::{Race, Shape, Standing},
    turn::{Figures, Published},
};
use crate::{
    plot::Plot,
    report::{Row, spread, thousands},
    scenario::window::Round,
    stats::Spread,
};

/// A row for each server; below, why some have none.
pub(super) fn race(race: &Race) -> String {
    let Race { connections, rooms, event_bytes, rate, .. } = race;
    let kind = if race.shape == Shape::Plain { "plain" } else { "compressed" };
    let title = format!(
        "{} clients in {}, {event_bytes} B, {kind}, {rate} events/s",
        thousands(*connections as u64),
        if *rooms == 1 { "one room".to_owned() } else { format!("{} rooms", thousands(*rooms)) },
    );
    let rows = race.standings.iter().map(|standing| row(race.shape, standing));
    let table = rows.reduce(Row::above).unwrap_or_default().markdown();
    let mut reasons: Vec<String> = race.standings.iter().filter_map(reason).collect();
    reasons.sort();
    format!("{title}\n{table}{}", reasons.concat())
}

/// Why a row has dashes.
fn reason(standing: &Standing) -> Option<String> {
    let published = standing.rounds.first().and_then(|round| round.published.as_ref());
    let why = match (&standing.cannot, published) {
        (Some(why), _) => why.as_str(),
        (None, Some(Published::Cannot(why))) => *why,
        (None, _) => return None,
    };
    Some(format!("- {}: {why}\n", standing.who))
}

fn figure(standing: &Standing, digits: usize, of: impl Fn(&Figures) -> Option<f64>) -> String {
    let values = if standing.cannot.is_some() { &[] } else { standing.rounds.as_slice() };
    let spread_of = Spread::of(values.iter().filter_map(of));
    spread_of.map_or_else(|| "-".to_owned(), |values| spread(&values, digits))
}

/// The medians of three percentiles.
fn times(standing: &Standing, of: impl Fn(&Figures) -> Option<&Round>) -> String {
    let round = |figures: &Figures, at: fn(&Round) -> f64| of(figures).map(at);
    let median = |at: fn(&Round) -> f64| {
        Spread::of(standing.rounds.iter().filter_map(|figures| round(figures, at))).map(|values| values.median)
    };
    let all =
        [median(|round| round.latency.p50), median(|round| round.latency.p99), median(|round| round.latency.p999)];
    match all {
        [Some(p50), Some(p99), Some(p999)] if standing.cannot.is_none() => format!("{p50:.1} {p99:.1} {p999:.1}"),
        _ => "-".to_owned(),
    }
}

fn row(shape: Shape, standing: &Standing) -> Row {
    let cell = |digits, of: &dyn Fn(&Figures) -> Option<f64>| figure(standing, digits, of);
    let row = Row::default()
        .cell("", standing.who.clone())
        .cell("KiB a connection", cell(1, &|round| Some(round.process_kib)))
        .cell("kernel KiB a socket", cell(1, &|round| round.kernel_kib))
        .cell("connects/s", cell(0, &|round| Some(round.connects_per_second)))
        .cell("CPU us to connect", cell(0, &|round| Some(round.connect_cpu_us)))
        .cell("CPU us a delivery", cell(2, &|round| round.single.cpu_us_per_delivery))
        .cell("bytes a delivery", cell(0, &|round| Some(round.single.wire_bytes_per_delivery)))
        .cell("publish to receive, ms, p50 p99 p99.9", times(standing, |round| Some(&round.single)));
    let row = match shape {
        Shape::Rooms => row,
        Shape::Compressed | Shape::Plain => row
            .cell("bursts of ten: CPU us a delivery", cell(2, &|round| round.bursts.as_ref()?.cpu_us_per_delivery))
            .cell("bytes", cell(0, &|round| Some(round.bursts.as_ref()?.wire_bytes_per_delivery)))
            .cell("ms", times(standing, |round| round.bursts.as_ref())),
    };
    if shape != Shape::Plain {
        return row;
    }
    let published = |of: fn(f64, f64) -> f64| {
        move |round: &Figures| match round.published {
            Some(Published::Rate { per_second, cpu_us }) => Some(of(per_second, cpu_us)),
            Some(Published::Cannot(_)) | None => None,
        }
    };
    row.cell("publishes/s", cell(0, &published(|per_second, _| per_second)))
        .cell("CPU us each", cell(1, &published(|_, cpu_us| cpu_us)))
}

/// The first shape's.
pub(super) fn plot(races: &[Race]) -> Plot {
    let Some(race) = races.first() else { return Plot::default() };
    let able = race.standings.iter().filter(|standing| standing.cannot.is_none());
    let cpu = |standing: &Standing| {
        let rounds = standing.rounds.iter().filter_map(|round| round.single.cpu_us_per_delivery).collect();
        (standing.who.clone(), rounds)
    };
    Plot {
        title: format!("broadcast to {} clients, {:?}", thousands(race.connections as u64), race.shape),
        bars_title: "CPU per delivery (us)".to_owned(),
        bars: able.clone().map(cpu).collect(),
        curves_title: "publish to receive (ms)".to_owned(),
        curves: able.map(|standing| (standing.who.clone(), standing.curve())).collect(),
    }
}
