//! Sockets and sessions side by side in one pod.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{
    progress::bar,
    window::{Ends, Round, Window},
};
use crate::{
    arguments::{LoadArgs, OutputArgs, PodArgs},
    audience::Audience,
    clock,
    content::{Recipe, Stamp},
    dialect::room_name,
    error::BenchError,
    guests::Guests,
    plot::Plot,
    pod::Pod,
    receiver::control::{Join, Target},
    report::{self, Row, thousands},
    stats::Spread,
    transport::Transport,
};

/// The rooms of the sockets and of the sessions.
const ROOMS: [u32; 2] = [0, 1];

/// The pod waits so long for company, so that what is published at once leaves as one frame.
const WINDOW: &str = "--default-policy-batch-window=40ms";

/// TLS WebSockets and WebTransport sessions in one process, each kind in a room of its own: what each costs in memory, and in
/// CPU for frames of one event and of eight, in turns; then broadcasts that reach both. See bench/README.md.
#[derive(Debug, Args)]
pub(crate) struct TransportsArgs {
    /// How many TLS WebSockets
    #[arg(long, default_value_t = 19_000, value_name = "N")]
    sockets: usize,
    /// How many WebTransport sessions
    #[arg(long, default_value_t = 31_000, value_name = "N")]
    sessions: usize,
    /// How many broadcasts each repetition has
    #[arg(long, default_value_t = 5, value_name = "N")]
    broadcasts: u64,
    /// The pause between two of them
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    pause: f64,
    /// How many repetitions; the median is reported, with the smallest and the largest
    #[arg(long, default_value_t = 3, value_name = "N")]
    repetitions: usize,
    /// How long it is quiet before, to learn what that costs
    #[arg(long, default_value_t = 20.0, value_name = "SECONDS")]
    quiet: f64,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    pod: PodArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What one kind of broadcast cost.
#[derive(Debug, Serialize)]
struct Kind {
    name: &'static str,
    burst: u64,
    cpu_us_per_delivery: Option<Spread>,
    last_receiver_p99_ms: Option<Spread>,
    wire_bytes_per_delivery: Option<Spread>,
    rounds: Vec<Round>,
}

#[derive(Debug, Serialize)]
struct Outcome {
    sockets: usize,
    sessions: usize,
    workers: usize,
    size: usize,
    deflate: bool,
    kib_per_socket: f64,
    kib_per_session: f64,
    resident_mib: f64,
    /// The pod's CPU while it is quiet, in percent of one core.
    idle_cpu_percent: f64,
    kinds: Vec<Kind>,
}

/// Runs it.
pub(crate) async fn run(args: &TransportsArgs) -> Result<(), BenchError> {
    let recipe = args.load.recipe()?;
    let guests = Guests { sockets: args.sockets, sessions: args.sessions };
    let measure = async |pod: &mut Pod| measure(args, recipe, pod).await;
    let outcome = Pod::measured(&args.pod.with([WINDOW.to_owned()]), guests, &args.output, measure).await?;
    report::write("transports", &args.output, &outcome, &row(&outcome), &plot(&outcome))
}

fn row(outcome: &Outcome) -> Row {
    let mut row = Row::default()
        .cell("sockets", thousands(outcome.sockets as u64))
        .cell("sessions", thousands(outcome.sessions as u64))
        .cell("KiB/socket", format!("{:.1}", outcome.kib_per_socket))
        .cell("KiB/session", format!("{:.1}", outcome.kib_per_session))
        .cell("pod MiB", format!("{:.0}", outcome.resident_mib))
        .cell("idle CPU, % of a core", format!("{:.1}", outcome.idle_cpu_percent));
    for kind in &outcome.kinds {
        let cpu = kind.cpu_us_per_delivery.as_ref().map_or_else(|| "-".to_owned(), |cpu| report::spread(cpu, 2));
        let last = kind.last_receiver_p99_ms.as_ref().map_or_else(|| "-".to_owned(), |ms| report::spread(ms, 0));
        row = row.cell(
            &format!("{}, frames of {}: CPU us/delivery; last ms", kind.name, kind.burst),
            format!("{cpu}; {last}"),
        );
    }
    row
}

fn plot(outcome: &Outcome) -> Plot {
    let bars = outcome.kinds.iter().map(|kind| {
        let cpu = kind.rounds.iter().filter_map(|round| round.cpu_us_per_delivery).collect();
        (format!("{} ×{}", kind.name, kind.burst), cpu)
    });
    Plot {
        title: format!(
            "{} sockets and {} sessions in one pod",
            thousands(outcome.sockets as u64),
            thousands(outcome.sessions as u64)
        ),
        bars_title: "CPU per delivery (us)".to_owned(),
        bars: bars.collect(),
        ..Plot::default()
    }
}

async fn measure(args: &TransportsArgs, recipe: Recipe, pod: &mut Pod) -> Result<Outcome, BenchError> {
    let process = pod.process()?;
    let progress = bar("connecting", 1);
    let join = pod.join(recipe, args.load.deflate());
    let mut sockets = Audience::start(Transport::Websocket, args.load.processes(args.sockets), 1)?;
    let mut sessions = Audience::start(Transport::Webtransport, args.load.processes(args.sessions), 100)?;
    let mut sizes = vec![process.memory()?.resident as f64 / 1024.0];
    for (audience, connections, room) in
        [(&mut sockets, args.sockets, ROOMS[0]), (&mut sessions, args.sessions, ROOMS[1])]
    {
        if connections > 0 {
            audience.join(&Join { connections, first_room: room, ..join.clone() }, &progress).await?;
        }
        // What a connection needs is there after its first broadcast.
        let reach = if room == ROOMS[0] { [connections, 0] } else { [0, connections] };
        let audiences = if room == ROOMS[0] { [Some(&mut *audience), None] } else { [None, Some(&mut *audience)] };
        round(pod, audiences, reach, &recipe, (1, 1, 0.0)).await?;
        sizes.push(process.memory()?.resident as f64 / 1024.0);
    }
    progress.set_message("quiet");
    let before = process.cpu()?;
    tokio::time::sleep(Duration::from_secs_f64(args.quiet.max(0.1))).await;
    let idle_cpu_percent = process.cpu()?.saturating_sub(before) as f64 / 1e7 / args.quiet.max(0.1);

    let mut kinds: Vec<Kind> = Vec::new();
    let plans = [("sockets", [true, false]), ("sessions", [false, true]), ("both", [true, true])];
    for repetition in 1..=args.repetitions.max(1) {
        for burst in [1, 8] {
            for (name, to) in plans {
                progress.set_message(format!("{name}, frames of {burst}, repetition {repetition}"));
                let audiences = [to[0].then_some(&mut sockets), to[1].then_some(&mut sessions)];
                let reach = [if to[0] { args.sockets } else { 0 }, if to[1] { args.sessions } else { 0 }];
                let round = round(pod, audiences, reach, &recipe, (args.broadcasts, burst, args.pause)).await?;
                match kinds.iter_mut().find(|kind| kind.name == name && kind.burst == burst) {
                    Some(kind) => kind.rounds.push(round),
                    None => kinds.push(Kind {
                        name,
                        burst,
                        cpu_us_per_delivery: None,
                        last_receiver_p99_ms: None,
                        wire_bytes_per_delivery: None,
                        rounds: vec![round],
                    }),
                }
            }
        }
    }
    for kind in &mut kinds {
        kind.cpu_us_per_delivery = Spread::of(kind.rounds.iter().filter_map(|round| round.cpu_us_per_delivery));
        kind.last_receiver_p99_ms = Spread::of(kind.rounds.iter().map(|round| round.last_receiver.p99));
        kind.wire_bytes_per_delivery = Spread::of(kind.rounds.iter().map(|round| round.wire_bytes_per_delivery));
    }
    progress.finish_and_clear();
    let each = |from: usize, count: usize| (sizes[from + 1] - sizes[from]) / count.max(1) as f64;
    Ok(Outcome {
        sockets: args.sockets,
        sessions: args.sessions,
        workers: pod.workers,
        size: recipe.size,
        deflate: args.load.deflate(),
        kib_per_socket: each(0, args.sockets),
        kib_per_session: each(1, args.sessions),
        resident_mib: process.memory()?.resident as f64 / f64::from(1 << 20),
        idle_cpu_percent,
        kinds,
    })
}

/// Publishes `(times, burst, pause)` to the rooms of the audiences; fails unless all receive it.
async fn round(
    pod: &mut Pod,
    audiences: [Option<&mut Audience>; 2],
    reach: [usize; 2],
    recipe: &Recipe,
    (times, burst, pause): (u64, u64, f64),
) -> Result<Round, BenchError> {
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut windows = Vec::new();
    for (room, audience) in ROOMS.into_iter().zip(audiences) {
        if let Some(audience) = audience {
            // The pod's CPU is in the first window, which is begun first and ended last.
            let process = if windows.is_empty() { pod.process } else { None };
            let window = Window::begin(audience, Target::Pod, process).await?;
            windows.push((room, audience, window));
        }
    }
    let mut ends = [Ends::default(), Ends::default()];
    for time in 0..times {
        for n in time * burst..(time + 1) * burst {
            for (room, ..) in &windows {
                let data = recipe.data(*room, Stamp { n, t: clock::now() });
                ends[*room as usize].published(*room, pod.publisher.publish(&room_name(*room), &data).await?);
            }
        }
        tokio::time::sleep(Duration::from_secs_f64(pause)).await;
    }
    let mut rounds = Vec::new();
    while let Some((room, audience, window)) = windows.pop() {
        let members = |_| reach[room as usize] as u64;
        rounds.push(window.end(audience, &ends[room as usize], members, 0.0).await?.0);
    }
    // The one with the pod's CPU; its deliveries are those of all.
    let others: u64 = rounds.iter().map(|round| round.deliveries).sum();
    let mut first = rounds.pop().ok_or_else(|| BenchError::Usage("there is no receiver to publish to".to_owned()))?;
    if let Some(slower) = rounds.pop() {
        if slower.last_receiver.p99 > first.last_receiver.p99 {
            first.last_receiver = slower.last_receiver;
        }
        first.cpu_us_per_delivery = first.cpu_seconds.map(|seconds| seconds * 1e6 / others as f64);
        first.deliveries = others;
        first.deliveries_per_second = others as f64 / first.seconds;
    }
    Ok(first)
}
