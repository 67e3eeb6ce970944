//! The preset `trips` as its document describes it: many trips, each with a few members, Redis behind them, a batch window.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;
use indicatif::ProgressBar;

use super::{
    progress::bar,
    schedule::{Schedule, keep_times, tell_late},
    window::{Ends, Round, Window, members},
};
use crate::{
    arguments::{LoadArgs, OutputArgs, PodArgs},
    audience::{Audience, Received},
    clock,
    content::{Recipe, Stamp},
    dialect::Dialect,
    error::{BenchError, Doing as _},
    guests::Guests,
    pod::Pod,
    receiver::control::{Join, Target},
    redis_server::one_redis,
    report,
    resp::Backend,
    stats::Latencies,
    transport::Transport,
    trip,
};

mod outcome;

use outcome::{Outcome, Pass, Side, plot, row};

/// Rounds with the preset's window, and without one.
const WINDOWS: [&str; 2] = ["", "[[policy]]\nmatch = [\"trip:*\"]\nbatch_window = \"0ms\"\n"];

/// The most deliveries a second without --rate.
const DELIVERIES: f64 = 50_000.0;

/// Many trips of the preset `trips` over its own dialect and a real Redis: bytes and CPU per delivery with its batch window
/// of 200 ms, and in turns of the same run with the window 0; with permessage-deflate, then without (`--compressed` and
/// `--plain`: only one of them). Every member checks that it got each event, or a newer one of the same topic and entity
/// in the same batch. See bench/README.md.
#[derive(Debug, Args)]
pub(crate) struct TripsArgs {
    /// How many members all trips have together
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    connections: usize,
    /// Over how many trips they are spread; 1: all are in one
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    trips: u32,
    /// Events a second, over all trips [default: 1,000, but no more than make 50,000 deliveries a second]
    #[arg(long, value_name = "EVENTS")]
    rate: Option<f64>,
    /// How many events of one trip come together, as what one member does causes several
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    burst: u32,
    /// The time between two events of a burst, in milliseconds
    #[arg(long, default_value_t = 20, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=10_000))]
    gap: u64,
    /// How long each repetition publishes
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    seconds: f64,
    /// How many repetitions of each window
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    repetitions: u16,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    pod: PodArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What each repetition publishes.
struct Plan {
    connections: usize,
    trips: u32,
    recipe: Recipe,
    /// When each event is due, and in which trip.
    times: Vec<(Duration, u32)>,
    end: Duration,
}

/// What has been measured of one window so far.
struct Measured {
    /// The configuration that gives the pod this window.
    text: &'static str,
    window_ms: u64,
    rounds: Vec<Round>,
    pooled: Latencies,
}

/// Runs it.
pub(crate) async fn run(args: &TripsArgs) -> Result<(), BenchError> {
    if args.pod.url.is_some() || args.load.transport != Transport::Websocket || args.pod.dialect != Dialect::Native {
        let message = "this scenario starts its own pod and speaks the dialect of its preset over WebSocket: leave out \
                       --url, --transport and --dialect";
        return Err(BenchError::Usage(message.to_owned()));
    }
    let connections = args.connections.max(1);
    let largest = members(connections, args.trips, 0) as f64;
    let rate = args.rate.unwrap_or_else(|| (DELIVERIES / largest).min(1_000.0));
    let schedule = Schedule::new(rate, args.seconds)?;
    let (times, end) = timetable(schedule, args.burst, Duration::from_millis(args.gap), args.trips);
    let plan = Plan { connections, trips: args.trips, recipe: args.load.recipe()?, times, end };
    let out = report::directory(&args.output)?;
    let mut passes = Vec::new();
    for &deflate in args.load.kinds() {
        passes.push(pass(args, &plan, deflate, &out).await?);
    }
    let outcome = Outcome {
        connections,
        trips: args.trips,
        workers: args.pod.workers(),
        event_bytes: plan.recipe.size,
        rate,
        burst: args.burst,
        gap_ms: args.gap,
        passes,
    };
    report::write("trips", &args.output, &outcome, &row(&outcome), &plot(&outcome))
}

/// When each event is due, and in which trip: a burst goes to one trip, the next to the next; at `end` the next would begin.
fn timetable(schedule: Schedule, burst: u32, gap: Duration, trips: u32) -> (Vec<(Duration, u32)>, Duration) {
    let bursts = schedule.events().div_ceil(u64::from(burst));
    let begins = |index: u64| Duration::from_secs_f64(index as f64 * f64::from(burst) / schedule.rate);
    let one = |index: u64| {
        let room = u32::try_from(index % u64::from(trips)).unwrap_or(0);
        (0..burst).map(move |step| (begins(index) + gap * step, room))
    };
    let mut times: Vec<_> = (0..bursts).flat_map(one).collect();
    times.sort_by_key(|&(due, _)| due);
    let last = times.last().map_or(Duration::ZERO, |&(due, _)| due);
    (times, begins(bursts).max(last))
}

/// Everything with or without permessage-deflate, with a pod and a Redis of its own.
async fn pass(args: &TripsArgs, plan: &Plan, deflate: bool, out: &Path) -> Result<Pass, BenchError> {
    let server = one_redis().await?;
    let settings = Settings(out.join("trips.toml"));
    settings.write(WINDOWS[0])?;
    let own = args.pod.with([
        "--preset=trips".to_owned(),
        format!("--redis=redis://127.0.0.1:{}", server.port()),
        format!("--config={}", settings.0.display()),
    ]);
    let mut pod = Pod::open(&own, Guests::from(plan.connections), out).await?;
    let backend = Backend::connect(server.port()).await?;
    let measured = measure(args, plan, deflate, &mut pod, backend, &settings).await;
    measured.map_err(|error| pod.explain(error))
}

async fn measure(
    args: &TripsArgs,
    plan: &Plan,
    deflate: bool,
    pod: &mut Pod,
    mut backend: Backend,
    settings: &Settings,
) -> Result<Pass, BenchError> {
    let progress = bar("connecting", plan.connections as u64);
    let mut audience = Audience::start(Transport::Websocket, args.load.processes(plan.connections), 1)?;
    let join = Join { connections: plan.connections, rooms: plan.trips, ..pod.join(plan.recipe, deflate) };
    let agreed = audience.join(&join.speaking(Dialect::Trips), &progress).await?;
    if agreed.deflate != deflate {
        let what = if deflate { "refused" } else { "agreed, unasked, on" };
        return Err(BenchError::Protocol(format!("the pod {what} permessage-deflate")));
    }
    heard(&mut backend).await?;
    let mut numbers = vec![0; plan.trips as usize];
    let mut sides = WINDOWS.map(|text| Measured { text, window_ms: 0, rounds: Vec::new(), pooled: Latencies::new() });
    // The first of each is the warm-up.
    for repetition in 0..=args.repetitions {
        for side in &mut sides {
            side.window_ms = settings.apply(pod, side.text).await?;
            progress.set_message(format!("window of {} ms, repetition {repetition}", side.window_ms));
            let warm_up = (repetition == 0).then(|| Duration::from_secs(1));
            let (round, received) =
                round(plan, warm_up, pod, &mut backend, &mut audience, &mut numbers, &progress).await?;
            if round.latency.max < side.window_ms as f64 {
                let what = format!("nothing waited for the window of {} ms: it was not in effect", side.window_ms);
                return Err(BenchError::Faults(what));
            }
            if warm_up.is_none() {
                side.rounds.push(round);
                side.pooled.add(&received.latency);
            }
        }
    }
    progress.finish_and_clear();
    let [window, none] = sides.map(|side| Side::of(side.window_ms, side.rounds, side.pooled));
    Ok(Pass::of(agreed.suite, deflate, window, none))
}

/// Publishes the plan's events, or as many as are due in the warm-up; every member must get what it is owed.
async fn round(
    plan: &Plan,
    warm_up: Option<Duration>,
    pod: &Pod,
    backend: &mut Backend,
    audience: &mut Audience,
    numbers: &mut [u64],
    progress: &ProgressBar,
) -> Result<(Round, Received), BenchError> {
    let end = warm_up.map_or(plan.end, |end| end.min(plan.end));
    let times: Vec<_> = plan.times.iter().filter(|&&(due, _)| due <= end).collect();
    progress.set_length(times.len() as u64);
    progress.set_position(0);
    let window = Window::begin(audience, Target::Pod, pod.process).await?;
    let mut ends = Ends::default();
    let send = async |index: usize| {
        let room = times[index].1;
        let number = &mut numbers[room as usize];
        *number += 1;
        let message = trip::message(&plan.recipe, room, Stamp { n: *number, t: clock::now() });
        if backend.publish(&trip::channel(room), &message).await? == 0 {
            return Err(BenchError::Faults("the pod no longer hears what is published in Redis".to_owned()));
        }
        ends.published(room, *number);
        Ok(())
    };
    let late = keep_times(times.iter().map(|&&(due, _)| due), end, progress, send).await?;
    if late > 50.0 {
        tell_late(late, progress);
    }
    window.end(audience, &ends, |room| members(plan.connections, plan.trips, room), late).await
}

/// Waits until the pod hears what is published in Redis.
async fn heard(backend: &mut Backend) -> Result<(), BenchError> {
    let (start, patience) = (Instant::now(), Duration::from_secs(20));
    while backend.publish("trip:probe", r#"{"topic":"trip.created","data":{}}"#).await? == 0 {
        if start.elapsed() > patience {
            return Err(BenchError::Timeout {
                what: "the pod's subscription to trip:*".to_owned(),
                seconds: patience.as_secs(),
                hint: "what does pod.log say?".to_owned(),
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// The pod's configuration file, which says nothing but how long a batch waits.
struct Settings(PathBuf);

impl Settings {
    fn write(&self, text: &str) -> Result<(), BenchError> {
        fs::write(&self.0, text).doing(|| format!("writing {}", self.0.display()))
    }

    /// Lets the running pod take this over; the window that it has then, in milliseconds.
    async fn apply(&self, pod: &mut Pod, text: &str) -> Result<u64, BenchError> {
        self.write(text)?;
        pod.process()?.hang_up()?;
        let (start, patience) = (Instant::now(), Duration::from_secs(10));
        let window = loop {
            let window = pod.batch_window_ms(&trip::channel(0)).await?;
            if (window == 0) != text.is_empty() {
                break window;
            }
            if start.elapsed() > patience {
                return Err(BenchError::Timeout {
                    what: "the pod's taking over of another batch_window".to_owned(),
                    seconds: patience.as_secs(),
                    hint: "what does pod.log say?".to_owned(),
                });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        // The rooms that are held follow, some at a time; and what the last repetition left behind must not run into this one.
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_overlap_and_stay_in_their_trips() {
        let schedule = Schedule::new(100.0, 0.08).expect("valid");
        let (times, end) = timetable(schedule, 4, Duration::from_millis(30), 2);
        let times: Vec<_> = times.into_iter().map(|(due, room)| (due.as_millis(), room)).collect();
        assert_eq!(times, [(0, 0), (30, 0), (40, 1), (60, 0), (70, 1), (90, 0), (100, 1), (130, 1)]);
        assert_eq!(end, Duration::from_millis(130));
        let (times, end) = timetable(schedule, 4, Duration::ZERO, 1);
        assert_eq!((times.len(), end), (8, Duration::from_millis(80)));
    }
}
