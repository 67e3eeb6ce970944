//! Many rooms.

use clap::Args;
use serde::Serialize;

use super::{
    progress::bar,
    schedule::Schedule,
    window::{Round, Window, members},
};
use crate::{
    arguments::{LoadArgs, OutputArgs, PodArgs},
    audience::Audience,
    clock,
    content::{Recipe, Stamp},
    dialect::room_name,
    error::BenchError,
    plot::Plot,
    pod::Pod,
    receiver::control::{Join, Target},
    report::{self, Row, thousands},
    stats::Latencies,
};

/// Spreads the receivers evenly over the rooms and publishes to the rooms in turn: the cost where few receivers share a
/// frame. See bench/README.md.
#[derive(Debug, Args)]
pub(crate) struct RoomsArgs {
    /// How many receivers there are
    #[arg(long, default_value_t = 5_000, value_name = "N")]
    connections: usize,
    /// Over how many rooms they are spread
    #[arg(long, default_value_t = 500, value_name = "N")]
    rooms: u32,
    /// Events a second, over all rooms
    #[arg(long, default_value_t = 500.0, value_name = "EVENTS")]
    rate: f64,
    /// How long it publishes
    #[arg(long, default_value_t = 20.0, value_name = "SECONDS")]
    seconds: f64,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    pod: PodArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
struct Outcome {
    connections: usize,
    rooms: u32,
    rate: f64,
    size: usize,
    deflate: bool,
    workers: usize,
    round: Round,
    #[serde(skip)]
    latency: Latencies,
}

/// Runs it.
pub(crate) async fn run(args: &RoomsArgs) -> Result<(), BenchError> {
    let (schedule, recipe) = (Schedule::new(args.rate, args.seconds)?, args.load.recipe()?);
    let guests = args.load.guests(args.connections);
    let measure = async |pod: &mut Pod| measure(args, schedule, recipe, pod).await;
    let outcome = Pod::measured(&args.pod, guests, &args.output, measure).await?;
    report::write("rooms", &args.output, &outcome, &row(&outcome), &plot(&outcome))
}

fn row(outcome: &Outcome) -> Row {
    let round = &outcome.round;
    Row::default()
        .cell("receivers", thousands(outcome.connections as u64))
        .cell("rooms", thousands(outcome.rooms))
        .cell("events/s", format!("{}", outcome.rate))
        .cell("deliveries/s", thousands(round.deliveries_per_second as u64))
        .cell("CPU us/delivery", round.cpu_us_per_delivery.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.2}")))
        .cell(
            "publish to receive ms, p50 p99 p99.9 max",
            format!(
                "{:.1} {:.1} {:.1} {:.1}",
                round.latency.p50, round.latency.p99, round.latency.p999, round.latency.max
            ),
        )
        .cell("bytes/delivery", format!("{:.0}", round.wire_bytes_per_delivery))
}

fn plot(outcome: &Outcome) -> Plot {
    Plot {
        title: format!("{} receivers in {} rooms", thousands(outcome.connections as u64), thousands(outcome.rooms)),
        bars_title: "CPU per delivery (us)".to_owned(),
        bars: vec![("pod".to_owned(), outcome.round.cpu_us_per_delivery.into_iter().collect())],
        curves_title: "publish to receive (ms)".to_owned(),
        curves: vec![("all rooms".to_owned(), outcome.latency.curve())],
    }
}

async fn measure(args: &RoomsArgs, schedule: Schedule, recipe: Recipe, pod: &mut Pod) -> Result<Outcome, BenchError> {
    let (connections, rooms) = (args.connections.max(1), args.rooms.max(1));
    let deflate = args.load.deflate();
    let mut audience = Audience::start(args.load.transport, args.load.processes(connections), 1)?;
    let progress = bar("connecting", 1);
    audience.join(&Join { connections, rooms, ..pod.join(recipe, deflate) }, &progress).await?;

    progress.set_message("publishing");
    let window = Window::begin(&mut audience, Target::Pod, pod.process).await?;
    let send = async |n| {
        let room = u32::try_from(n % u64::from(rooms)).unwrap_or(0);
        let data = recipe.data(room, Stamp { n, t: clock::now() });
        Ok((room, pod.publisher.publish(&room_name(room), &data).await?))
    };
    let members = |room| members(connections, rooms, room);
    let (round, received) = window.publish(&mut audience, schedule, &progress, members, send).await?;
    progress.finish_and_clear();
    Ok(Outcome {
        connections,
        rooms,
        rate: args.rate,
        size: recipe.size,
        deflate,
        workers: pod.workers,
        round,
        latency: received.latency,
    })
}
