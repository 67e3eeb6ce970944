//! Two builds of the pod side by side: both run, and their APIs are called in turns, in bursts so short that both see the same machine.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use tokio::task::LocalSet;

use super::progress::bar;
use crate::{
    arguments::{OutputArgs, PodArgs},
    callers::{Request, call, request},
    content::{Recipe, Stamp},
    error::BenchError,
    plot::Plot,
    pod::Pod,
    process::Process,
    publisher::TOPIC,
    report::{self, Row, spread},
    stats::Spread,
};

/// How long one burst lasts, in seconds.
const BURST: f64 = 0.5;

/// Calls POST /api/publish of two pods in turns, as fast as they answer, to rooms without members: what a publish costs the one over
/// what it costs the other. See bench/README.md.
#[derive(Debug, Args)]
pub(crate) struct PairArgs {
    /// The other pod's binary [default: the same, which shows how far two runs of one build are apart]
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
    /// Connections to each API, each with one request under way; as many rooms
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    callers: u16,
    /// The size of an event's data, in bytes
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    size: usize,
    /// Bursts of half a second on each pod
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    bursts: u16,
    #[command(flatten)]
    pod: PodArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
struct Outcome {
    callers: u16,
    event_bytes: usize,
    /// CPU of the whole process for a request, burst by burst.
    pod: Spread,
    reference: Spread,
    /// Of each burst and the one beside it.
    ratio: Spread,
    /// The CPU of the two for each burst, the pod's first.
    bursts: Vec<(f64, f64)>,
}

/// One of the two.
struct Side {
    pod: Pod,
    process: Process,
    requests: Vec<Request>,
}

/// Runs it.
pub(crate) async fn run(args: &PairArgs) -> Result<(), BenchError> {
    let out = report::directory(&args.output)?;
    let beside = report::directory_in(&out, "reference")?;
    let mut pod = Side::open(args, &args.pod, &out).await?;
    let mut other = args.pod.clone();
    other.pod = args.reference.clone().or(other.pod);
    let mut reference = Side::open(args, &other, &beside).await?;
    let measured = LocalSet::new().run_until(measure(args, &pod, &reference)).await;
    let outcome = measured.map_err(|error| Pod::explain_all([&mut pod.pod, &mut reference.pod], error))?;
    report::write("pair", &args.output, &outcome, &row(&outcome), &plot(&outcome))
}

fn row(outcome: &Outcome) -> Row {
    Row::default()
        .cell("CPU us a publish", spread(&outcome.pod, 2))
        .cell("reference", spread(&outcome.reference, 2))
        .cell("ratio", spread(&outcome.ratio, 3))
}

fn plot(outcome: &Outcome) -> Plot {
    Plot {
        title: format!("two pods in turns, {} callers", outcome.callers),
        bars_title: "CPU of the process for a publish (us)".to_owned(),
        bars: vec![
            ("pod".to_owned(), outcome.bursts.iter().map(|burst| burst.0).collect()),
            ("reference".to_owned(), outcome.bursts.iter().map(|burst| burst.1).collect()),
        ],
        ..Plot::default()
    }
}

impl Side {
    async fn open(args: &PairArgs, which: &PodArgs, out: &Path) -> Result<Self, BenchError> {
        if which.url.is_some() {
            return Err(BenchError::Usage("--url: both pods are started here; name their binaries".to_owned()));
        }
        let pod = Pod::open(which, usize::from(args.callers).into(), out).await?;
        let recipe = Recipe { seed: 1, size: args.size };
        let one = |n: u16| {
            let data = recipe.data(u32::from(n), Stamp { n: u64::from(n), t: 0 });
            request(
                "/api/publish",
                pod.api_key(),
                &format!(r#"{{"room":"empty:{n}","topic":"{TOPIC}","data":{data}}}"#),
            )
        };
        let requests = (0..args.callers).map(one).collect();
        Ok(Self { process: pod.process()?, pod, requests })
    }

    /// CPU of the process for a request in one burst, in microseconds.
    async fn burst(&self) -> Result<f64, BenchError> {
        let before = self.process.cpu()?;
        let (requests, _) = call(self.pod.internal(), &self.requests, BURST).await?;
        let used = self.process.cpu()?.saturating_sub(before);
        Ok(used as f64 / 1e3 / requests.max(1) as f64)
    }
}

async fn measure(args: &PairArgs, pod: &Side, reference: &Side) -> Result<Outcome, BenchError> {
    // Until caches and the allocators are as they stay.
    pod.burst().await?;
    reference.burst().await?;
    let progress = bar("calling", u64::from(args.bursts));
    let mut bursts = Vec::new();
    for n in 0..args.bursts {
        let pair = if n % 2 == 0 {
            let first = pod.burst().await?;
            (first, reference.burst().await?)
        } else {
            let first = reference.burst().await?;
            (pod.burst().await?, first)
        };
        bursts.push(pair);
        progress.inc(1);
    }
    progress.finish_and_clear();
    let of = |figure: &dyn Fn(&(f64, f64)) -> f64| {
        Spread::of(bursts.iter().map(figure)).ok_or_else(|| BenchError::Protocol("nothing was measured".to_owned()))
    };
    Ok(Outcome {
        callers: args.callers,
        event_bytes: args.size,
        pod: of(&|burst| burst.0)?,
        reference: of(&|burst| burst.1)?,
        ratio: of(&|burst| burst.0 / burst.1)?,
        bursts,
    })
}
