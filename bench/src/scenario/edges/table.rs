//! What a run says: the table, the plot, and the bars that were missed.

use super::{
    Outcome,
    across::{Across, EDGE_BAR_MS, HOME_BAR_MS, Reached},
    copies::{self, Copies},
    faults::Faulted,
};
use crate::{
    plot::Plot,
    report::{Row, thousands},
    stats::Percentiles,
};

/// Each bar that was missed, as a sentence.
pub(super) fn missed(outcome: &Outcome) -> Vec<String> {
    let mut missed = Vec::new();
    if let Some(across) = &outcome.across {
        let from_edge = across.from_edge.iter().flat_map(|from| &from.regions);
        for (reached, whence, bar) in (across.from_home.regions.iter().map(|reached| (reached, "home", HOME_BAR_MS)))
            .chain(from_edge.map(|reached| (reached, "an edge", EDGE_BAR_MS)))
        {
            if reached.added.p99_ms > bar {
                missed.push(format!(
                    "from {whence}, over {} ms, {:.1} ms are added at p99, at most {bar} ms are allowed",
                    reached.ways_ms, reached.added.p99_ms
                ));
            }
        }
    }
    if let Some(Copies { several, ratio, .. }) = &outcome.copies
        && *ratio > copies::BAR
    {
        let bar = copies::BAR;
        missed.push(format!(
            "with {} edges {ratio:.3} times the bytes of one cross the ocean, at most {bar} times are allowed",
            several.edges
        ));
    }
    missed
}

/// The table.
pub(super) fn row(outcome: &Outcome) -> Row {
    let mut lines = Vec::new();
    outcome.across.iter().for_each(|across| lines.extend(of_across(across)));
    outcome.copies.iter().for_each(|copies| lines.extend(of_copies(copies)));
    let followed = outcome.followed.iter().flat_map(super::Followed::rows);
    lines.extend(followed.map(|(what, measured)| [what, measured, String::new()]));
    outcome.faulted.iter().for_each(|faulted| lines.extend(of_faults(faulted)));
    let line =
        |[what, measured, bar]: [String; 3]| Row::default().cell("", what).cell("measured", measured).cell("bar", bar);
    let mut lines = lines.into_iter();
    let first = line(lines.next().unwrap_or_default());
    lines.map(line).fold(first, Row::above)
}

fn three(latency: &Percentiles) -> String {
    format!("{:.1} {:.1} {:.1}", latency.p50, latency.p99, latency.max)
}

fn of_across(across: &Across) -> Vec<[String; 3]> {
    let what =
        format!("from home, {} events/s in {} rooms, ms, p50 p99 max: members at home", across.rate, across.rooms);
    let mut lines = vec![[what, three(&across.from_home.home), String::new()]];
    let mut of = |reached: &Reached, what: String, bar: f64| {
        lines.push([what.clone(), three(&reached.latency), String::new()]);
        let added = format!("{:.1} {:.1}", reached.added.p50_ms, reached.added.p99_ms);
        lines.push([format!("{what}: added, p50 p99"), added, format!("p99 {bar}")]);
    };
    for reached in &across.from_home.regions {
        of(reached, format!("from home, members of an edge {} ms away", reached.ways_ms), HOME_BAR_MS);
    }
    for reached in across.from_edge.iter().flat_map(|from| &from.regions) {
        of(
            reached,
            format!("from an edge, members of another region's edge, {} ms away", reached.ways_ms),
            EDGE_BAR_MS,
        );
    }
    lines
}

fn of_copies(copies: &Copies) -> Vec<[String; 3]> {
    let Copies { rooms, members_of_a_room, one, several, ratio, .. } = copies;
    let what = format!(
        "bytes towards a region an event, {rooms} rooms of {members_of_a_room} members: one edge, {} edges",
        several.edges
    );
    vec![
        [what, format!("{:.0} {:.0}", one.bytes_an_event, several.bytes_an_event), String::new()],
        ["ratio".to_owned(), format!("{ratio:.3}"), copies::BAR.to_string()],
        [
            "CPU of the region's relays, us an event: one edge, several".to_owned(),
            format!("{:.0} {:.0}", one.relays_cpu_us_an_event, several.relays_cpu_us_an_event),
            String::new(),
        ],
    ]
}

fn of_faults(faulted: &Faulted) -> Vec<[String; 3]> {
    let steps = faulted.steps.iter();
    let mut lines: Vec<_> = steps
        .map(|step| {
            [format!("{}: until all goes on, ms", step.what), format!("{:.0}", step.recovery_ms), String::new()]
        })
        .collect();
    let what = format!(
        "{} acknowledged events to {} members, {} deliveries: lost, duplicated, reordered, silent gaps",
        thousands(faulted.acknowledged as u64),
        faulted.members,
        thousands(faulted.deliveries as u64)
    );
    let Faulted { lost, duplicated, reordered, silent_gaps, .. } = faulted;
    lines.push([what, format!("{lost} {duplicated} {reordered} {silent_gaps}"), "0 0 0 0".to_owned()]);
    lines
}

/// Bytes of an event, and how long events took.
pub(super) fn plot(outcome: &Outcome) -> Plot {
    let bars = outcome.copies.iter().flat_map(|copies| [&copies.one, &copies.several]);
    Plot {
        title: "a home and regions beyond an ocean".to_owned(),
        bars_title: "bytes an event across the ocean".to_owned(),
        bars: bars.map(|bytes| (format!("{} edges", bytes.edges), vec![bytes.bytes_an_event])).collect(),
        curves_title: "publish at home to receive (ms)".to_owned(),
        curves: outcome.across.iter().flat_map(|across| across.curves.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_parts_misses_nothing() {
        let outcome = Outcome {
            event_bytes: 256,
            workers: 1,
            homes: 2,
            delays_ms: vec![80],
            relays: 2,
            edges: 2,
            across: None,
            copies: None,
            followed: None,
            faulted: None,
            missed: Vec::new(),
        };
        assert!(missed(&outcome).is_empty());
        assert!(row(&outcome).markdown().contains("measured"));
    }
}
