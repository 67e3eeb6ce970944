//! Three pods that share a Redis Cluster.
//!
//! One run starts everything, measures one thing after another, and kills a master at the end.

use clap::Args;
use serde::Serialize;
use tokio::task::LocalSet;

use super::{
    progress::bar,
    schedule::Schedule,
    servers::Servers,
    window::{Ends, PATIENCE},
};
use crate::{
    arguments::{OutputArgs, PodArgs},
    audience::Audience,
    clock,
    content::{Recipe, Stamp},
    dialect::room_name,
    error::BenchError,
    guests::Guests,
    plot::Plot,
    pod::Pod,
    receiver::control::{Join, Target},
    report::{self, Row, spread, thousands},
    stats::{Latencies, Percentiles},
    transport::Transport,
};

mod joining;
mod kill;
mod rates;

use joining::Joining;
use kill::Kill;
use rates::{Measured, Rates};

/// The directories of the pods' logs: the first is published through, the others are listened to.
const PODS: [&str; 3] = ["fleet-a", "fleet-b", "fleet-c"];

/// Three pods over a real Redis Cluster of three masters and three replicas: from pod to pod, publishes a second beside
/// bare Redis, joining many rooms, and what a killed master does to the rooms of the others. See bench/README.md.
#[derive(Debug, Args)]
pub(crate) struct FleetArgs {
    /// How long events go from pod to pod; each round of publishing as fast as possible takes a fifth of it
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    seconds: f64,
    /// The rooms that events go to from pod to pod; one member each on two pods
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=5_000))]
    rooms: u32,
    /// Events a second from pod to pod, over all rooms
    #[arg(long, default_value_t = 200.0, value_name = "EVENTS")]
    rate: f64,
    /// Calls under way while publishing as fast as possible, and commands to bare Redis
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u16).range(3..=1_000))]
    callers: u16,
    /// Repetitions of publishing as fast as possible, the cases in turns
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    repetitions: u16,
    /// The rooms to join, 100 on a connection
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    joins: u32,
    /// The size of an event's data, in bytes
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    size: usize,
    /// One Redis server alone instead of a cluster; none is killed
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
    across: Across,
    rates: Rates,
    joining: Joining,
    /// Not where there is one server.
    kill: Option<Kill>,
    #[serde(skip)]
    latency: Latencies,
}

/// Through one pod to members on the others.
#[derive(Debug, Serialize)]
struct Across {
    rooms: u32,
    rate: f64,
    events: u64,
    deliveries: u64,
    /// Publish to receive, in milliseconds.
    latency: Percentiles,
    publisher_late_ms: f64,
}

/// Runs it.
pub(crate) async fn run(args: &FleetArgs) -> Result<(), BenchError> {
    args.pod.must_start("pods")?;
    let (schedule, recipe) = (Schedule::new(args.rate, args.seconds)?, Recipe::of("--size", args.size)?);
    let out = report::directory(&args.output)?;
    let servers = if args.one_server { Servers::start_one().await? } else { Servers::start().await? };
    let own = args.pod.with([format!("--redis={}", servers.url())]);
    let guests = Guests::from(args.joins as usize / 100 + args.rooms as usize);
    let mut pods = Vec::new();
    for name in PODS {
        pods.push(Pod::open(&own, guests, &report::directory_in(&out, name)?).await?);
    }
    let measured = LocalSet::new().run_until(measure(args, schedule, recipe, &servers, &mut pods)).await;
    let outcome = measured.map_err(|error| Pod::explain_all(&mut pods, error))?;
    report::write("fleet", &args.output, &outcome, &row(&outcome), &plot(&outcome))
}

async fn measure(
    args: &FleetArgs,
    schedule: Schedule,
    recipe: Recipe,
    servers: &Servers,
    pods: &mut [Pod],
) -> Result<Outcome, BenchError> {
    let (across, latency) = across(args, schedule, recipe, pods).await?;
    let seconds = args.seconds / 5.0;
    let plan = rates::Plan { callers: args.callers, recipe, seconds, repetitions: args.repetitions };
    let rates = rates::measure(&plan, servers, pods).await?;
    let joining = match pods {
        [other, pod, ..] => joining::measure(args.joins as usize, recipe, pod, other).await?,
        _ => return Err(BenchError::Protocol("too few pods".to_owned())),
    };
    let kill = if args.one_server { None } else { Some(kill::measure(recipe, servers, pods).await?) };
    let workers = args.pod.workers();
    Ok(Outcome { event_bytes: args.size, workers, across, rates, joining, kill, latency })
}

/// Publishes through the first pod; a member of each room on each other pod must get everything.
async fn across(
    args: &FleetArgs,
    schedule: Schedule,
    recipe: Recipe,
    pods: &mut [Pod],
) -> Result<(Across, Latencies), BenchError> {
    let [first, others @ ..] = pods else { return Err(BenchError::Protocol("no pods".to_owned())) };
    let progress = bar("publishing", schedule.events());
    let mut audiences = Vec::new();
    for (pod, source) in others.iter().zip([1, 100]) {
        let mut audience = Audience::start(Transport::Websocket, 1, source)?;
        let join = Join { connections: args.rooms as usize, rooms: args.rooms, ..pod.join(recipe, true) };
        audience.join(&join, &progress).await?;
        audience.begin(Target::Pod).await?;
        audiences.push(audience);
    }
    progress.set_length(schedule.events());
    progress.set_position(0);
    let mut ends = Ends::default();
    let publisher_late_ms = schedule
        .keep(&progress, async |n| {
            let room = u32::try_from(n % u64::from(args.rooms)).unwrap_or(0);
            let data = recipe.data(room, Stamp { n, t: clock::now() });
            ends.published(room, first.publisher.publish(&room_name(room), &data).await?);
            Ok(())
        })
        .await?;
    let (mut latency, mut deliveries) = (Latencies::new(), 0);
    for audience in &mut audiences {
        let received = audience.finish(Target::Pod, ends.offsets(), PATIENCE, false).await?;
        received.check(ends.deliveries(|_| 1))?;
        latency.add(&received.latency);
        deliveries += received.deliveries;
    }
    progress.finish_and_clear();
    let (rooms, rate, events) = (args.rooms, args.rate, schedule.events());
    let across = Across { rooms, rate, events, deliveries, latency: latency.percentiles(), publisher_late_ms };
    Ok((across, latency))
}

fn row(outcome: &Outcome) -> Row {
    let line = |what: String, measured: String| {
        let empty = |row: Row, head| row.cell(head, "");
        HEADS.into_iter().fold(Row::default().cell("", what).cell("measured", measured), empty)
    };
    let Outcome { across, joining, kill, .. } = outcome;
    let latency = &across.latency;
    let first = line(
        format!("pod to pod, {} events/s in {} rooms, ms, p50 p99 max", across.rate, across.rooms),
        format!("{:.1} {:.1} {:.1}", latency.p50, latency.p99, latency.max),
    );
    let mut rest = vec![line(
        format!("seconds to join {} rooms", thousands(joining.rooms as u64)),
        format!("{:.2}", joining.seconds),
    )];
    if let Some(kill) = kill {
        rest.extend([
            line("longest gap before the kill, ms".to_owned(), format!("{:.0}", kill.before_gap_ms)),
            line(
                "longest gap across the kill, rooms of other masters, ms".to_owned(),
                format!("{:.0}", kill.others_gap_ms),
            ),
            line("silence of the dead master's rooms, ms".to_owned(), format!("{:.0}", kill.dead_silence_ms)),
        ]);
    }
    outcome.rates.cases.iter().map(rate_row).chain(rest).fold(first, Row::above)
}

/// The columns that only rates have.
const HEADS: [&str; 7] = [
    "to SPUBLISH",
    "to XADD",
    "Redis' CPU, ms per 1,000 events",
    "to PUBLISH",
    "CPU to XADD",
    "events a call",
    "pods' CPU, ms per 1,000 events",
];

fn rate_row(measured: &Measured) -> Row {
    let pods = |text: String| if measured.case.has_pods() { text } else { String::new() };
    let values = [
        spread(&measured.to_spublish, 2),
        spread(&measured.to_xadd, 2),
        spread(&measured.redis_cpu_ms_per_1000, 1),
        spread(&measured.cpu_to_publish, 2),
        spread(&measured.cpu_to_xadd, 2),
        pods(spread(&measured.events_a_call, 1)),
        pods(spread(&measured.pods_cpu_ms_per_1000, 1)),
    ];
    let row = Row::default()
        .cell("", format!("{}, events/s", measured.case.name()))
        .cell("measured", spread(&measured.per_second, 0));
    HEADS.into_iter().zip(values).fold(row, |row, (head, value)| row.cell(head, value))
}

fn plot(outcome: &Outcome) -> Plot {
    let bars = outcome.rates.cases.iter();
    Plot {
        title: "three pods over a Redis Cluster".to_owned(),
        bars_title: "Redis' CPU per 1,000 events (ms)".to_owned(),
        bars: bars.map(|m| (m.case.short().to_owned(), vec![m.redis_cpu_ms_per_1000.median])).collect(),
        curves_title: "publish through one pod to receive on another (ms)".to_owned(),
        curves: vec![("all rooms".to_owned(), outcome.latency.curve())],
    }
}
