//! How long an event takes: from home to members there and in each region, and from an edge to members of other regions.

use std::time::Duration;

use indicatif::ProgressBar;
use serde::Serialize;

use super::{
    crowd::{Crowd, Seats},
    posts::Posts,
    tree::{Placed, Tree},
};
use crate::{
    clock,
    content::{Recipe, Stamp},
    dialect::room_name,
    error::BenchError,
    scenario::{progress::bar, schedule::Schedule, window::Ends},
    stats::{Latencies, Percentiles},
};

/// By how much an edge's p99 may be above the home's and the delay, in milliseconds.
pub(super) const HOME_BAR_MS: f64 = 5.0;
/// By how much the p99 from edge to edge may be above two ways, in milliseconds.
pub(super) const EDGE_BAR_MS: f64 = 10.0;

/// What is sent, and to how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) schedule: Schedule,
    pub(super) recipe: Recipe,
    pub(super) seats: Seats,
}

#[derive(Debug, Serialize)]
pub(super) struct Across {
    pub(super) rate: f64,
    pub(super) rooms: u32,
    members_of_a_room_on_a_pod: usize,
    pub(super) from_home: FromHome,
    /// None where there is one region.
    pub(super) from_edge: Option<FromEdge>,
    #[serde(skip)]
    pub(super) curves: Vec<(String, Vec<(f64, f64)>)>,
}

/// Published through the API of a pod of the home.
#[derive(Debug, Serialize)]
pub(super) struct FromHome {
    events: u64,
    /// To members on the home's pods.
    pub(super) home: Percentiles,
    pub(super) regions: Vec<Reached>,
    publisher_late_ms: f64,
}

/// Published through the API of an edge of the first region, to members of the others.
#[derive(Debug, Serialize)]
pub(super) struct FromEdge {
    events: u64,
    pub(super) regions: Vec<Reached>,
    publisher_late_ms: f64,
}

/// What members of a region saw.
#[derive(Debug, Serialize)]
pub(super) struct Reached {
    /// Of the oceans between, in milliseconds.
    pub(super) ways_ms: f64,
    /// Publish to receive.
    pub(super) latency: Percentiles,
    /// What is left of it without the ways and without what it takes at home.
    pub(super) added: Added,
    /// By how much the proxies were later than they should be, which is in the figures above.
    ocean_late: Percentiles,
}

/// What is left of a latency, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Added {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

impl Added {
    /// Without `base`, of the same run, and without the ways.
    fn of(latency: &Percentiles, base: &Percentiles, ways_ms: f64) -> Self {
        Self { p50_ms: latency.p50 - base.p50 - ways_ms, p99_ms: latency.p99 - base.p99 - ways_ms }
    }
}

/// All members, by their places.
struct Places {
    home: Crowd,
    regions: Vec<Crowd>,
}

impl Places {
    /// Counts from now.
    async fn begin(&mut self) -> Result<(), BenchError> {
        for crowd in std::iter::once(&mut self.home).chain(&mut self.regions) {
            crowd.begin().await?;
        }
        Ok(())
    }

    /// Waits until all have everything. What members at home and in each region saw.
    async fn finish(&mut self, ends: &Ends) -> Result<(Latencies, Vec<Latencies>), BenchError> {
        let at_home = self.home.finish(ends).await?.latency;
        let mut in_regions = Vec::new();
        for crowd in &mut self.regions {
            in_regions.push(crowd.finish(ends).await?.latency);
        }
        Ok((at_home, in_regions))
    }
}

/// Measures both. Needs a `LocalSet`.
pub(super) async fn measure(plan: &Plan, tree: &Tree) -> Result<Across, BenchError> {
    let progress = bar("connecting", 1);
    let home = Crowd::gather(&tree.homes, plan.seats, plan.recipe, 1, &progress).await?;
    let mut places = Places { home, regions: Vec::new() };
    for (region, source) in tree.regions.iter().zip(2..) {
        places.regions.push(Crowd::gather(&region.edges, plan.seats, plan.recipe, source, &progress).await?);
    }
    let mut curves = Vec::new();
    progress.set_message("from home");
    let (at_home, in_regions, ends, publisher_late_ms) =
        publish(plan, first(&tree.homes)?, &mut places, tree, &progress).await?;
    curves.push(("home".to_owned(), at_home.curve()));
    let home = at_home.percentiles();
    let events = ends.deliveries(|_| 1);
    let regions = tree.regions.iter().zip(&in_regions).map(|(region, latency)| {
        curves.push((format!("{} ms away", region.ocean.delay().as_millis()), latency.curve()));
        let (latency, ways_ms) = (latency.percentiles(), milliseconds(region.ocean.delay()));
        Reached { ways_ms, latency, added: Added::of(&latency, &home, ways_ms), ocean_late: region.ocean.late() }
    });
    let from_home = FromHome { events, home, regions: regions.collect(), publisher_late_ms };
    let from_edge = match tree.regions.as_slice() {
        [own, others @ ..] if !others.is_empty() => {
            progress.set_message("from an edge");
            let (_, in_regions, ends, publisher_late_ms) =
                publish(plan, first(&own.edges)?, &mut places, tree, &progress).await?;
            let own_late = own.ocean.late();
            let regions = others.iter().zip(in_regions.iter().skip(1)).map(|(region, latency)| {
                let (latency, other_late) = (latency.percentiles(), region.ocean.late());
                let ways_ms = milliseconds(own.ocean.delay() + region.ocean.delay());
                let ocean_late = if other_late.p99 > own_late.p99 { other_late } else { own_late };
                Reached { ways_ms, latency, added: Added::of(&latency, &Percentiles::default(), ways_ms), ocean_late }
            });
            Some(FromEdge { events: ends.deliveries(|_| 1), regions: regions.collect(), publisher_late_ms })
        }
        _ => None,
    };
    progress.finish_and_clear();
    let Seats { rooms, members, .. } = plan.seats;
    let rate = plan.schedule.rate;
    Ok(Across { rate, rooms, members_of_a_room_on_a_pod: members, from_home, from_edge, curves })
}

/// Publishes through one pod. What members at home and in each region saw, what was published, and by how much the publisher was late.
async fn publish(
    plan: &Plan,
    through: &Placed,
    places: &mut Places,
    tree: &Tree,
    progress: &ProgressBar,
) -> Result<(Latencies, Vec<Latencies>, Ends, f64), BenchError> {
    progress.set_length(plan.schedule.events());
    progress.set_position(0);
    // The first events to a room open connections and make its log, which is another figure.
    places.begin().await?;
    let mut posts = Posts::open(&through.pod, under_way(plan.schedule.rate, tree)).await?;
    for room in 0..plan.seats.rooms {
        posts.post(room, room_name(room), plan.recipe.data(room, Stamp { n: 0, t: clock::now() }));
    }
    places.finish(&posts.ends().await?).await?;
    places.begin().await?;
    for region in &tree.regions {
        let _before = region.ocean.late();
    }
    let mut posts = Posts::open(&through.pod, under_way(plan.schedule.rate, tree)).await?;
    let late = plan
        .schedule
        .keep(progress, async |n| {
            let room = u32::try_from(n % u64::from(plan.seats.rooms)).unwrap_or(0);
            posts.post(room, room_name(room), plan.recipe.data(room, Stamp { n, t: clock::now() }));
            Ok(())
        })
        .await?;
    let ends = posts.ends().await?;
    let (at_home, in_regions) = places.finish(&ends).await?;
    Ok((at_home, in_regions, ends, late))
}

fn first(pods: &[Placed]) -> Result<&Placed, BenchError> {
    pods.first().ok_or_else(|| BenchError::Protocol("a place has no pods".to_owned()))
}

/// About how many publishes are under way at one time: each takes the longest way and back.
fn under_way(rate: f64, tree: &Tree) -> usize {
    let longest = tree.regions.iter().map(|region| region.ocean.delay()).max().unwrap_or_default();
    ((rate * (longest.as_secs_f64() * 2.0 + 0.1)) as usize).clamp(4, 1_000)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_what_neither_the_ways_nor_the_home_explain() {
        let latency = |p50, p99| Percentiles { p50, p99, ..Percentiles::default() };
        let added = Added::of(&latency(83.0, 91.0), &latency(2.0, 8.0), 80.0);
        assert_eq!(added, Added { p50_ms: 1.0, p99_ms: 3.0 });
        let between = Added::of(&latency(125.0, 128.5), &Percentiles::default(), 120.0);
        assert_eq!(between, Added { p50_ms: 5.0, p99_ms: 8.5 });
        // A home that is slow beside a region that is not: less than nothing, and that is said.
        assert_eq!(Added::of(&latency(81.0, 82.0), &latency(2.0, 9.0), 80.0), Added { p50_ms: -1.0, p99_ms: -7.0 });
    }
}
