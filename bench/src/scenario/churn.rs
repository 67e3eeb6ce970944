//! Members come and go while others stay and receive.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{
    progress::bar,
    schedule::Schedule,
    window::{Ends, Round, Window},
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
    receiver::control::{Join, Target, VisitReport, Visits},
    report::{self, Row, thousands},
    stats::{Latencies, Percentiles},
};

/// Residents stay in a room, visitors join it and leave again, and events go on: every resident must get everything, every
/// visitor everything from its position on. Says whether the pod's memory comes back. See bench/README.md.
#[derive(Debug, Args)]
pub(crate) struct ChurnArgs {
    /// How many receivers stay
    #[arg(long, default_value_t = 2_000, value_name = "N")]
    connections: usize,
    /// How many visitors come in a second
    #[arg(long, default_value_t = 200.0, value_name = "N")]
    visitors: f64,
    /// How long each visitor stays
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    stay: f64,
    /// Events a second
    #[arg(long, default_value_t = 5.0, value_name = "EVENTS")]
    rate: f64,
    /// For how long visitors come
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
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
    visitors_per_second: f64,
    stay_seconds: f64,
    residents: Round,
    visits: VisitReport,
    /// First packet to `subscribed`, in milliseconds.
    join: Percentiles,
    /// The pod's resident memory with the residents alone: before the visitors came and after they left, in MiB.
    resident_mib_before: Option<f64>,
    resident_mib_after: Option<f64>,
    #[serde(skip)]
    join_latency: Latencies,
    #[serde(skip)]
    latency: Latencies,
}

/// Runs it.
pub(crate) async fn run(args: &ChurnArgs) -> Result<(), BenchError> {
    let (schedule, recipe) = (Schedule::new(args.rate, args.seconds + args.stay)?, args.load.recipe()?);
    let visitors = (args.visitors * (args.stay + 2.0)) as usize;
    let guests = args.load.guests(args.connections + visitors);
    let measure = async |pod: &mut Pod| measure(args, schedule, recipe, pod).await;
    let outcome = Pod::measured(&args.pod, guests, &args.output, measure).await?;
    report::write("churn", &args.output, &outcome, &row(&outcome), &plot(&outcome))
}

fn row(outcome: &Outcome) -> Row {
    let mib = |mib: Option<f64>| mib.map_or_else(|| "-".to_owned(), |mib| format!("{mib:.1}"));
    let Percentiles { p50, p99, max, .. } = outcome.join;
    let received = &outcome.residents.latency;
    Row::default()
        .cell("stay", thousands(outcome.connections as u64))
        .cell("visitors/s", format!("{}", outcome.visitors_per_second))
        .cell("visits", thousands(outcome.visits.opened))
        .cell("join ms, p50 p99 max", format!("{p50:.1} {p99:.1} {max:.1}"))
        .cell(
            "publish to receive ms, p50 p99 max",
            format!("{:.1} {:.1} {:.1}", received.p50, received.p99, received.max),
        )
        .cell(
            "pod MiB before, after",
            format!("{}, {}", mib(outcome.resident_mib_before), mib(outcome.resident_mib_after)),
        )
}

fn plot(outcome: &Outcome) -> Plot {
    let memory = [("before", outcome.resident_mib_before), ("after", outcome.resident_mib_after)];
    Plot {
        title: format!(
            "{} stay, {} visitors a second",
            thousands(outcome.connections as u64),
            outcome.visitors_per_second
        ),
        bars_title: "the pod's resident memory (MiB)".to_owned(),
        bars: memory.map(|(name, mib)| (name.to_owned(), mib.into_iter().collect())).into(),
        curves_title: "ms".to_owned(),
        curves: vec![
            ("publish to receive".to_owned(), outcome.latency.curve()),
            ("connect to subscribed".to_owned(), outcome.join_latency.curve()),
        ],
    }
}

async fn measure(args: &ChurnArgs, schedule: Schedule, recipe: Recipe, pod: &mut Pod) -> Result<Outcome, BenchError> {
    let connections = args.connections.max(1);
    let deflate = args.load.deflate();
    let mut residents = Audience::start(args.load.transport, args.load.processes(connections), 1)?;
    let mut visitors = Audience::start(args.load.transport, 2, 128)?;
    let progress = bar("connecting", 1);
    residents.join(&Join { connections, ..pod.join(recipe, deflate) }, &progress).await?;
    let process = pod.process;
    let memory = || process.map(|process| process.memory().map(|m| m.resident as f64 / f64::from(1 << 20))).transpose();
    let resident_mib_before = memory()?;

    progress.set_message("coming and going");
    progress.set_length((args.visitors * args.seconds) as u64);
    let mut join = pod.join(recipe, deflate);
    join.in_flight = 256;
    let visits = Visits {
        another: None,
        join,
        per_second: Some(args.visitors),
        seconds: args.seconds,
        stay_ms: Some((args.stay * 1e3) as u64),
        resume_percent: 0,
    };
    let window = Window::begin(&mut residents, Target::Pod, process).await?;
    let mut ends = Ends::default();
    let hidden = indicatif::ProgressBar::hidden();
    let publishing = schedule.keep(&hidden, async |n| {
        let data = recipe.data(0, Stamp { n, t: clock::now() });
        ends.published(0, pod.publisher.publish(&room_name(0), &data).await?);
        Ok(())
    });
    let (late, visited) = tokio::join!(publishing, visitors.visit(&visits, &progress));
    let (late, (visits, join_latency)) = (late?, visited?);
    let (round, received) = window.end(&mut residents, &ends, |_| connections as u64, late).await?;
    progress.finish_and_clear();
    if visits.failed > 0 || visits.opened == 0 || !visits.faults.none() {
        let example = visits.example.as_deref().unwrap_or("no example");
        let message = format!(
            "{} visitors came, {} did not get in, {:?}; for example: {example}",
            visits.opened, visits.failed, visits.faults
        );
        return Err(BenchError::Faults(message));
    }
    // What the visitors held is given back with the pod's next tick.
    tokio::time::sleep(Duration::from_secs(5)).await;
    Ok(Outcome {
        connections,
        visitors_per_second: args.visitors,
        stay_seconds: args.stay,
        residents: round,
        join: join_latency.percentiles(),
        visits,
        resident_mib_before,
        resident_mib_after: memory()?,
        join_latency,
        latency: received.latency,
    })
}
