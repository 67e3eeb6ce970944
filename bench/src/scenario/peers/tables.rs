//! The tables of a run, for `docs/BENCHMARKS.md`.

use super::{
    bars::Bar,
    load::{Load, Loads},
    outcome::{Outcome, Stage},
    rates::XADD,
};
use crate::{
    report::{Row, spread},
    stats::Percentiles,
};

/// A row for each peer and load.
pub(super) fn rates(stage: &Stage, loads: &Loads) -> String {
    let floor = stage.cells.iter().find(|cell| cell.who == XADD && cell.load == Load::Callers);
    let rows = stage.cells.iter().map(|cell| {
        let has_own = cell.spread(|round| round.own_cpu_us).max > 0.0;
        let to_floor = floor.and_then(|floor| cell.over(floor, |round| round.redis_cpu_us));
        let calls = cell.spread(|round| round.events_a_call);
        let or_nothing = |is: bool, text: String| if is { text } else { String::new() };
        Row::default()
            .cell("", format!("{}, {}", cell.who, cell.load.name(loads)))
            .cell("events/s", spread(&cell.spread(|round| round.per_second), 0))
            .cell("Redis' CPU us an event", spread(&cell.spread(|round| round.redis_cpu_us), 2))
            .cell("to XADD", to_floor.map_or_else(String::new, |ratio| spread(&ratio, 2)))
            .cell("events a call", or_nothing(calls.max > 0.0, format!("{:.1}", calls.median)))
            .cell("own CPU us an event", or_nothing(has_own, spread(&cell.spread(|round| round.own_cpu_us), 1)))
    });
    rows.reduce(Row::above).unwrap_or_default().markdown()
}

/// A row for each peer.
pub(super) fn slow(stage: &Stage) -> String {
    let times = |times: &Percentiles| format!("{:.2} {:.2} {:.2}", times.p50, times.p99, times.max);
    let rows = stage.slow.iter().zip(&stage.resident_mib).map(|(slow, (_, mib))| {
        Row::default()
            .cell("", slow.who.clone())
            .cell("publish to answer, ms, p50 p99 max", times(&slow.answered))
            .cell("publish to receive", times(&slow.received))
            .cell("resident at the end, MiB", format!("{mib:.0}"))
    });
    rows.reduce(Row::above).unwrap_or_default().markdown()
}

/// A row for each bar.
pub(super) fn bars(stage: &Stage) -> String {
    stage.bars.iter().map(bar).reduce(Row::above).unwrap_or_default().markdown()
}

fn bar(bar: &Bar) -> Row {
    Row::default()
        .cell("ratio", bar.what.clone())
        .cell("measured", spread(&bar.ratio, 2))
        .cell("bar", bar.bound.to_string())
        .cell("", if bar.is_kept() { "kept" } else { "MISSED" })
}

/// How many bars each stage keeps.
pub(super) fn summary(outcome: &Outcome) -> Row {
    let rows = outcome.stages.iter().map(|stage| {
        let kept = stage.bars.iter().filter(|bar| bar.is_kept()).count();
        Row::default()
            .cell("Redis", format!("{:?}", stage.over))
            .cell("bars kept", format!("{kept} of {}", stage.bars.len()))
            .cell("idle Redis, ms of CPU a second", format!("{:.1}", stage.idle_redis_ms_per_second))
    });
    let shapes = || Row::default().cell("shapes of the broadcast", outcome.field.len().to_string());
    rows.reduce(Row::above).unwrap_or_else(shapes)
}
