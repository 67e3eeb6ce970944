//! A home over Redis and regions beyond an ocean: what edges and relays add to the way, and how often an event crosses it.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use tokio::task::LocalSet;

use super::schedule::Schedule;
use crate::{
    arguments::{OutputArgs, PodArgs},
    content::Recipe,
    error::BenchError,
    guests::Guests,
    report,
};

mod across;
mod copies;
mod crowd;
mod faults;
mod followed;
mod posts;
mod table;
mod tree;
mod watch;

use across::Across;
use copies::Copies;
use crowd::Seats;
use faults::Faulted;
use followed::Followed;
use tree::{Ground, Shape, Tree};

/// A part of the scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Latencies from home and from an edge
    Across,
    /// Bytes across the ocean, with several edges against one
    Copies,
    /// An edge that follows many rooms, beside a pod on Redis
    Follow,
    /// Links that are cut, and pods that are killed
    Faults,
}

/// A home over a real Redis Cluster, and regions with relays and edges, each beyond a proxy that delays, counts and cuts: what is added to
/// the way, one copy of an event across the ocean, what following many rooms costs, and what is lost when links and pods fail: nothing. Bars
/// that are missed fail the run. See bench/README.md.
#[derive(Debug, Args)]
pub(crate) struct EdgesArgs {
    /// What is measured; repeat it for more [default: all]
    #[arg(long, value_enum, value_name = "PART")]
    part: Vec<Part>,
    /// Pods of the home
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=8))]
    homes: u16,
    /// Regions
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16))]
    regions: u16,
    /// Relays of each region
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=8))]
    relays: u16,
    /// Edges of each region
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=8))]
    edges: u16,
    /// How long an ocean takes, one way; the regions take these in turn
    #[arg(long, default_value = "80,40", value_delimiter = ',', value_name = "MS")]
    delay: Vec<u64>,
    /// Events a second, over all rooms
    #[arg(long, default_value_t = 200.0, value_name = "EVENTS")]
    rate: f64,
    /// How long each measurement publishes
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    seconds: f64,
    /// The rooms that events go to
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rooms: u32,
    /// Members of each room on each pod of the home and each edge; for bytes on one edge, and spread over several
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    members: u16,
    /// Members of each room of one region, for bytes: on one edge, then spread over --most-edges
    #[arg(long, default_value_t = 40, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    crowd: u16,
    /// Edges of the first region, for bytes, which are compared with one
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=16))]
    most_edges: u16,
    /// The rooms that an edge follows beside a pod on Redis
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(100..=100_000))]
    follow: u32,
    /// Events a second to the rooms that are followed
    #[arg(long, default_value_t = 1_000.0, value_name = "EVENTS")]
    follow_rate: f64,
    /// How long each direction of a link is cut
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    cut: f64,
    /// The size of an event's data, in bytes
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    size: usize,
    /// One Redis server alone instead of a cluster
    #[arg(long)]
    one_server: bool,
    #[command(flatten)]
    pod: PodArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
struct Outcome {
    event_bytes: usize,
    workers: usize,
    homes: u16,
    delays_ms: Vec<u64>,
    relays: u16,
    edges: u16,
    /// None of the following where it was not asked for.
    across: Option<Across>,
    copies: Option<Copies>,
    followed: Option<Followed>,
    faulted: Option<Faulted>,
    /// The bars that were missed, each as a sentence.
    missed: Vec<String>,
}

/// Runs it.
pub(crate) async fn run(args: &EdgesArgs) -> Result<(), BenchError> {
    check(args)?;
    let schedule = Schedule::new(args.rate, args.seconds)?;
    let recipe = Recipe::of("--size", args.size)?;
    let (across, copies, followed, faulted) = LocalSet::new().run_until(measure(args, schedule, recipe)).await?;
    let mut outcome = Outcome {
        event_bytes: args.size,
        workers: args.pod.workers(),
        homes: args.homes,
        delays_ms: delays(args).map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)).collect(),
        relays: args.relays,
        edges: args.edges,
        across,
        copies,
        followed,
        faulted,
        missed: Vec::new(),
    };
    outcome.missed = table::missed(&outcome);
    report::write("edge", &args.output, &outcome, &table::row(&outcome), &table::plot(&outcome))?;
    if let Some(faulted) = outcome.faulted.as_ref().filter(|faulted| !faulted.is_clean()) {
        return Err(BenchError::Faults(format!("{faulted:?}")));
    }
    report::judge(outcome.missed.is_empty(), || outcome.missed.join("; "))
}

fn check(args: &EdgesArgs) -> Result<(), BenchError> {
    args.pod.must_start("pods")?;
    let refused = |is_so: bool, why: String| if is_so { Err(BenchError::Usage(why)) } else { Ok(()) };
    refused(args.delay.iter().any(|ms| *ms > 10_000), "--delay: at most 10000 ms".to_owned())?;
    refused(!(args.cut > 0.0 && args.cut <= 120.0), format!("--cut {}: above 0 and at most 120 s", args.cut))?;
    refused(
        !args.crowd.is_multiple_of(args.most_edges),
        format!("--crowd {} cannot be spread evenly over --most-edges {}", args.crowd, args.most_edges),
    )?;
    let fewest = (args.rate * args.seconds) as u64;
    refused(fewest < u64::from(args.rooms), format!("{fewest} events are too few for --rooms {}", args.rooms))
}

/// The ocean of each region.
fn delays(args: &EdgesArgs) -> impl Iterator<Item = Duration> {
    args.delay.iter().copied().map(Duration::from_millis).cycle().take(args.regions.into())
}

type Measured = (Option<Across>, Option<Copies>, Option<Followed>, Option<Faulted>);

async fn measure(args: &EdgesArgs, schedule: Schedule, recipe: Recipe) -> Result<Measured, BenchError> {
    let is_asked = |part| args.part.is_empty() || args.part.contains(&part);
    let (mut across, mut copies, mut followed, mut faulted) = (None, None, None, None);
    if is_asked(Part::Across) || is_asked(Part::Copies) {
        let mut tree = start(args, ground(args)?).await?;
        let measured = async {
            if is_asked(Part::Across) {
                let seats = Seats { first_room: 0, rooms: args.rooms, members: args.members.into() };
                across = Some(across::measure(&across::Plan { schedule, recipe, seats }, &tree).await?);
            }
            if is_asked(Part::Copies) {
                let (rooms, members, edges) = (args.rooms, args.crowd.into(), args.most_edges.into());
                copies =
                    Some(copies::measure(&copies::Plan { schedule, recipe, rooms, members, edges }, &mut tree).await?);
            }
            Ok(())
        };
        let measured: Result<(), BenchError> = measured.await;
        measured.map_err(|error| tree.explain(error))?;
    }
    if is_asked(Part::Follow) {
        let rooms = args.follow as usize;
        let plan = followed::Plan { rooms, rate: args.follow_rate, seconds: args.seconds, recipe };
        followed = Some(followed::measure(&plan, &ground(args)?).await?);
    }
    if is_asked(Part::Faults) {
        let mut tree = start(args, ground(args)?.keeping_all()?).await?;
        let plan = faults::Plan { rooms: args.rooms, rate: args.rate, cut: Duration::from_secs_f64(args.cut) };
        faulted = Some(faults::measure(&plan, &mut tree).await.map_err(|error| tree.explain(error))?);
    }
    Ok((across, copies, followed, faulted))
}

async fn start(args: &EdgesArgs, ground: Ground) -> Result<Tree, BenchError> {
    let shape = Shape {
        homes: args.homes.into(),
        delays: delays(args).collect(),
        relays: args.relays.into(),
        edges: args.edges.into(),
        one_server: args.one_server,
    };
    Tree::start(ground, &shape).await
}

fn ground(args: &EdgesArgs) -> Result<Ground, BenchError> {
    let members = usize::from(args.members.max(args.crowd)) * args.rooms as usize;
    Ground::new(&args.pod, Guests::from(members + args.follow as usize / 100 + 100), &report::directory(&args.output)?)
}
