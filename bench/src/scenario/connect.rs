//! Handshakes.

use clap::Args;
use serde::Serialize;

use super::progress::bar;
use crate::{
    arguments::{LoadArgs, OutputArgs, PodArgs},
    audience::Audience,
    content::Recipe,
    error::BenchError,
    plot::Plot,
    pod::Pod,
    receiver::control::Visits,
    report::{self, Row, thousands},
    stats::{Latencies, Percentiles},
    transport::Transport,
};

/// Opens connections (TCP, TLS, WebSocket; or QUIC) as fast as the pod takes them and closes each once it is open: first with full
/// TLS handshakes, then, over WebSocket, with a share that resumes an earlier session. See bench/README.md.
#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// The most handshakes under way at one time
    #[arg(long, default_value_t = 64, value_name = "N")]
    in_flight: usize,
    /// How long each of the two parts takes
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    seconds: f64,
    /// The share that offers to resume in the second part, in percent
    #[arg(long, default_value_t = 100, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    resume: u8,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    pod: PodArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
struct Part {
    resume_percent: u8,
    opened: u64,
    failed: u64,
    resumed: u64,
    handshakes_per_second: f64,
    cpu_us_per_handshake: Option<f64>,
    /// First packet to the answer of the upgrade, in milliseconds.
    latency: Percentiles,
    #[serde(skip)]
    distribution: Latencies,
}

#[derive(Debug, Serialize)]
struct Outcome {
    workers: usize,
    in_flight: usize,
    full: Part,
    /// `None` over WebTransport: a pod gives QUIC clients no tickets.
    resuming: Option<Part>,
}

/// Runs it.
pub(crate) async fn run(args: &ConnectArgs) -> Result<(), BenchError> {
    let recipe = args.load.recipe()?;
    let out = report::directory(&args.output)?;
    let mut pod = Pod::open(&args.pod, args.load.guests(args.in_flight), &out).await?;
    let outcome = measure(args, recipe, &mut pod).await.map_err(|error| pod.explain(error))?;
    let full = &outcome.full;
    let cpu = |part: &Part| part.cpu_us_per_handshake.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.0}"));
    let latency = |part: &Part| format!("{:.1} {:.1}", part.latency.p50, part.latency.p99);
    let mut row = Row::default()
        .cell("in flight", thousands(outcome.in_flight as u64))
        .cell("full handshakes/s", thousands(full.handshakes_per_second as u64))
        .cell("CPU us each", cpu(full))
        .cell("ms, p50 p99", latency(full));
    if let Some(resuming) = &outcome.resuming {
        row = row
            .cell("resumed", format!("{:.0}%", 100.0 * resuming.resumed as f64 / resuming.opened.max(1) as f64))
            .cell("handshakes/s then", thousands(resuming.handshakes_per_second as u64))
            .cell("CPU us each", cpu(resuming))
            .cell("ms, p50 p99", latency(resuming));
    }
    let parts = || [("full", Some(full)), ("resuming", outcome.resuming.as_ref())].into_iter();
    let parts = || parts().filter_map(|(name, part)| Some((name.to_owned(), part?)));
    let plot = Plot {
        title: format!("handshakes, {} in flight", outcome.in_flight),
        bars_title: "CPU per handshake (us)".to_owned(),
        bars: parts().map(|(name, part)| (name, part.cpu_us_per_handshake.into_iter().collect())).collect(),
        curves_title: "connect to the upgrade's answer (ms)".to_owned(),
        curves: parts().map(|(name, part)| (name, part.distribution.curve())).collect(),
    };
    report::write("connect", &args.output, &outcome, &row, &plot)
}

async fn measure(args: &ConnectArgs, recipe: Recipe, pod: &mut Pod) -> Result<Outcome, BenchError> {
    let mut audience = Audience::start(args.load.transport, args.load.processes(1), 1)?;
    let full = part(args, recipe, pod, &mut audience, 0).await?;
    let resuming = match args.load.transport {
        Transport::Websocket => Some(part(args, recipe, pod, &mut audience, args.resume).await?),
        Transport::Webtransport => None,
    };
    Ok(Outcome { workers: pod.workers, in_flight: args.in_flight, full, resuming })
}

async fn part(
    args: &ConnectArgs,
    recipe: Recipe,
    pod: &mut Pod,
    audience: &mut Audience,
    resume_percent: u8,
) -> Result<Part, BenchError> {
    let mut join = pod.join(recipe, args.load.deflate());
    join.in_flight = args.in_flight.max(1);
    let visits = Visits { join, per_second: None, seconds: args.seconds, stay_ms: None, resume_percent };
    let progress = bar(&format!("connecting, {resume_percent}% resumed"), 0);
    let before = pod.process.map(|process| process.cpu()).transpose()?;
    let (report, distribution) = audience.visit(&visits, &progress).await?;
    let after = pod.process.map(|process| process.cpu()).transpose()?;
    progress.finish_and_clear();
    if report.opened == 0 || report.failed * 100 > report.opened || !report.faults.none() {
        let example = report.example.as_deref().unwrap_or("no example");
        let message = format!("{} handshakes, {} failed; for example: {example}", report.opened, report.failed);
        return Err(BenchError::Faults(message));
    }
    let opened = report.opened as f64;
    Ok(Part {
        resume_percent,
        opened: report.opened,
        failed: report.failed,
        resumed: report.resumed,
        handshakes_per_second: opened / args.seconds,
        cpu_us_per_handshake: after
            .zip(before)
            .map(|(after, before)| after.saturating_sub(before) as f64 / 1e3 / opened),
        latency: distribution.percentiles(),
        distribution,
    })
}
