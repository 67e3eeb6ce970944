//! The preset `live-polls` as its document describes it: one session, many participants over Socket.IO, Redis behind it.

use clap::Args;
use serde::Serialize;

use super::{
    progress::bar,
    schedule::Schedule,
    window::{Round, Window},
};
use crate::{
    arguments::{LoadArgs, OutputArgs, PodArgs},
    audience::Audience,
    clock,
    content::{Recipe, Stamp},
    dialect::Dialect,
    error::BenchError,
    plot::Plot,
    pod::Pod,
    receiver::control::{Join, Target},
    redis_server::one_redis,
    report::{self, Row, thousands},
    stats::Latencies,
    transport::Transport,
};

/// Participants of one session of the preset `live-polls`, over Socket.IO and a real Redis: publish to receive, against
/// the 100 ms at p95 that its document promises. See bench/README.md.
#[derive(Debug, Args)]
pub(crate) struct PollsArgs {
    /// How many participants the session has
    #[arg(long, default_value_t = 2_000, value_name = "N")]
    connections: usize,
    /// Events a second
    #[arg(long, default_value_t = 10.0, value_name = "EVENTS")]
    rate: f64,
    /// How long each repetition publishes
    #[arg(long, default_value_t = 20.0, value_name = "SECONDS")]
    seconds: f64,
    /// How many repetitions
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    repetitions: u16,
    /// A Redis that is there already, instead of one that is started for the run; its sessions must be new to it
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
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
    workers: usize,
    event_bytes: usize,
    rate: f64,
    rounds: Vec<Round>,
    /// Over all repetitions, in milliseconds.
    latency: crate::stats::Percentiles,
    /// What the document promises, in milliseconds at p95.
    promised_ms: f64,
    kept: bool,
    #[serde(skip)]
    pooled: Latencies,
}

/// Runs it.
pub(crate) async fn run(args: &PollsArgs) -> Result<(), BenchError> {
    if args.pod.url.is_some() || args.load.transport != Transport::Websocket {
        let message = "this scenario starts its own pod and speaks Socket.IO: leave out --url and --transport";
        return Err(BenchError::Usage(message.to_owned()));
    }
    let (recipe, schedule) = (args.load.recipe()?, Schedule::new(args.rate, args.seconds)?);
    let (url, _server) = match &args.redis {
        Some(url) => (url.clone(), None),
        None => {
            let server = one_redis().await?;
            (format!("redis://127.0.0.1:{}", server.port()), Some(server))
        }
    };
    let own = args.pod.with(["--preset", "live-polls", "--redis", &url].map(str::to_owned));
    let measure = async |pod: &mut Pod| measure(args, schedule, recipe, pod).await;
    let outcome = Pod::measured(&own, args.connections.into(), &args.output, measure).await?;
    report::write("polls", &args.output, &outcome, &row(&outcome), &plot(&outcome))?;
    report::judge(outcome.kept, || {
        format!("p95 is {:.1} ms, and must be below {} ms", outcome.latency.p95, outcome.promised_ms)
    })
}

async fn measure(args: &PollsArgs, schedule: Schedule, recipe: Recipe, pod: &mut Pod) -> Result<Outcome, BenchError> {
    let connections = args.connections.max(1);
    let mut audience = Audience::start(Transport::Websocket, args.load.processes(connections), 1)?;
    let progress = bar("connecting", connections as u64);
    let join = Join { connections, ..pod.join(recipe, args.load.deflate()) }.speaking(Dialect::LivePolls);
    audience.join(&join, &progress).await?;
    let room = Dialect::LivePolls.room_name(0);
    let (mut rounds, mut pooled) = (Vec::new(), Latencies::new());
    for repetition in 1..=args.repetitions {
        progress.set_message(format!("repetition {repetition}"));
        let window = Window::begin(&mut audience, Target::Pod, pod.process).await?;
        let send = async |n| {
            let data = recipe.data(0, Stamp { n, t: clock::now() });
            Ok((0, pod.publisher.publish(&room, &data).await?))
        };
        let members = |_| connections as u64;
        let (round, received) = window.publish(&mut audience, schedule, &progress, members, send).await?;
        pooled.add(&received.latency);
        rounds.push(round);
    }
    progress.finish_and_clear();
    let latency = pooled.percentiles();
    let promised_ms = 100.0;
    Ok(Outcome {
        connections,
        workers: pod.workers,
        event_bytes: recipe.size,
        rate: args.rate,
        rounds,
        latency,
        promised_ms,
        kept: latency.p95 < promised_ms,
        pooled,
    })
}

fn row(outcome: &Outcome) -> Row {
    let latency = &outcome.latency;
    Row::default()
        .cell("participants", thousands(outcome.connections as u64))
        .cell("events/s", format!("{}", outcome.rate))
        .cell("deliveries", thousands(latency.count))
        .cell("publish to receive, ms, p50 p95 p99 max", {
            format!("{:.1} {:.1} {:.1} {:.1}", latency.p50, latency.p95, latency.p99, latency.max)
        })
        .cell("p95 below 100 ms", if outcome.kept { "yes" } else { "NO" })
}

fn plot(outcome: &Outcome) -> Plot {
    let cpu = outcome.rounds.iter().filter_map(|round| round.cpu_us_per_delivery);
    Plot {
        title: format!("live-polls: {} participants over Redis", thousands(outcome.connections as u64)),
        bars_title: "CPU per delivery (us)".to_owned(),
        bars: vec![("pod".to_owned(), cpu.collect())],
        curves_title: "publish to receive (ms)".to_owned(),
        curves: vec![("all participants".to_owned(), outcome.pooled.curve())],
    }
}
