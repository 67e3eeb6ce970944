//! How many bytes cross the ocean for rooms with members in a region: behind one edge, and spread over several.

use std::time::Duration;

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
    ocean::Crossed,
    scenario::{progress::bar, schedule::Schedule},
};

/// The most bytes across with several edges, over those with one.
pub(super) const BAR: f64 = 1.05;

/// The first room's number; each case has rooms of its own.
const FIRST_ROOM: u32 = 100_000;

/// What is sent, and to how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) schedule: Schedule,
    pub(super) recipe: Recipe,
    pub(super) rooms: u32,
    /// Members of each room in the region.
    pub(super) members: usize,
    /// Edges of the second case.
    pub(super) edges: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Copies {
    pub(super) rooms: u32,
    pub(super) members_of_a_room: usize,
    /// Links that do nothing but say that they stand, for as long as each case took.
    idle: Crossed,
    pub(super) one: Bytes,
    pub(super) several: Bytes,
    /// Bytes towards the region with several edges over those with one, as they were counted.
    pub(super) ratio: f64,
}

/// What crossed for a number of edges.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Bytes {
    pub(super) edges: usize,
    events: u64,
    deliveries: u64,
    crossed: Crossed,
    /// Towards the region, over the events.
    pub(super) bytes_an_event: f64,
    /// Of all relays of the region, over the events.
    pub(super) relays_cpu_us_an_event: f64,
}

impl Bytes {
    fn ratio_to(&self, one: &Self) -> f64 {
        self.bytes_an_event / one.bytes_an_event
    }
}

/// Measures the first region of a tree. Needs a `LocalSet`.
pub(super) async fn measure(plan: &Plan, tree: &mut Tree) -> Result<Copies, BenchError> {
    while tree.regions.first().is_some_and(|region| region.edges.len() < plan.edges) {
        tree.another_edge(0).await?;
    }
    let Some(region) = tree.regions.first() else { return Err(BenchError::Protocol("no region".to_owned())) };
    let before = region.ocean.crossed();
    tokio::time::sleep(Duration::from_secs_f64(plan.schedule.seconds)).await;
    let idle = region.ocean.crossed().since(before);
    let (one, several) =
        (region.edges.get(..1).unwrap_or_default(), region.edges.get(..plan.edges).unwrap_or_default());
    let one = case(plan, tree, one, FIRST_ROOM, 20).await?;
    let several = case(plan, tree, several, FIRST_ROOM + plan.rooms, 40).await?;
    let (rooms, members_of_a_room) = (plan.rooms, plan.members);
    Ok(Copies { rooms, members_of_a_room, idle, one, several, ratio: several.ratio_to(&one) })
}

/// Members on these edges of the first region, and events from home.
async fn case(plan: &Plan, tree: &Tree, edges: &[Placed], first_room: u32, source: u8) -> Result<Bytes, BenchError> {
    let (Some(home), Some(region)) = (tree.homes.first(), tree.regions.first()) else {
        return Err(BenchError::Protocol("neither home nor region".to_owned()));
    };
    let progress = bar(&format!("bytes, {} edges", edges.len()), 1);
    let seats = Seats { first_room, rooms: plan.rooms, members: plan.members / edges.len().max(1) };
    let mut crowd = Crowd::gather(edges, seats, plan.recipe, source, &progress).await?;
    crowd.begin().await?;
    let mut posts = Posts::open(&home.pod, 4).await?;
    progress.set_length(plan.schedule.events());
    progress.set_position(0);
    let (before, cpu) = (region.ocean.crossed(), cpu(&region.relays)?);
    plan.schedule
        .keep(&progress, async |n| {
            let room = first_room + u32::try_from(n % u64::from(plan.rooms)).unwrap_or(0);
            posts.post(room, room_name(room), plan.recipe.data(room, Stamp { n, t: clock::now() }));
            Ok(())
        })
        .await?;
    let ends = posts.ends().await?;
    let received = crowd.finish(&ends).await?;
    let (crossed, cpu) = (region.ocean.crossed().since(before), self::cpu(&region.relays)?.saturating_sub(cpu));
    progress.finish_and_clear();
    let events = ends.deliveries(|_| 1);
    let over = |value: f64| value / events.max(1) as f64;
    Ok(Bytes {
        edges: edges.len(),
        events,
        deliveries: received.deliveries,
        crossed,
        bytes_an_event: over(crossed.region as f64),
        relays_cpu_us_an_event: over(cpu as f64 / 1e3),
    })
}

/// The processor time of all of them, in nanoseconds.
fn cpu(pods: &[Placed]) -> Result<u64, BenchError> {
    pods.iter().map(|placed| placed.pod.process()?.cpu()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_of_bytes_towards_the_region() {
        let bytes = |edges, bytes_an_event| Bytes {
            edges,
            events: 10,
            deliveries: 10,
            crossed: Crossed { home: 999, region: 0 },
            bytes_an_event,
            relays_cpu_us_an_event: 1.0,
        };
        assert!((bytes(4, 1_030.0).ratio_to(&bytes(1, 1_000.0)) - 1.03).abs() < 1e-9);
        assert!(bytes(4, 4_000.0).ratio_to(&bytes(1, 1_000.0)) > BAR);
    }
}
