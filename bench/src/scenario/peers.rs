//! The field, side by side: pods of two builds and servers of others broadcast to many clients over TLS, each alone, in turns; then they
//! publish over the same Redis, in turns, beside bare Redis.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use tokio::task::LocalSet;

use super::servers::Servers;
use crate::{
    arguments::{OutputArgs, PodArgs},
    content::Recipe,
    error::BenchError,
    peer::{Backing, Peer, centrifugo::Centrifugo, nchan::Nchan, roomcast::Roomcast, socketio::Socketio},
    plot::Plot,
    report::{self, judge},
};

mod bars;
mod field;
mod field_tables;
mod kind;
mod load;
mod outcome;
mod rates;
mod sides;
mod slow;
mod tables;
mod turn;

use field::{FieldArgs, Race, Run};
use kind::Kind;
use load::{Load, Loads};
use outcome::{Outcome, Stage};
use sides::{EMBEDDED, Over, REFERENCE, THIS};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Half {
    /// The broadcast to many clients, without Redis
    Broadcast,
    /// Publishing over Redis
    Redis,
}

/// Sets pods beside servers of others, in turns. First each broadcasts to thousands of clients over TLS, alone on the machine: memory,
/// connects, CPU and bytes a delivery, how long it takes, publishes a second. Then those that can share a Redis publish over it with
/// history on, beside bare Redis: what it costs Redis and the server, how many a second, and how long it takes at a low rate. Gets the
/// servers that are not there yet (Go, npm and apt-get do that). See bench/README.md.
#[derive(Debug, Args)]
pub(crate) struct PeersArgs {
    /// What is measured
    #[arg(long, value_enum, num_args = 1.., value_delimiter = ',', default_values = ["broadcast", "redis"], value_name = "PART")]
    part: Vec<Half>,
    /// The servers of others
    #[arg(long, value_enum, num_args = 1.., value_delimiter = ',', default_values = ["centrifugo", "centrifugo-gogc50", "centrifugo-deltas", "socketio", "nchan", "nats", "mercure"], value_name = "NAME")]
    peers: Vec<Kind>,
    /// A pod of another build, measured as well
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
    /// What they share: one Redis server, a cluster of 3 + 3, or one after the other
    #[arg(long, value_enum, num_args = 1.., value_delimiter = ',', default_values = ["one", "cluster"], value_name = "REDIS")]
    over: Vec<Over>,
    /// Callers with one request under way each; as many rooms
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    callers: u16,
    /// And many callers
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=5_000))]
    crowd: u16,
    /// Events in a batch
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    batch: u16,
    /// Events a second where it is measured how long one takes
    #[arg(long, default_value_t = 100.0, value_name = "EVENTS")]
    rate: f64,
    /// The size of an event's data, in bytes
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    size: usize,
    /// How long each is measured in each repetition
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    seconds: f64,
    /// Repetitions, all in turns
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    repetitions: u16,
    #[command(flatten)]
    field: FieldArgs,
    #[command(flatten)]
    pod: PodArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs it.
pub(crate) async fn run(args: &PeersArgs) -> Result<(), BenchError> {
    args.pod.must_start("servers")?;
    Recipe::of("--size", args.size)?;
    if !(args.seconds > 0.0 && args.seconds <= 600.0) {
        return Err(BenchError::Usage(format!("--seconds {}: above 0 and at most 600", args.seconds)));
    }
    super::schedule::Schedule::new(args.rate, args.seconds)?;
    args.field.check()?;
    let out = report::directory(&args.output)?;
    let mut field = Vec::new();
    if args.part.contains(&Half::Broadcast) {
        field = broadcast(args, &out).await?;
    }
    let mut stages = Vec::new();
    if args.part.contains(&Half::Redis) {
        for (name, why) in args.peers.iter().filter_map(|kind| Some((kind.name(), kind.without_redis()?))) {
            println!("{name} does not publish over Redis: {why}");
        }
        for over in &args.over {
            stages.push(LocalSet::new().run_until(stage(args, *over, &out)).await?);
        }
    }
    let loads = args.loads();
    let outcome = Outcome { event_bytes: args.size, loads, seconds: args.seconds, rate: args.rate, field, stages };
    for stage in &outcome.stages {
        println!("\n{}\n{}\n{}", tables::rates(stage, &loads), tables::slow(stage), tables::bars(stage));
    }
    let (row, plot) = (tables::summary(&outcome), plot(&outcome));
    report::write("peers", &args.output, &outcome, &row, &plot)?;
    let missed = outcome.stages.iter().flat_map(|stage| stage.bars.iter().filter(|bar| !bar.is_kept()));
    let missed: Vec<_> = missed.map(ToString::to_string).collect();
    judge(missed.is_empty(), || missed.join("; "))
}

impl PeersArgs {
    fn loads(&self) -> Loads {
        Loads { callers: self.callers, crowd: self.crowd, batch: self.batch }
    }
}

/// Each alone, without Redis.
async fn broadcast(args: &PeersArgs, out: &Path) -> Result<Vec<Race>, BenchError> {
    let run = Run {
        pod: &args.pod,
        reference: args.reference.as_deref(),
        peers: &args.peers,
        callers: args.callers,
        seconds: args.seconds,
        repetitions: args.repetitions,
    };
    let field = LocalSet::new().run_until(field::measure(&args.field, &run, out)).await?;
    for race in &field {
        println!("\n{}", field_tables::race(race));
    }
    Ok(field)
}

/// All that share one Redis, and the pod that needs none.
async fn stage(args: &PeersArgs, over: Over, out: &Path) -> Result<Stage, BenchError> {
    let servers = match over {
        Over::One => Servers::start_one().await?,
        Over::Cluster => Servers::start().await?,
    };
    let out = report::directory_in(out, if over == Over::One { "peers-one" } else { "peers-cluster" })?;
    let mut peers = start(args, &Backing { url: servers.url(), is_cluster: over == Over::Cluster }, &out).await?;
    let measured = measure(args, over, &servers, &peers).await;
    measured.map_err(|error| peers.iter_mut().fold(error, |error, peer| peer.explain(error)))
}

async fn start(args: &PeersArgs, backing: &Backing, out: &Path) -> Result<Vec<Box<dyn Peer>>, BenchError> {
    let (clients, redis) = (slow::ROOMS, Some(backing));
    // A pod that is not named is built once, before it is started twice.
    let mut peers: Vec<Box<dyn Peer>> = vec![
        Box::new(Roomcast::start(THIS, &args.pod, redis, clients, out).await?),
        Box::new(Roomcast::start(EMBEDDED, &args.pod, None, clients, out).await?),
    ];
    if let Some(reference) = &args.reference {
        let mut pod = args.pod.clone();
        pod.pod = Some(reference.clone());
        peers.push(Box::new(Roomcast::start(REFERENCE, &pod, redis, clients, out).await?));
    }
    if args.peers.contains(&Kind::Centrifugo) {
        peers.push(Box::new(Centrifugo::start(backing, out).await?));
    }
    if args.peers.contains(&Kind::Socketio) {
        peers.push(Box::new(Socketio::start(backing, out).await?));
    }
    if args.peers.contains(&Kind::Nchan) {
        peers.push(Box::new(Nchan::start(backing, out).await?));
    }
    Ok(peers)
}

async fn measure(
    args: &PeersArgs,
    over: Over,
    servers: &Servers,
    peers: &[Box<dyn Peer>],
) -> Result<Stage, BenchError> {
    let recipe = Recipe { seed: 1, size: args.size };
    let plan = rates::Plan { loads: args.loads(), recipe, seconds: args.seconds, repetitions: args.repetitions };
    let (idle, cells) = rates::measure(&plan, servers, peers).await?;
    let mut slow = Vec::new();
    let schedule = super::schedule::Schedule::new(args.rate, args.seconds)?;
    slow::measure(schedule, recipe, args.repetitions, peers, &mut slow).await?;
    let resident = |peer: &dyn Peer| {
        let all =
            peer.processes().iter().map(|process| Ok(process.memory()?.resident)).sum::<Result<u64, BenchError>>()?;
        Ok((peer.name().to_owned(), all as f64 / 1048576.0))
    };
    let resident_mib = peers.iter().map(|peer| resident(peer.as_ref())).collect::<Result<_, BenchError>>()?;
    let bars = bars::of(over, &cells, &slow, args.loads());
    Ok(Stage { over, idle_redis_ms_per_second: idle * 1e3, cells, slow, resident_mib, bars })
}

fn plot(outcome: &Outcome) -> Plot {
    let Some(stage) = outcome.stages.last() else { return field_tables::plot(&outcome.field) };
    let cells = stage.cells.iter().filter(|cell| cell.load == Load::Callers);
    Plot {
        title: format!("publishing over Redis, {} callers", outcome.loads.callers),
        bars_title: "Redis' CPU for an event (us)".to_owned(),
        bars: cells.map(|cell| (cell.who.clone(), cell.values(|round| round.redis_cpu_us).collect())).collect(),
        curves_title: format!("publish to receive, {} events/s (ms)", outcome.rate),
        curves: stage.slow.iter().map(|slow| (slow.who.clone(), slow.curve())).collect(),
    }
}
