//! One room, many receivers, and the floor beside it.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use indicatif::ProgressBar;

use super::{
    progress::bar,
    schedule::Schedule,
    window::{PATIENCE, Round, Window},
};
use crate::{
    arguments::{LoadArgs, OutputArgs, PodArgs},
    audience::{Audience, Received},
    dialect::Dialect,
    error::BenchError,
    floor::host::Floor,
    pod::Pod,
    process::{self, Process},
    receiver::control::{Agreed, Join, Target},
    report,
    stats::{Latencies, Spread},
    transport::Transport,
};

mod outcome;
mod plan;
mod server;

use outcome::{NATIVE_BAR, Outcome, Side, plot, row, without_pings};
use plan::Plan;
use server::{Room, Server};

/// Publishes to one room and measures, in turns with the floor: five repetitions each over connections that stay. The
/// floor is a server of this program that seals the same bytes by hand and writes them, one write a receiver, with as
/// many threads: nothing with one socket a receiver is cheaper. With `--dialect socketio` as many receivers of the native
/// protocol are in another room of the same pod, and have their turns as well: the run fails if a delivery to Socket.IO
/// costs more than 1.1 times one to them. With `--reference` another build of the pod has its turns instead of these. See
/// bench/README.md.
#[derive(Debug, Args)]
pub(crate) struct BroadcastArgs {
    /// How many receivers the room has
    #[arg(long, default_value_t = 5_000, value_name = "N")]
    connections: usize,
    /// Events a second; keep it so low that the machine is less than half busy, or queues are measured
    #[arg(long, default_value_t = 5.0, value_name = "EVENTS")]
    rate: f64,
    /// How long each repetition publishes
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    seconds: f64,
    /// How many repetitions; the median is reported, with the smallest and the largest
    #[arg(long, default_value_t = 5, value_name = "N")]
    repetitions: usize,
    /// How long it is quiet before the first repetition, to learn what the pod's pings cost, which the floor does not
    /// have; the pod pings after 25 s; 0 leaves it out
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    quiet: f64,
    /// Another build's binary: it runs beside the pod, with as many receivers
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "floor_only"])]
    reference: Option<PathBuf>,
    /// Measure without the floor
    #[arg(long)]
    no_floor: bool,
    /// Measure the floor alone; no pod is needed
    #[arg(long, conflicts_with = "no_floor")]
    floor_only: bool,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    pod: PodArgs,
    #[command(flatten)]
    output: OutputArgs,
}

// What is sent to in turns: the pod's receivers, those of the native protocol beside them if they speak another, the floor, and those of
// another build.
const POD: usize = 0;
const NATIVE: usize = 1;
const FLOOR: usize = 2;
const REFERENCE: usize = 3;

/// Of each audience the first address that it connects from.
const ADDRESSES: u8 = 60;

/// What has been measured of one server so far.
struct Measured<'a> {
    server: Server<'a>,
    audience: Audience,
    agreed: Agreed,
    ping_cpu_us: Option<f64>,
    rounds: Vec<Round>,
    latency: Latencies,
    last: Latencies,
}

/// Runs it.
pub(crate) async fn run(args: &BroadcastArgs) -> Result<(), BenchError> {
    let (connections, threads) = (args.connections.max(1), args.pod.workers());
    let plan = Plan {
        schedule: Schedule::new(args.rate, args.seconds)?,
        recipe: args.load.recipe()?,
        deflate: args.load.deflate(),
        connections,
    };
    let is_other_dialect = args.pod.dialect != Dialect::Native;
    // What rooms beside the pod's cost it, the reference does not pay.
    let beside_native = is_other_dialect && args.reference.is_none();
    if is_other_dialect && args.load.transport != Transport::Websocket {
        let message = "Socket.IO is spoken over WebSocket here: leave out --transport";
        return Err(BenchError::Usage(message.to_owned()));
    }
    let out = report::directory(&args.output)?;
    let all = if beside_native { 2 * connections } else { connections };
    let mut pod = match args.floor_only {
        true => None,
        false => Some(Pod::open(&args.pod, args.load.guests(all), &out).await?),
    };
    let mut reference = match &args.reference {
        None => None,
        Some(binary) => {
            let beside = report::directory_in(&out, "reference")?;
            let mut other = args.pod.clone();
            other.pod = Some(binary.clone());
            Some(Pod::open(&other, args.load.guests(connections), &beside).await?)
        }
    };
    let mut floor = match args.no_floor {
        true => None,
        false => Some(open_floor(connections, threads, plan.deflate).await?),
    };
    let pods = Pods { pod: pod.as_ref(), reference: reference.as_ref(), beside_native };
    let measured = measure(args, plan, &pods, floor.as_mut()).await;
    let sides = measured.map_err(|error| Pod::explain_all([&mut pod, &mut reference].into_iter().flatten(), error))?;
    let floor_counts = match &mut floor {
        Some(floor) => Some(floor.counts().await?),
        None => None,
    };
    let pod_ready_ms = pod.as_ref().and_then(|pod| pod.ready_ms);
    let outcome = Outcome::of(plan, threads, pod_ready_ms, floor_counts, sides);
    report::write("broadcast", &args.output, &outcome, &row(&outcome), &plot(&outcome))?;
    match outcome.native_cpu_ratio {
        Some(ratio) => report::judge(ratio.median <= NATIVE_BAR, || {
            format!("a delivery to Socket.IO costs {:.2} times one to the native protocol", ratio.median)
        }),
        None => Ok(()),
    }
}

/// What is measured of pods.
struct Pods<'a> {
    pod: Option<&'a Pod>,
    reference: Option<&'a Pod>,
    /// Whether receivers of the native protocol have turns beside those of another dialect.
    beside_native: bool,
}

/// Connects all receivers to all servers, then publishes to one after the other.
async fn measure(
    args: &BroadcastArgs,
    plan: Plan,
    pods: &Pods<'_>,
    floor: Option<&mut Floor>,
) -> Result<[Option<Side>; 4], BenchError> {
    let Plan { recipe, deflate, connections, .. } = plan;
    let progress = bar("", 1);
    let mut servers = [None, None, floor.map(Server::Floor), None];
    if let Some(reference) = pods.reference {
        let join = reference.join(recipe, deflate);
        servers[REFERENCE] = Some(Server::Pod(Room::of(reference, "reference", 0, join).await?));
    }
    if let Some(pod) = pods.pod {
        let join = pod.join(recipe, deflate);
        if pods.beside_native {
            let native = join.clone().speaking(Dialect::Native);
            servers[NATIVE] = Some(Server::Pod(Room::of(pod, "native protocol", 1, native).await?));
        }
        servers[POD] = Some(Server::Pod(Room::of(pod, "pod", 0, join).await?));
    }
    let mut sides = [None, None, None, None];
    for (index, server) in servers.into_iter().enumerate() {
        let Some(server) = server else { continue };
        progress.set_message(format!("connecting to the {}", server.name()));
        let join = Join { connections, ..server.join(recipe, deflate) };
        // The floor speaks WebSocket only.
        let transport = if matches!(index, POD | REFERENCE) { args.load.transport } else { Transport::Websocket };
        let mut audience = Audience::start(transport, args.load.processes(connections), 1 + ADDRESSES * index as u8)?;
        let agreed = audience.join(&join, &progress).await?;
        let (latency, last) = (Latencies::new(), Latencies::new());
        sides[index] =
            Some(Measured { server, audience, agreed, ping_cpu_us: None, rounds: Vec::new(), latency, last });
    }
    check_agreements(&sides, deflate)?;
    let warm_up = Plan { schedule: Schedule { rate: args.rate, seconds: 3.0 / args.rate }, ..plan };
    for index in [POD, NATIVE, FLOOR, REFERENCE] {
        turn(&mut sides, index, &warm_up, "warm-up", &progress).await?;
    }
    if let [Some(pod), native, floor, None] = &mut sides
        && (native.is_some() || floor.is_some())
    {
        progress.set_message("quiet, but for pings");
        let process = pod.server.process();
        let mut audiences = vec![&mut pod.audience];
        audiences.extend(native.as_mut().map(|native| &mut native.audience));
        let ping = quiet(audiences, process, args.quiet).await?;
        pod.ping_cpu_us = ping;
        if let Some(native) = native {
            native.ping_cpu_us = ping;
        }
    }
    for repetition in 1..=args.repetitions.max(1) {
        // After the floor the pod's memory is cold: no side is always the first.
        let order = match repetition % 2 {
            1 => [POD, REFERENCE, NATIVE, FLOOR],
            _ => [REFERENCE, NATIVE, POD, FLOOR],
        };
        for index in order {
            let name = format!("repetition {repetition}");
            let Some((round, received)) = turn(&mut sides, index, &plan, &name, &progress).await? else { continue };
            let Some(side) = &mut sides[index] else { continue };
            side.rounds.push(round);
            side.latency.add(&received.latency);
            side.last.add(&received.last);
        }
    }
    progress.finish_and_clear();
    Ok(sides.map(|side| side.and_then(Measured::side)))
}

/// One repetition of a side, if it takes part. The pod's other receivers are quiet in that time, but the pod pings them as
/// well, and these pings count: its CPU time holds them.
async fn turn(
    sides: &mut [Option<Measured<'_>>; 4],
    index: usize,
    plan: &Plan,
    what: &str,
    progress: &ProgressBar,
) -> Result<Option<(Round, Received)>, BenchError> {
    let [pod, native, floor, reference] = sides;
    let (side, quiet) = match index {
        POD => (pod, native.as_mut()),
        NATIVE => (native, pod.as_mut()),
        REFERENCE => (reference, None),
        _ => (floor, None),
    };
    let Some(side) = side else { return Ok(None) };
    progress.set_message(format!("{}, {what}", side.server.name()));
    // What the last repetition left behind must not run into this one.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let Some(quiet) = quiet else {
        return round(&mut side.audience, &mut side.server, plan, progress).await.map(Some);
    };
    quiet.audience.begin(Target::Pod).await?;
    let (mut round, received) = round(&mut side.audience, &mut side.server, plan, progress).await?;
    round.pings += pings(&mut quiet.audience).await?;
    Ok(Some((round, received)))
}

/// The pings of receivers that must have received nothing else.
async fn pings(audience: &mut Audience) -> Result<u64, BenchError> {
    let seen = audience.finish(Target::Pod, Vec::new(), PATIENCE, false).await?;
    seen.check(0)?;
    Ok(seen.pings)
}

/// The pod's CPU for one ping, in microseconds: all that it uses in so many seconds, over its pings.
async fn quiet(
    mut audiences: Vec<&mut Audience>,
    process: Option<Process>,
    seconds: f64,
) -> Result<Option<f64>, BenchError> {
    let (Some(process), true) = (process, seconds > 0.0) else { return Ok(None) };
    for audience in &mut audiences {
        audience.begin(Target::Pod).await?;
    }
    let before = process.cpu()?;
    tokio::time::sleep(Duration::from_secs_f64(seconds.min(600.0))).await;
    let used = process.cpu()?.saturating_sub(before);
    let mut seen = 0;
    for audience in audiences {
        seen += pings(audience).await?;
    }
    Ok((seen > 0).then(|| used as f64 / 1e3 / seen as f64))
}

/// One repetition of one server.
async fn round(
    audience: &mut Audience,
    server: &mut Server<'_>,
    plan: &Plan,
    progress: &ProgressBar,
) -> Result<(Round, Received), BenchError> {
    let window = Window::begin(audience, server.target(), server.process()).await?;
    let send = async |n| Ok((server.room(), server.send(&plan.recipe, n).await?));
    window.publish(audience, plan.schedule, progress, |_| plan.connections as u64, send).await
}

/// Figures of different ciphers, or of compressed and plain frames, must not be compared.
fn check_agreements(sides: &[Option<Measured<'_>>], deflate: bool) -> Result<(), BenchError> {
    let mut agreed = sides.iter().flatten().map(|side| (side.server.name(), &side.agreed));
    let Some((_, first)) = agreed.next() else {
        return Err(BenchError::Usage("--no-floor and --floor-only leave nothing to measure".to_owned()));
    };
    if let Some((name, second)) =
        agreed.find(|(_, other)| ![&first.suite, ""].contains(&other.suite.as_str()) && !first.suite.is_empty())
    {
        let message = format!("the pod agreed on {}, the {name} on {}", first.suite, second.suite);
        return Err(BenchError::Protocol(message));
    }
    match sides.iter().flatten().find(|side| side.agreed.deflate != deflate) {
        Some(side) => Err(BenchError::Protocol(format!(
            "the {} {} permessage-deflate",
            side.server.name(),
            if deflate { "refused" } else { "agreed, unasked, on" }
        ))),
        None => Ok(()),
    }
}

impl Measured<'_> {
    fn side(self) -> Option<Side> {
        let spread = |figure: fn(&Round) -> f64| Spread::of(self.rounds.iter().map(figure));
        Some(Side {
            agreed_suite: self.agreed.suite,
            agreed_deflate: self.agreed.deflate,
            cpu_us_per_delivery: Spread::of(self.rounds.iter().filter_map(|round| round.cpu_us_per_delivery)),
            ping_cpu_us: self.ping_cpu_us,
            cpu_us_per_delivery_without_pings: self
                .ping_cpu_us
                .and_then(|ping| Spread::of(self.rounds.iter().filter_map(|round| without_pings(round, ping)))),
            last_receiver_p50_ms: spread(|round| round.last_receiver.p50)?,
            last_receiver_p99_ms: spread(|round| round.last_receiver.p99)?,
            last_receiver_pooled: self.last.percentiles(),
            latency_p50_ms: spread(|round| round.latency.p50)?,
            latency_p99_ms: spread(|round| round.latency.p99)?,
            latency_pooled: self.latency.percentiles(),
            deliveries_per_second: spread(|round| round.deliveries_per_second)?,
            wire_bytes_per_delivery: spread(|round| round.wire_bytes_per_delivery)?,
            latency: self.latency,
            last: self.last,
            rounds: self.rounds,
        })
    }
}

/// A floor that may hold so many sockets.
async fn open_floor(connections: usize, threads: usize, deflate: bool) -> Result<Floor, BenchError> {
    let (needed, limit) = (connections + 64, process::file_limit());
    if needed > limit {
        return Err(BenchError::FileLimit { what: "the floor".to_owned(), needed, limit });
    }
    Floor::start(threads, deflate).await
}
