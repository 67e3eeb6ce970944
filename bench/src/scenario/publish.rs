//! The API: what a request costs the pod.

use std::{cell::Cell, net::SocketAddr, rc::Rc, time::Duration};

use clap::Args;
use roomcast_websocket::{ClientHandshake, Frame, Opcode};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::{JoinHandle, LocalSet},
    time::timeout,
};

use super::progress::bar;
use crate::{
    arguments::{OutputArgs, PodArgs},
    callers::{Request, call, request},
    content::{Recipe, Stamp},
    error::{BenchError, Doing as _},
    floor::http::HttpFloor,
    plot::Plot,
    pod::Pod,
    process::Process,
    publisher::TOPIC,
    report::{self, Row, spread, thousands},
    stats::Spread,
};

/// The pod's thread that the API runs on.
const API_THREAD: &str = "beside";

/// Calls the API as fast as it answers, beside a bare hyper server that reads the same bodies: POST /api/publish to rooms
/// without and with a member, and POST /api/broadcast of many events. See bench/README.md.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// Connections to the API, each with one request under way; as many rooms
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    callers: u16,
    /// Events in one broadcast
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    events: u16,
    /// The size of an event's data, in bytes
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    size: usize,
    /// How long each case is measured in each repetition
    #[arg(long, default_value_t = 3.0, value_name = "SECONDS")]
    seconds: f64,
    /// Repetitions, the cases in turns
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    repetitions: u16,
    #[command(flatten)]
    pod: PodArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Case {
    FloorPublish,
    Publish,
    PublishToMembers,
    FloorBroadcast,
    Broadcast,
}

impl Case {
    const ALL: [Self; 5] =
        [Self::FloorPublish, Self::Publish, Self::PublishToMembers, Self::FloorBroadcast, Self::Broadcast];

    fn name(self) -> &'static str {
        match self {
            Self::FloorPublish => "bare hyper, body of a publish",
            Self::Publish => "publish",
            Self::PublishToMembers => "publish, a member in each room",
            Self::FloorBroadcast => "bare hyper, body of a broadcast",
            Self::Broadcast => "broadcast",
        }
    }

    /// The case that does the same without the pod's own work.
    fn floor(self) -> Option<Self> {
        match self {
            Self::FloorPublish | Self::FloorBroadcast => None,
            Self::Publish | Self::PublishToMembers => Some(Self::FloorPublish),
            Self::Broadcast => Some(Self::FloorBroadcast),
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Round {
    requests: u64,
    per_second: f64,
    /// Of the thread that answers.
    cpu_us: f64,
    /// Of the whole process: with members, the workers' sending as well.
    process_cpu_us: f64,
}

#[derive(Debug, Serialize)]
struct Measured {
    case: Case,
    events_per_request: u16,
    requests_per_second: Spread,
    cpu_us_per_request: Spread,
    process_cpu_us_per_request: Spread,
    cpu_us_per_event: Spread,
    /// To the floor of the same repetition.
    ratio: Option<Spread>,
    rounds: Vec<Round>,
}

#[derive(Debug, Serialize)]
struct Outcome {
    callers: u16,
    event_bytes: usize,
    seconds: f64,
    cases: Vec<Measured>,
    /// CPU of the API's thread for an event in a broadcast, over that of a publish.
    broadcast_event_over_publish: Spread,
}

/// Runs it.
pub(crate) async fn run(args: &PublishArgs) -> Result<(), BenchError> {
    if !(args.seconds > 0.0 && args.seconds <= 600.0) {
        return Err(BenchError::Usage(format!("--seconds {}: above 0 and at most 600", args.seconds)));
    }
    let measure = async |pod: &mut Pod| LocalSet::new().run_until(measure(args, pod)).await;
    let outcome = Pod::measured(&args.pod, usize::from(args.callers).into(), &args.output, measure).await?;
    report::write("publish", &args.output, &outcome, &row(&outcome), &plot(&outcome))
}

fn row(outcome: &Outcome) -> Row {
    let rows = outcome.cases.iter().map(|m| {
        Row::default()
            .cell("", m.case.name())
            .cell("requests/s", thousands(m.requests_per_second.median as u64))
            .cell("CPU us a request, API thread", spread(&m.cpu_us_per_request, 1))
            .cell("to the floor", m.ratio.map_or_else(|| "1".to_owned(), |ratio| spread(&ratio, 2)))
            .cell("CPU us an event", spread(&m.cpu_us_per_event, 2))
            .cell("CPU us a request, whole process", spread(&m.process_cpu_us_per_request, 1))
    });
    rows.reduce(Row::above).unwrap_or_default()
}

fn plot(outcome: &Outcome) -> Plot {
    Plot {
        title: format!("the API, {} callers", outcome.callers),
        bars_title: "CPU of the API's thread per event (us)".to_owned(),
        bars: outcome
            .cases
            .iter()
            .map(|m| {
                let events = f64::from(m.events_per_request);
                (m.case.name().to_owned(), m.rounds.iter().map(|round| round.cpu_us / events).collect())
            })
            .collect(),
        ..Plot::default()
    }
}

async fn measure(args: &PublishArgs, pod: &mut Pod) -> Result<Outcome, BenchError> {
    let floor = HttpFloor::start().await?;
    let process = pod.process()?;
    let recipe = Recipe { seed: 1, size: args.size };
    let event = |kind: &str, n: u16| {
        let data = recipe.data(u32::from(n), Stamp { n: u64::from(n), t: 0 });
        format!(r#"{{"room":"{kind}:{}","topic":"{TOPIC}","data":{data}}}"#, n % args.callers)
    };
    let requests = |case: Case| -> Vec<Request> {
        let one = |n: u16| match case {
            Case::FloorPublish | Case::Publish => request("/api/publish", pod.api_key(), &event("empty", n)),
            Case::PublishToMembers => request("/api/publish", pod.api_key(), &event("member", n)),
            Case::FloorBroadcast | Case::Broadcast => {
                let events: Vec<_> = (0..args.events).map(|i| event("empty", n.wrapping_add(i))).collect();
                request("/api/broadcast", pod.api_key(), &format!(r#"{{"publications":[{}]}}"#, events.join(",")))
            }
        };
        (0..args.callers).map(one).collect()
    };
    let plans: Vec<_> = Case::ALL.iter().map(|case| (*case, requests(*case))).collect();
    let members = Members::join(pod.plain()?, args.callers).await?;
    let progress = bar("calling", u64::from(args.repetitions) * Case::ALL.len() as u64);
    let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); Case::ALL.len()];
    for _ in 0..args.repetitions {
        for (index, (case, requests)) in plans.iter().enumerate() {
            let (address, process, thread) = match case.floor() {
                None => (floor.address, floor.process, None),
                Some(_) => (pod.internal(), process, Some(API_THREAD)),
            };
            let before = published(pod).await?;
            let (round, answered) = round(address, process, thread, requests, args.seconds).await?;
            let events = if *case == Case::Broadcast { u64::from(args.events) } else { 1 };
            let expected = if case.floor().is_some() { answered * events } else { 0 };
            let counted = published(pod).await? - before;
            if counted != expected {
                return Err(BenchError::Faults(format!("{expected} events were answered, {counted} published")));
            }
            rounds[index].push(round);
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    members.check()?;
    outcome(args, rounds)
}

/// One measured round, and how many requests were answered with those before it.
async fn round(
    address: SocketAddr,
    process: Process,
    thread: Option<&str>,
    requests: &[Request],
    seconds: f64,
) -> Result<(Round, u64), BenchError> {
    // Until connections, caches and the allocator are as they stay.
    let (before, _) = call(address, requests, seconds.min(0.3)).await?;
    let cpu = || -> Result<(u64, u64), BenchError> {
        let whole = process.cpu()?;
        Ok((thread.map_or(Ok(whole), |name| process.thread_cpu(name))?, whole))
    };
    let (thread_before, whole_before) = cpu()?;
    let (requests, elapsed) = call(address, requests, seconds).await?;
    let (thread_after, whole_after) = cpu()?;
    let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / 1e3 / requests.max(1) as f64;
    let round = Round {
        requests,
        per_second: requests as f64 / elapsed,
        cpu_us: each(thread_after, thread_before),
        process_cpu_us: each(whole_after, whole_before),
    };
    Ok((round, before + requests))
}

fn outcome(args: &PublishArgs, rounds: Vec<Vec<Round>>) -> Result<Outcome, BenchError> {
    let none = || BenchError::Protocol("nothing was measured".to_owned());
    let of = |case: Case| Case::ALL.iter().position(|known| *known == case).map(|at| &rounds[at]).ok_or_else(none);
    let mut cases = Vec::new();
    for case in Case::ALL {
        let own = of(case)?;
        let events = if matches!(case, Case::Broadcast | Case::FloorBroadcast) { args.events } else { 1 };
        let figure = |figure: &dyn Fn(&Round) -> f64| Spread::of(own.iter().map(figure)).ok_or_else(none);
        let ratio = match case.floor() {
            Some(floor) => Spread::of(own.iter().zip(of(floor)?).map(|(own, floor)| own.cpu_us / floor.cpu_us)),
            None => None,
        };
        cases.push(Measured {
            case,
            events_per_request: events,
            requests_per_second: figure(&|round| round.per_second)?,
            cpu_us_per_request: figure(&|round| round.cpu_us)?,
            process_cpu_us_per_request: figure(&|round| round.process_cpu_us)?,
            cpu_us_per_event: figure(&|round| round.cpu_us / f64::from(events))?,
            ratio,
            rounds: own.clone(),
        });
    }
    let shares = of(Case::Broadcast)?.iter().zip(of(Case::Publish)?);
    let broadcast_event_over_publish =
        Spread::of(shares.map(|(many, one)| many.cpu_us / f64::from(args.events) / one.cpu_us)).ok_or_else(none)?;
    let (callers, event_bytes, seconds) = (args.callers, args.size, args.seconds);
    Ok(Outcome { callers, event_bytes, seconds, cases, broadcast_event_over_publish })
}

/// How many events the pod has taken from backends.
pub(super) async fn published(pod: &mut Pod) -> Result<u64, BenchError> {
    let (_, text) = pod.publisher.get("/metrics").await?;
    let line = text.lines().find_map(|line| line.strip_prefix("roomcast_events_in_total{source=\"api\"} "));
    line.and_then(|value| value.parse().ok())
        .ok_or_else(|| BenchError::Protocol("the pod does not say how many events it took".to_owned()))
}

/// One member in each room, over plain TCP: what it gets is counted in bytes, not looked at. Needs a `LocalSet`.
struct Members(Vec<(JoinHandle<()>, Rc<Cell<u64>>)>);

impl Members {
    async fn join(address: SocketAddr, rooms: u16) -> Result<Self, BenchError> {
        let mut members = Vec::new();
        for room in 0..rooms {
            let doing = || format!("joining a room at {address}");
            let mut stream = TcpStream::connect(address).await.doing(doing)?;
            let handshake = ClientHandshake::new(&address.to_string(), "/ws", &["roomcast.v1"], None, &[]);
            stream.write_all(handshake.request()).await.doing(doing)?;
            let subscribe = format!(r#"{{"type":"subscribe","room":"member:{room}"}}"#);
            stream.write_all(&frame(Opcode::Text, &subscribe)).await.doing(doing)?;
            let mut received = Vec::new();
            while !received.windows(12).any(|window| window == br#""subscribed""#) {
                let read = timeout(Duration::from_secs(10), stream.read_buf(&mut received)).await;
                if !matches!(read, Ok(Ok(1..))) {
                    return Err(BenchError::Protocol(format!("{}: no answer to subscribe", doing())));
                }
            }
            let bytes = Rc::new(Cell::new(0));
            members.push((tokio::task::spawn_local(listen(stream, Rc::clone(&bytes))), bytes));
        }
        Ok(Self(members))
    }

    /// Fails if a receiver is gone, or got nothing.
    fn check(&self) -> Result<(), BenchError> {
        let lost = self.0.iter().filter(|(task, bytes)| task.is_finished() || bytes.get() == 0).count();
        if lost > 0 {
            return Err(BenchError::Faults(format!("{lost} members were disconnected or received nothing")));
        }
        Ok(())
    }
}

/// Reads until the connection ends, and gives a sign of life now and then.
async fn listen(mut stream: TcpStream, bytes: Rc<Cell<u64>>) {
    let mut alive = tokio::time::interval(Duration::from_secs(5));
    let mut chunk = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            read = stream.read(&mut chunk) => match read {
                Ok(n @ 1..) => bytes.set(bytes.get() + n as u64),
                _ => return,
            },
            _ = alive.tick() => {
                if stream.write_all(&frame(Opcode::Pong, "")).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn frame(opcode: Opcode, text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    Frame::new(opcode, text.as_bytes()).write_client([1, 2, 3, 4], &mut frame);
    frame
}
