//! Handshakes.

use std::{fs, path::Path};

use clap::Args;
use serde::Serialize;

use super::progress::bar;
use crate::{
    arguments::{LoadArgs, OutputArgs, PodArgs},
    audience::Audience,
    content::Recipe,
    error::{BenchError, Doing as _},
    plot::Plot,
    pod::Pod,
    receiver::control::Visits,
    report::{self, Row, thousands},
    stats::{Latencies, Percentiles},
    transport::Transport,
};

/// Opens connections (TCP, TLS, WebSocket; or QUIC) as fast as the pod takes them and closes each once it is open: first with full
/// TLS handshakes, then, over WebSocket, with a share that resumes an earlier session; with `--another` also one that was begun at
/// another pod. See bench/README.md.
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
    /// A third part, over WebSocket: two pods with the same ticket keys, each resumes what the other began
    #[arg(long, conflicts_with = "url")]
    another: bool,
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
    /// With `--another`.
    elsewhere: Option<Part>,
}

/// Runs it.
pub(crate) async fn run(args: &ConnectArgs) -> Result<(), BenchError> {
    let recipe = args.load.recipe()?;
    let out = report::directory(&args.output)?;
    if args.another && args.load.transport == Transport::Webtransport {
        return Err(BenchError::Usage("--another resumes over WebSocket: leave out --transport".to_owned()));
    }
    let guests = args.load.guests(args.in_flight);
    let mut pods = Vec::new();
    if args.another {
        let with_keys = args.pod.with([ticket_keys(&out)?]);
        pods.push(Pod::open(&with_keys, guests, &out).await?);
        pods.push(Pod::open(&with_keys, guests, &report::directory_in(&out, "beside")?).await?);
    } else {
        pods.push(Pod::open(&args.pod, guests, &out).await?);
    }
    let measured = measure(args, recipe, &pods).await;
    let outcome = measured.map_err(|error| Pod::explain_all(&mut pods, error))?;
    report::write("connect", &args.output, &outcome, &row(&outcome), &plot(&outcome))
}

fn row(outcome: &Outcome) -> Row {
    let full = &outcome.full;
    let cpu = |part: &Part| part.cpu_us_per_handshake.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.0}"));
    let latency = |part: &Part| format!("{:.1} {:.1}", part.latency.p50, part.latency.p99);
    let share = |part: &Part| format!("{:.0}%", 100.0 * part.resumed as f64 / part.opened.max(1) as f64);
    let mut row = Row::default()
        .cell("in flight", thousands(outcome.in_flight as u64))
        .cell("full handshakes/s", thousands(full.handshakes_per_second as u64))
        .cell("CPU us each", cpu(full))
        .cell("ms, p50 p99", latency(full));
    if let Some(resuming) = &outcome.resuming {
        row = row
            .cell("resumed", share(resuming))
            .cell("handshakes/s then", thousands(resuming.handshakes_per_second as u64))
            .cell("CPU us each", cpu(resuming))
            .cell("ms, p50 p99", latency(resuming));
    }
    if let Some(elsewhere) = &outcome.elsewhere {
        row = row
            .cell("resumed at another pod", share(elsewhere))
            .cell("CPU us each", cpu(elsewhere))
            .cell("ms, p50 p99", latency(elsewhere));
    }
    row
}

fn plot(outcome: &Outcome) -> Plot {
    let resumed = [("resuming", outcome.resuming.as_ref()), ("resuming elsewhere", outcome.elsewhere.as_ref())];
    let parts = || [("full", Some(&outcome.full))].into_iter().chain(resumed);
    let parts = || parts().filter_map(|(name, part)| Some((name.to_owned(), part?)));
    Plot {
        title: format!("handshakes, {} in flight", outcome.in_flight),
        bars_title: "CPU per handshake (us)".to_owned(),
        bars: parts().map(|(name, part)| (name, part.cpu_us_per_handshake.into_iter().collect())).collect(),
        curves_title: "connect to the upgrade's answer (ms)".to_owned(),
        curves: parts().map(|(name, part)| (name, part.distribution.curve())).collect(),
    }
}

/// The argument that gives a pod ticket keys that another pod has too.
fn ticket_keys(out: &Path) -> Result<String, BenchError> {
    let mut key = [0; 80];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| BenchError::Protocol("there are no random bytes".to_owned()))?;
    let file = out.join("tickets.key");
    fs::write(&file, key).doing(|| format!("writing {}", file.display()))?;
    Ok(format!("--tls-ticket-keys={}", file.display()))
}

async fn measure(args: &ConnectArgs, recipe: Recipe, pods: &[Pod]) -> Result<Outcome, BenchError> {
    let mut audience = Audience::start(args.load.transport, args.load.processes(1), 1)?;
    let one = &pods[..1];
    let full = part(args, recipe, one, &mut audience, 0).await?;
    let resuming = match args.load.transport {
        Transport::Websocket => Some(part(args, recipe, one, &mut audience, args.resume).await?),
        Transport::Webtransport => None,
    };
    let elsewhere = match args.another {
        true => Some(part(args, recipe, pods, &mut audience, args.resume).await?),
        false => None,
    };
    Ok(Outcome { workers: one[0].workers, in_flight: args.in_flight, full, resuming, elsewhere })
}

/// Visits one pod, or two in turns.
async fn part(
    args: &ConnectArgs,
    recipe: Recipe,
    pods: &[Pod],
    audience: &mut Audience,
    resume_percent: u8,
) -> Result<Part, BenchError> {
    let mut join = pods[0].join(recipe, args.load.deflate());
    join.in_flight = args.in_flight.max(1);
    let another = pods.get(1).map(|pod| pod.address);
    let visits = Visits { join, another, per_second: None, seconds: args.seconds, stay_ms: None, resume_percent };
    let progress = bar(&format!("connecting, {resume_percent}% resumed"), 0);
    let cpu = || pods.iter().map(|pod| pod.process.map(|process| process.cpu()).transpose()).sum::<Result<_, _>>();
    let before: Option<u64> = cpu()?;
    let (report, distribution) = audience.visit(&visits, &progress).await?;
    let after: Option<u64> = cpu()?;
    progress.finish_and_clear();
    if report.opened == 0 || report.failed * 100 > report.opened || !report.faults.none() {
        let example = report.example.as_deref().unwrap_or("no example");
        let message = format!("{} handshakes, {} failed; for example: {example}", report.opened, report.failed);
        return Err(BenchError::Faults(message));
    }
    if resume_percent > 0 && report.resumed == 0 {
        let message = format!("of {} handshakes none was resumed, where {resume_percent}% were to be", report.opened);
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
