//! Pods that share one Redis, and rooms with members on each of them: what a room, a membership and an event cost pods and Redis.
//!
//! Always holds: every member got every event of its rooms, or the run is void.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use tokio::{
    task::{JoinHandle, LocalSet},
    time::sleep,
};

use super::{
    member::{Member, Notes, Seen, until},
    progress::bar,
    schedule::Schedule,
    servers::Servers,
};
use crate::{
    arguments::{OutputArgs, PodArgs},
    clock,
    content::{Recipe, Stamp},
    error::BenchError,
    plot::Plot,
    pod::Pod,
    publisher::Publisher,
    report::{self, Row, thousands},
};

/// How long joining, or the last event, may take, in seconds.
const PATIENCE: u64 = 120;

/// Pods over one Redis; members of the same rooms on each, over plain sockets, several rooms a connection; then events to the rooms in
/// turn, through the first pod. See bench/README.md.
#[derive(Debug, Args)]
pub(crate) struct SpreadArgs {
    /// How many pods
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=8))]
    pods: u8,
    /// Connections to each pod
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// How many rooms there are
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rooms: u32,
    /// Rooms of each connection, joined with one command
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=128))]
    each: u32,
    /// How long it is quiet before memory is read: pods give back after 10 s what they needed to join only
    #[arg(long, default_value_t = 12.0, value_name = "SECONDS")]
    quiet: f64,
    /// Events a second, over all rooms; 0 publishes none
    #[arg(long, default_value_t = 0.0, value_name = "EVENTS")]
    rate: f64,
    /// How many of them are published by one request
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    batch: u32,
    /// How long events are published
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    seconds: f64,
    /// The size of an event's data, in bytes
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    size: usize,
    #[command(flatten)]
    pod: PodArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
struct Outcome {
    pods: u8,
    connections: u32,
    rooms: u32,
    each: u32,
    /// Of each room on each pod.
    members: u32,
    join_seconds: f64,
    /// All resident memory of the first pod before the first connection.
    memory_before_kib: f64,
    /// And once it was quiet.
    memory_after_kib: f64,
    /// What Redis holds more (`used_memory`).
    redis_kib: f64,
    published: Option<Published>,
}

/// What events cost, without what pods and Redis use when nothing is published.
#[derive(Debug, Serialize)]
struct Published {
    events: u64,
    deliveries: u64,
    events_a_call: f64,
    redis_cpu_us_per_event: f64,
    /// Of the pod that is published through, beyond one of the others; `None` if there is none.
    publishing_cpu_us_per_event: Option<f64>,
    /// Of one of the other pods.
    taking_cpu_us_per_event: Option<f64>,
    publisher_late_ms: f64,
}

/// Runs it.
pub(crate) async fn run(args: &SpreadArgs) -> Result<(), BenchError> {
    args.pod.must_start("pods")?;
    let recipe = Recipe::of("--size", args.size)?;
    let memberships = u64::from(args.connections) * u64::from(args.each);
    if !memberships.is_multiple_of(u64::from(args.rooms)) || args.each > args.rooms {
        let message = "--connections times --each is a multiple of --rooms, and --each at most --rooms";
        return Err(BenchError::Usage(message.to_owned()));
    }
    let out = report::directory(&args.output)?;
    let servers = Servers::start_one().await?;
    let own = args.pod.with([format!("--redis={}", servers.url())]);
    let mut pods = Vec::new();
    for index in 0..args.pods {
        let log = report::directory_in(&out, &format!("spread-{index}"))?;
        pods.push(Pod::open(&own, (args.connections as usize).into(), &log).await?);
    }
    let measured = LocalSet::new().run_until(measure(args, recipe, &servers, &mut pods)).await;
    let outcome = measured.map_err(|error| Pod::explain_all(&mut pods, error))?;
    report::write("spread", &args.output, &outcome, &row(&outcome), &plot(&outcome))
}

async fn measure(
    args: &SpreadArgs,
    recipe: Recipe,
    servers: &Servers,
    pods: &mut [Pod],
) -> Result<Outcome, BenchError> {
    let [first, others @ ..] = pods else { return Err(BenchError::Protocol("no pods".to_owned())) };
    let process = first.process()?;
    let resident = || Ok::<_, BenchError>(process.memory()?.resident as f64 / 1024.0);
    let (memory_before_kib, redis_before) = (resident()?, servers.memory().await?);
    let progress = bar("joining", 1);
    let notes: Notes = Rc::new(RefCell::new(Seen::default()));
    let start = Instant::now();
    let mut members = Vec::new();
    for pod in std::iter::once(&*first).chain(&*others) {
        members.extend(join(args, pod, &notes).await?);
    }
    let memberships = args.connections as usize * args.each as usize * usize::from(args.pods);
    until(&notes, PATIENCE, "joining the rooms", |seen| seen.joined >= memberships).await?;
    let join_seconds = start.elapsed().as_secs_f64();
    progress.set_message("quiet");
    sleep(Duration::from_secs_f64(args.quiet.clamp(0.0, 600.0))).await;
    let memory_after_kib = resident()?;
    let redis_kib = servers.memory().await?.saturating_sub(redis_before) as f64 / 1024.0;
    let published = match args.rate > 0.0 {
        true => Some(publish(args, recipe, servers, first, others, &notes).await?),
        false => None,
    };
    progress.finish_and_clear();
    members.iter().for_each(JoinHandle::abort);
    notes.borrow().check()?;
    Ok(Outcome {
        pods: args.pods,
        connections: args.connections,
        rooms: args.rooms,
        each: args.each,
        members: of_a_room(args),
        join_seconds,
        memory_before_kib,
        memory_after_kib,
        redis_kib,
        published,
    })
}

/// Members of each room on each pod.
fn of_a_room(args: &SpreadArgs) -> u32 {
    (u64::from(args.connections) * u64::from(args.each) / u64::from(args.rooms)) as u32
}

fn room(number: u64) -> String {
    format!("spread:{number}")
}

/// All members on a pod.
async fn join(args: &SpreadArgs, pod: &Pod, notes: &Notes) -> Result<Vec<JoinHandle<()>>, BenchError> {
    let address = pod.plain()?;
    let mut members = Vec::new();
    for connection in 0..u64::from(args.connections) {
        let first = connection * u64::from(args.each);
        let rooms: Vec<_> = (first..first + u64::from(args.each)).map(|n| room(n % u64::from(args.rooms))).collect();
        members.push(Member::connect(address).await?.join(&rooms, notes));
    }
    Ok(members)
}

/// Events to the rooms in turn.
struct Posts {
    recipe: Recipe,
    rooms: u64,
    sent: u64,
}

impl Posts {
    /// Publishes so many, with one request.
    async fn send(&mut self, count: u64, publisher: &mut Publisher) -> Result<(), BenchError> {
        let numbers = self.sent..self.sent + count;
        let events: Vec<_> =
            numbers.map(|n| (room(n % self.rooms), self.recipe.data(0, Stamp { n, t: clock::now() }))).collect();
        self.sent += count;
        match &events[..] {
            [(room, data)] => publisher.publish(room, data).await.map(drop),
            events => {
                let events: Vec<_> = events.iter().map(|(room, data)| (room.as_str(), data.clone())).collect();
                publisher.broadcast(&events).await
            }
        }
    }
}

async fn publish(
    args: &SpreadArgs,
    recipe: Recipe,
    servers: &Servers,
    first: &mut Pod,
    others: &[Pod],
    notes: &Notes,
) -> Result<Published, BenchError> {
    let batch = u64::from(args.batch);
    let schedule = Schedule::new(args.rate / batch as f64, args.seconds)?;
    let process = first.process()?;
    let processes = others.iter().map(Pod::process).collect::<Result<Vec<_>, _>>()?;
    let cpu = || -> Result<[u64; 3], BenchError> {
        let others = processes.iter().map(|other| other.cpu()).sum::<Result<u64, _>>()?;
        Ok([servers.cpu()?, process.cpu()?, others])
    };
    let mut posts = Posts { recipe, rooms: u64::from(args.rooms), sent: 0 };
    let members = u64::from(of_a_room(args)) * u64::from(args.pods);
    let seen = |seen: &Seen| seen.events.values().map(|events| events.len() as u64).sum::<u64>();
    // The first event of each room is dearer: it makes the log.
    for _ in 0..u64::from(args.rooms).div_ceil(batch) {
        posts.send(batch, &mut first.publisher).await?;
    }
    let warm = posts.sent;
    until(notes, PATIENCE, "the first events", |notes| seen(notes) >= warm * members).await?;

    let (before, start) = (cpu()?, Instant::now());
    sleep(Duration::from_secs(2)).await;
    let (after, quiet) = (cpu()?, start.elapsed().as_secs_f64());
    let used = |before: [u64; 3], after: [u64; 3], index: usize| after[index].saturating_sub(before[index]) as f64;
    let idle = [0, 1, 2].map(|index| used(before, after, index) / quiet);

    let progress = bar("publishing", schedule.events());
    let (before, work, start) = (cpu()?, servers.work().await?, Instant::now());
    let publisher_late_ms = schedule.keep(&progress, async |_| posts.send(batch, &mut first.publisher).await).await?;
    let events = schedule.events() * batch;
    until(notes, PATIENCE, "the last events", |notes| seen(notes) >= (warm + events) * members).await?;
    let (after, done, seconds) = (cpu()?, servers.work().await?, start.elapsed().as_secs_f64());
    progress.finish_and_clear();
    let deliveries = seen(&notes.borrow()) - warm * members;
    if deliveries != events * members {
        return Err(BenchError::Faults(format!("{deliveries} deliveries instead of {}", events * members)));
    }
    let each = |index: usize| (used(before, after, index) - idle[index] * seconds) / 1e3 / events as f64;
    let taking = (!others.is_empty()).then(|| each(2) / others.len() as f64);
    let scripts = done.scripts.saturating_sub(work.scripts).max(1) as f64;
    Ok(Published {
        events,
        deliveries,
        events_a_call: done.appended.saturating_sub(work.appended) as f64 / scripts,
        redis_cpu_us_per_event: each(0),
        publishing_cpu_us_per_event: taking.map(|taking| each(1) - taking),
        taking_cpu_us_per_event: taking,
        publisher_late_ms,
    })
}

fn row(outcome: &Outcome) -> Row {
    let optional = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
    let published = outcome.published.as_ref();
    let growth = outcome.memory_after_kib - outcome.memory_before_kib;
    Row::default()
        .cell("pods", outcome.pods.to_string())
        .cell("connections of each", thousands(outcome.connections))
        .cell("rooms", thousands(outcome.rooms))
        .cell("members of each on a pod", thousands(outcome.members))
        .cell("joined, s", format!("{:.2}", outcome.join_seconds))
        .cell("a pod's memory grew by, KiB", thousands(growth.max(0.0) as u64))
        .cell("Redis' memory grew by, KiB", thousands(outcome.redis_kib as u64))
        .cell("events a call", optional(published.map(|published| published.events_a_call)))
        .cell("Redis' CPU us/event", optional(published.map(|published| published.redis_cpu_us_per_event)))
        .cell("publishing, CPU us/event", optional(published.and_then(|p| p.publishing_cpu_us_per_event)))
        .cell("taking, CPU us/event", optional(published.and_then(|p| p.taking_cpu_us_per_event)))
}

fn plot(outcome: &Outcome) -> Plot {
    let growth = outcome.memory_after_kib - outcome.memory_before_kib;
    Plot {
        title: format!("{} rooms on {} pods", thousands(outcome.rooms), outcome.pods),
        bars_title: "memory (KiB)".to_owned(),
        bars: vec![("pod".to_owned(), vec![growth.max(0.0)]), ("Redis".to_owned(), vec![outcome.redis_kib])],
        ..Plot::default()
    }
}
