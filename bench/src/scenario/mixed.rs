//! A small room beside a large one.

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use super::{
    progress::bar,
    schedule::Schedule,
    window::{Round, Window},
};
use crate::{
    arguments::{LoadArgs, OutputArgs, PodArgs},
    audience::{Audience, Received},
    clock,
    content::{Recipe, Stamp},
    dialect::room_name,
    error::BenchError,
    plot::Plot,
    pod::Pod,
    process::Process,
    publisher::Publisher,
    receiver::control::{Join, Target},
    report::{self, Row, thousands},
    stats::Percentiles,
};

/// Publishes to a room of ten while a large room's events are written to thousands: a pod that writes a large room in one
/// go makes the small one wait. Measures the small room alone first, then both. See bench/README.md.
#[derive(Debug, Args)]
pub(crate) struct MixedArgs {
    /// How many receivers the large room has
    #[arg(long, default_value_t = 15_000, value_name = "N")]
    connections: usize,
    /// How many receivers the small room has
    #[arg(long, default_value_t = 10, value_name = "N")]
    small: usize,
    /// Events a second to the large room
    #[arg(long, default_value_t = 5.0, value_name = "EVENTS")]
    rate: f64,
    /// Events a second to the small room
    #[arg(long, default_value_t = 50.0, value_name = "EVENTS")]
    small_rate: f64,
    /// How long each of the two parts takes
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
    small: usize,
    rate: f64,
    small_rate: f64,
    workers: usize,
    small_alone: Round,
    small_beside: Round,
    large: Round,
    publish_to_write: Option<PublishToWrite>,
    #[serde(skip)]
    curves: Vec<(String, Vec<(f64, f64)>)>,
}

/// The small room in the pod's own histogram (`roomcast_publish_to_write_seconds`), during the second part. The histogram
/// holds both rooms; the large room's fan-outs are the slowest in it, since no worker writes to thousands of sockets in the
/// time in question, so that what is left when they are taken away is the small room's.
#[derive(Debug, Serialize)]
struct PublishToWrite {
    /// Fan-outs of the small room.
    count: u64,
    /// The share that was written within 10 ms, in percent.
    within_10_ms_percent: f64,
    /// The bucket's bound that 99% are below, in milliseconds.
    p99_at_most_ms: f64,
}

const LARGE: u32 = 0;
const SMALL: u32 = 1;
const HISTOGRAM: &str = "roomcast_publish_to_write_seconds";

/// Runs it.
pub(crate) async fn run(args: &MixedArgs) -> Result<(), BenchError> {
    let recipe = args.load.recipe()?;
    let small = Schedule::new(args.small_rate, args.seconds)?;
    let large = Schedule::new(args.rate, args.seconds)?;
    let small = Stream { room: SMALL, members: args.small.max(1), schedule: small };
    let large = Stream { room: LARGE, members: args.connections.max(1), schedule: large };
    let guests = args.load.guests(args.connections + args.small);
    let measure = async |pod: &mut Pod| measure(args, &small, &large, recipe, pod).await;
    let outcome = Pod::measured(&args.pod, guests, &args.output, measure).await?;
    report::write("mixed", &args.output, &outcome, &row(&outcome), &plot(&outcome))
}

fn row(outcome: &Outcome) -> Row {
    let latency = |round: &Round| {
        let Percentiles { p50, p99, max, .. } = round.latency;
        format!("{p50:.1} {p99:.1} {max:.1}")
    };
    Row::default()
        .cell("large room", format!("{}, {}/s", thousands(outcome.connections as u64), outcome.rate))
        .cell("small room", format!("{}, {}/s", outcome.small, outcome.small_rate))
        .cell("small alone, publish to receive ms, p50 p99 max", latency(&outcome.small_alone))
        .cell("small beside large", latency(&outcome.small_beside))
        .cell(
            "small's publish to write, within 10 ms",
            outcome.publish_to_write.as_ref().map_or_else(
                || "-".to_owned(),
                |p| format!("{:.2}%, p99 <= {} ms", p.within_10_ms_percent, p.p99_at_most_ms),
            ),
        )
        .cell("large, publish to last receiver ms, p50 p99", {
            let Percentiles { p50, p99, .. } = outcome.large.last_receiver;
            format!("{p50:.0} {p99:.0}")
        })
}

fn plot(outcome: &Outcome) -> Plot {
    Plot {
        title: format!("a room of {} beside one of {}", outcome.small, thousands(outcome.connections as u64)),
        bars_title: "small room, publish to receive p99 (ms)".to_owned(),
        bars: vec![
            ("alone".to_owned(), vec![outcome.small_alone.latency.p99]),
            ("beside".to_owned(), vec![outcome.small_beside.latency.p99]),
        ],
        curves_title: "small room, publish to receive (ms)".to_owned(),
        curves: outcome.curves.clone(),
    }
}

async fn measure(
    args: &MixedArgs,
    small: &Stream,
    large: &Stream,
    recipe: Recipe,
    pod: &mut Pod,
) -> Result<Outcome, BenchError> {
    let (connections, deflate) = (large.members, args.load.deflate());
    // The small room's receivers have a process of their own, where no other connection makes them wait.
    let mut few = Audience::start(args.load.transport, 1, 200)?;
    let mut many = Audience::start(args.load.transport, args.load.processes(connections), 1)?;
    let progress = bar("connecting", 1);
    let join = pod.join(recipe, deflate);
    few.join(&Join { connections: small.members, first_room: SMALL, ..join.clone() }, &progress).await?;
    many.join(&Join { connections, first_room: LARGE, ..join }, &progress).await?;
    let mut publishers = (pod.another_publisher().await?, pod.another_publisher().await?);

    progress.set_message("the small room alone");
    let (small_alone, alone) = small.run(&mut few, &mut publishers.0, pod.process, &recipe, &progress).await?;

    progress.set_message("both rooms");
    let hidden = ProgressBar::hidden();
    let before = pod.histogram(HISTOGRAM).await?;
    let (beside, largest) = tokio::join!(
        small.run(&mut few, &mut publishers.0, pod.process, &recipe, &progress),
        large.run(&mut many, &mut publishers.1, pod.process, &recipe, &hidden),
    );
    let ((small_beside, beside), (large_round, _)) = (beside?, largest?);
    let after = pod.histogram(HISTOGRAM).await?;
    progress.finish_and_clear();
    let large_runs = large.schedule.events() * pod.workers as u64;
    Ok(Outcome {
        connections,
        small: small.members,
        rate: args.rate,
        small_rate: args.small_rate,
        workers: pod.workers,
        small_alone,
        small_beside,
        large: large_round,
        publish_to_write: PublishToWrite::between(&before, &after, large_runs),
        curves: vec![
            ("alone".to_owned(), alone.latency.curve()),
            ("beside the large room".to_owned(), beside.latency.curve()),
        ],
    })
}

/// A room and the events that go to it.
struct Stream {
    room: u32,
    members: usize,
    schedule: Schedule,
}

impl Stream {
    async fn run(
        &self,
        audience: &mut Audience,
        publisher: &mut Publisher,
        process: Option<Process>,
        recipe: &Recipe,
        progress: &ProgressBar,
    ) -> Result<(Round, Received), BenchError> {
        let window = Window::begin(audience, Target::Pod, process).await?;
        let send = async |n| {
            let data = recipe.data(self.room, Stamp { n, t: clock::now() });
            Ok((self.room, publisher.publish(&room_name(self.room), &data).await?))
        };
        window.publish(audience, self.schedule, progress, |_| self.members as u64, send).await
    }
}

impl PublishToWrite {
    /// What two readings of the cumulative buckets differ by, without the slowest `large`.
    fn between(before: &[(f64, u64)], after: &[(f64, u64)], large: u64) -> Option<Self> {
        let earlier = |bound: f64| before.iter().find(|(b, _)| *b == bound).map_or(0, |(_, count)| *count);
        let grown: Vec<(f64, u64)> =
            after.iter().map(|&(bound, count)| (bound, count.saturating_sub(earlier(bound)))).collect();
        let count = grown.last()?.1.checked_sub(large).filter(|&count| count > 0)?;
        let within = |bound: f64| grown.iter().filter(|(b, _)| *b <= bound).map(|(_, c)| *c).max().unwrap_or(0);
        let p99 = grown.iter().find(|(_, c)| *c as f64 >= 0.99 * count as f64)?;
        Some(Self {
            count,
            within_10_ms_percent: 100.0 * within(0.01).min(count) as f64 / count as f64,
            p99_at_most_ms: p99.0 * 1e3,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_large_room_is_taken_out_of_the_histogram() {
        let before = [(0.005, 10), (0.01, 10), (0.1, 12), (f64::INFINITY, 12)];
        let after = [(0.005, 100), (0.01, 108), (0.1, 130), (f64::INFINITY, 132)];
        let found = PublishToWrite::between(&before, &after, 20).expect("there are some");
        assert_eq!((found.count, found.p99_at_most_ms), (100, 100.0));
        assert!((found.within_10_ms_percent - 98.0).abs() < 1e-9);
        let found = PublishToWrite::between(&before, &after, 22).expect("there are some");
        assert_eq!((found.count, found.p99_at_most_ms), (98, 10.0));
        assert!(PublishToWrite::between(&before, &after, 120).is_none());
        assert!(PublishToWrite::between(&[], &[], 0).is_none());
    }
}
