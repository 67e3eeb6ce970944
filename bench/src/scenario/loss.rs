//! A small room beside a busy one, on a network that loses packets.

use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use super::{
    progress::bar,
    schedule::Schedule,
    window::{Ends, PATIENCE},
};
use crate::{
    arguments::{EventArgs, OutputArgs, PodArgs},
    clock,
    content::{Recipe, Stamp},
    dialect::room_name,
    error::BenchError,
    guests::Guests,
    plot::Plot,
    pod::Pod,
    publisher::Publisher,
    receiver::pairs::{Pairs, Plan},
    report::{self, Row, thousands},
    stats::{Latencies, Percentiles, Spread},
    transport::Transport,
};

mod network;

use network::{Network, Packets};

/// A small room beside a busy one on the same connection, while a network between pod and clients loses packets both ways:
/// over one WebSocket, and over a WebTransport session with a stream for each room, in turns. Makes two network namespaces
/// and drops packets with iptables' `statistic`, so it needs root. See bench/README.md.
#[derive(Debug, Args)]
pub(crate) struct LossArgs {
    /// How many percent of the packets are lost in each direction; repeat it or separate values by commas
    #[arg(long, value_delimiter = ',', default_values_t = [0.0, 1.0, 5.0], value_name = "PERCENT")]
    loss: Vec<f64>,
    /// How many connections of each kind; each is in its kind's two rooms
    #[arg(long, default_value_t = 8, value_name = "N")]
    connections: usize,
    /// Events a second to the busy room: enough that some packet of it is always just lost
    #[arg(long, default_value_t = 500.0, value_name = "EVENTS")]
    rate: f64,
    /// Events a second to the small room
    #[arg(long, default_value_t = 20.0, value_name = "EVENTS")]
    small_rate: f64,
    /// How long a repetition of each kind takes
    #[arg(long, default_value_t = 20.0, value_name = "SECONDS")]
    seconds: f64,
    /// How many repetitions
    #[arg(long, default_value_t = 3, value_name = "N")]
    repetitions: usize,
    #[command(flatten)]
    events: EventArgs,
    #[command(flatten)]
    pod: PodArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// One repetition of one kind.
#[derive(Debug, Serialize)]
struct Round {
    /// From the first event until the last receiver had the last one.
    seconds: f64,
    /// Publish to receive, in milliseconds.
    small: Percentiles,
    busy: Percentiles,
    /// Events times connections that never came, because the connection was too slow, and that a `gap` named.
    small_told: u64,
    busy_told: u64,
    publisher_late_ms: f64,
    /// Packets of the repetition that came over the cable, lost ones included, and those.
    packets: u64,
    lost: u64,
}

/// One kind of connection at one loss, over all repetitions.
#[derive(Debug, Serialize)]
struct Kind {
    transport: Transport,
    /// Publish to receive, in milliseconds.
    small: Percentiles,
    busy: Percentiles,
    /// Of the small room, over the repetitions.
    small_p99: Spread,
    /// What the rules in both namespaces counted.
    lost_percent: f64,
    rounds: Vec<Round>,
    #[serde(skip)]
    pooled: [Latencies; 2],
}

/// Both kinds at one loss.
#[derive(Debug, Serialize)]
struct Level {
    loss_percent: f64,
    kinds: [Kind; 2],
    /// The small room's figures over WebTransport to those over WebSocket, all repetitions together.
    p50_ratio: f64,
    p99_ratio: f64,
    p999_ratio: f64,
    /// Of each pair of repetitions.
    p99_ratios: Spread,
}

#[derive(Debug, Serialize)]
struct Outcome {
    connections: usize,
    rate: f64,
    small_rate: f64,
    size: usize,
    deflate: bool,
    workers: usize,
    levels: Vec<Level>,
}

/// Runs it.
pub(crate) async fn run(args: &LossArgs) -> Result<(), BenchError> {
    let recipe = args.events.recipe()?;
    let schedules = [Schedule::new(args.rate, args.seconds)?, Schedule::new(args.small_rate, args.seconds)?];
    if let Some(loss) = args.loss.iter().find(|loss| !(0.0..=50.0).contains(*loss)) {
        return Err(BenchError::Usage(format!("--loss {loss}: from 0 to 50 percent of the packets are lost")));
    }
    let out = report::directory(&args.output)?;
    let network = Network::lay(&out).await?;
    let guests = Guests { sockets: args.connections, sessions: args.connections };
    let mut pod = Pod::open_at(network.pod(), &args.pod, guests, &out).await?;
    let outcome = measure(args, schedules, recipe, &network, &pod).await.map_err(|error| pod.explain(error))?;
    let mut rows = outcome.levels.iter().map(row);
    let first = rows.next().ok_or_else(|| BenchError::Usage("--loss names no loss".to_owned()))?;
    report::write("loss", &args.output, &outcome, &rows.fold(first, Row::above), &plot(&outcome))
}

impl Kind {
    /// Events times connections, of both rooms, that a `gap` named.
    fn told(&self) -> u64 {
        self.rounds.iter().map(|round| round.small_told + round.busy_told).sum()
    }
}

fn row(level: &Level) -> Row {
    let [sockets, sessions] = &level.kinds;
    let latency = |Percentiles { p50, p99, p999, .. }: &Percentiles| format!("{p50:.1} {p99:.1} {p999:.1}");
    Row::default()
        .cell("packets lost", format!("{} %", level.loss_percent))
        .cell("counted", format!("{:.2} %, {:.2} %", sockets.lost_percent, sessions.lost_percent))
        .cell("events of the small room", thousands(sockets.small.count.min(sessions.small.count)))
        .cell("WebSocket, publish to receive ms, p50 p99 p99.9", latency(&sockets.small))
        .cell("WebTransport", latency(&sessions.small))
        .cell("ratio of p99", format!("**{:.2}**", level.p99_ratio))
        .cell("of each repetition", report::spread(&level.p99_ratios, 2))
        .cell("ratio of p50, p99.9", format!("{:.2}, {:.2}", level.p50_ratio, level.p999_ratio))
        .cell("busy room, p99: WebSocket, WebTransport", format!("{:.1}, {:.1}", sockets.busy.p99, sessions.busy.p99))
        .cell("named by gaps, both rooms", format!("{}, {}", thousands(sockets.told()), thousands(sessions.told())))
}

fn plot(outcome: &Outcome) -> Plot {
    let kinds = || outcome.levels.iter().flat_map(|level| level.kinds.iter().map(|kind| (level.loss_percent, kind)));
    let name = |loss: f64, kind: &Kind| match kind.transport {
        Transport::Websocket => format!("WS {loss}%"),
        Transport::Webtransport => format!("WT {loss}%"),
    };
    let p99s = |kind: &Kind| kind.rounds.iter().map(|round| round.small.p99).collect();
    Plot {
        title: format!("a small room beside one of {} events/s, packets lost both ways", outcome.rate),
        bars_title: "small room, publish to receive p99 (ms)".to_owned(),
        bars: kinds().map(|(loss, kind)| (name(loss, kind), p99s(kind))).collect(),
        curves_title: "small room, publish to receive (ms)".to_owned(),
        curves: kinds().map(|(loss, kind)| (name(loss, kind), kind.pooled[SMALL].curve())).collect(),
    }
}

/// The repetitions of one kind at one loss, each with both rooms' publish to receive.
type Rounds = Vec<(Round, [Latencies; 2])>;

/// Where the rooms stand in each pair.
const BUSY: usize = 0;
const SMALL: usize = 1;

const KINDS: [(Transport, [u32; 2]); 2] = [(Transport::Websocket, [0, 1]), (Transport::Webtransport, [2, 3])];

async fn measure(
    args: &LossArgs,
    schedules: [Schedule; 2],
    recipe: Recipe,
    network: &Network,
    pod: &Pod,
) -> Result<Outcome, BenchError> {
    let progress = bar("connecting", 1);
    let mut all_pairs = Vec::new();
    for (transport, rooms) in KINDS {
        let plan = Plan {
            transport,
            address: pod.address,
            host: pod.host.clone(),
            connections: args.connections.max(1),
            rooms,
            deflate: args.events.deflate(),
            recipe,
        };
        let pairs = Pairs::start(plan, network.to_clients())?;
        pairs.joined(PATIENCE).await?;
        all_pairs.push(pairs);
    }
    let mut publishers = [pod.another_publisher().await?, pod.another_publisher().await?];
    let mut seen: Vec<[Rounds; 2]> = args.loss.iter().map(|_| Default::default()).collect();
    for repetition in 0..args.repetitions.max(1) {
        for (loss, seen) in args.loss.iter().zip(&mut seen) {
            for turn in 0..KINDS.len() {
                // Neither kind is always the first.
                let at = (turn + repetition) % KINDS.len();
                let (transport, rooms) = KINDS[at];
                progress.set_message(format!("{transport:?}, {loss} % lost"));
                network.lose(*loss).await?;
                let round = round(&all_pairs[at], rooms, schedules, &recipe, &mut publishers, &progress).await;
                let Packets { came, lost } = network.packets().await?;
                network.lose(0.0).await?;
                let (mut round, latency) = round?;
                (round.packets, round.lost) = (came, lost);
                if *loss > 0.0 && lost == 0 {
                    return Err(BenchError::Faults(format!("of {came} packets none was lost")));
                }
                seen[at].push((round, latency));
            }
        }
    }
    progress.finish_and_clear();
    let levels = args.loss.iter().zip(seen).map(|(&loss, seen)| level(loss, seen));
    Ok(Outcome {
        connections: args.connections.max(1),
        rate: args.rate,
        small_rate: args.small_rate,
        size: recipe.size,
        deflate: args.events.deflate(),
        workers: pod.workers,
        levels: levels.collect(),
    })
}

/// Publishes to both rooms of a kind at their rates.
async fn round(
    pairs: &Pairs,
    rooms: [u32; 2],
    schedules: [Schedule; 2],
    recipe: &Recipe,
    publishers: &mut [Publisher; 2],
    progress: &ProgressBar,
) -> Result<(Round, [Latencies; 2]), BenchError> {
    progress.set_length(schedules[BUSY].events());
    progress.set_position(0);
    pairs.begin();
    let start = Instant::now();
    let hidden = ProgressBar::hidden();
    let [to_busy, to_small] = publishers;
    let (busy, small) = tokio::join!(
        publish(rooms[BUSY], &schedules[BUSY], recipe, to_busy, progress),
        publish(rooms[SMALL], &schedules[SMALL], recipe, to_small, &hidden),
    );
    let (busy, small) = (busy?, small?);
    let (latency, told) = pairs.finish([busy.0, small.0], PATIENCE).await?;
    let seconds = start.elapsed().as_secs_f64();
    // What is still on its way is acknowledged before the other kind's turn.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let round = Round {
        seconds,
        small: latency[SMALL].percentiles(),
        busy: latency[BUSY].percentiles(),
        small_told: told[SMALL],
        busy_told: told[BUSY],
        publisher_late_ms: busy.1.max(small.1),
        packets: 0,
        lost: 0,
    };
    Ok((round, latency))
}

/// Publishes to a room; its last offset, and how late the latest event was sent.
async fn publish(
    room: u32,
    schedule: &Schedule,
    recipe: &Recipe,
    publisher: &mut Publisher,
    progress: &ProgressBar,
) -> Result<(u64, f64), BenchError> {
    let mut ends = Ends::default();
    let late = schedule
        .keep(progress, async |n| {
            let data = recipe.data(room, Stamp { n, t: clock::now() });
            ends.published(room, publisher.publish(&room_name(room), &data).await?);
            Ok(())
        })
        .await?;
    Ok((ends.offsets().first().map_or(0, |&(_, offset)| offset), late))
}

/// What all repetitions at one loss come to.
fn level(loss_percent: f64, seen: [Rounds; 2]) -> Level {
    let mut which = KINDS.iter();
    let kinds = seen.map(|rounds| {
        let mut pooled = [Latencies::new(), Latencies::new()];
        rounds.iter().for_each(|(_, latency)| pooled.iter_mut().zip(latency).for_each(|(all, one)| all.add(one)));
        let rounds: Vec<Round> = rounds.into_iter().map(|(round, _)| round).collect();
        let (packets, lost) = rounds.iter().fold((0, 0), |(p, l), round| (p + round.packets, l + round.lost));
        Kind {
            transport: which.next().map_or(Transport::Websocket, |(transport, _)| *transport),
            small: pooled[SMALL].percentiles(),
            busy: pooled[BUSY].percentiles(),
            small_p99: Spread::of(rounds.iter().map(|round| round.small.p99)).unwrap_or_default(),
            lost_percent: 100.0 * lost as f64 / packets.max(1) as f64,
            rounds,
            pooled,
        }
    });
    let [sockets, sessions] = &kinds;
    let ratio = |figure: fn(&Percentiles) -> f64| figure(&sessions.small) / figure(&sockets.small);
    let pairs = sessions.rounds.iter().zip(&sockets.rounds);
    Level {
        loss_percent,
        p50_ratio: ratio(|figures| figures.p50),
        p99_ratio: ratio(|figures| figures.p99),
        p999_ratio: ratio(|figures| figures.p999),
        p99_ratios: Spread::of(pairs.map(|(wt, ws)| wt.small.p99 / ws.small.p99)).unwrap_or_default(),
        kinds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_pooled_and_compared() {
        let one = |p99: u64| {
            let mut latency = [Latencies::new(), Latencies::new()];
            (0..96).for_each(|_| latency[SMALL].record(1_000_000));
            (0..4).for_each(|_| latency[SMALL].record(p99 * 1_000_000));
            let (small, busy) = (latency[SMALL].percentiles(), latency[BUSY].percentiles());
            let (small_told, busy_told, publisher_late_ms) = (1, 2, 0.0);
            (
                Round { seconds: 1.0, small, busy, small_told, busy_told, publisher_late_ms, packets: 100, lost: 2 },
                latency,
            )
        };
        let level = level(2.0, [vec![one(40), one(20)], vec![one(10), one(10)]]);
        // Of all 200 the last ten took 40 ms, those before them 20.
        assert!((level.p99_ratio - 0.25).abs() < 0.01, "{}", level.p99_ratio);
        let Spread { min, max, .. } = level.p99_ratios;
        assert!((min - 0.25).abs() < 0.01 && (max - 0.5).abs() < 0.01, "{min} {max}");
        let [sockets, sessions] = &level.kinds;
        assert_eq!((sockets.small.count, sessions.transport), (200, Transport::Webtransport));
        assert!((sockets.lost_percent - 2.0).abs() < 1e-9);
        assert_eq!(sockets.told(), 6);
    }
}
