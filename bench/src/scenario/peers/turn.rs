//! One turn of one server: clients connect, are quiet, receive events one by one and in bursts; then it is published to as fast as it
//! answers.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde::Serialize;

use crate::{
    arguments::processes_for,
    audience::Audience,
    callers::{Request, call},
    clock,
    content::{Recipe, Stamp},
    dialect::room_name,
    error::BenchError,
    peer::{Publication, contender::Contender},
    process::{KernelMemory, Process},
    receiver::control::{Join, Target},
    scenario::{
        schedule::{Schedule, keep_times},
        window::{Ends, Round, Window, members},
    },
    stats::Latencies,
    transport::Transport,
};

/// Events of a burst.
const BURST: u64 = 10;

/// What each turn of a shape is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) connections: usize,
    pub(super) rooms: u32,
    pub(super) deflate: bool,
    pub(super) schedule: Schedule,
    /// Whether bursts follow.
    pub(super) bursts: bool,
    /// How many callers publish at the end, and for how long.
    pub(super) callers: Option<(u16, f64)>,
    /// How long it is quiet, in seconds.
    pub(super) settle: f64,
    pub(super) recipe: Recipe,
}

/// What a turn found.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) agreed_suite: String,
    /// Growth of its processes' memory over the connections, in KiB.
    pub(super) process_kib: f64,
    /// Growth of the kernel's slabs and TCP's buffers over the sockets, two a connection, in KiB; `None`: others opened sockets too.
    pub(super) kernel_kib: Option<f64>,
    pub(super) connects_per_second: f64,
    pub(super) connect_cpu_us: f64,
    /// Events one by one.
    pub(super) single: Round,
    /// In bursts of ten.
    pub(super) bursts: Option<Round>,
    /// Of the events one by one.
    #[serde(skip)]
    pub(super) latency: Latencies,
    /// Through its HTTP API.
    pub(super) published: Option<Published>,
}

/// Publishing as fast as it is answered.
#[derive(Debug, Serialize)]
pub(super) enum Published {
    Rate {
        per_second: f64,
        cpu_us: f64,
    },
    /// Why there is none.
    Cannot(&'static str),
}

/// One turn. Needs a `LocalSet`.
pub(super) async fn measure(
    plan: &Plan,
    contender: &mut dyn Contender,
    progress: &ProgressBar,
) -> Result<Figures, BenchError> {
    let mut audience = Audience::start(Transport::Websocket, processes_for(plan.connections), 1)?;
    let processes = contender.processes();
    let (memory, kernel, cpu) = (proportional(&processes)?, KernelMemory::read(), used(&processes)?);
    let start = Instant::now();
    let join = contender.join(plan.recipe, plan.deflate);
    let join = Join { connections: plan.connections, rooms: plan.rooms, ..join };
    let agreed = audience.join(&join, progress).await?;
    let (connect_seconds, connect_cpu) = (start.elapsed().as_secs_f64(), used(&processes)? - cpu);
    if agreed.deflate != plan.deflate {
        let what = if plan.deflate { "refused" } else { "agreed, unasked, on" };
        return Err(BenchError::Protocol(format!("it {what} compression")));
    }
    let mut numbers = vec![0; plan.rooms as usize];
    // The first event finds nothing warm. Its figures are not kept.
    let once = Schedule { rate: 10.0, seconds: f64::from(plan.rooms.min(10)) / 10.0 };
    one_by_one(plan, once, contender, &mut audience, &mut numbers, progress).await?;
    tokio::time::sleep(Duration::from_secs_f64(plan.settle)).await;
    let (memory_then, kernel_then) = (proportional(&processes)?, KernelMemory::read().since(&kernel));

    let (single, latency) = one_by_one(plan, plan.schedule, contender, &mut audience, &mut numbers, progress).await?;
    let bursts = match plan.bursts {
        true => Some(in_bursts(plan, contender, &mut audience, &mut numbers, progress).await?),
        false => None,
    };
    drop(audience);
    let published = match plan.callers {
        Some((callers, seconds)) => Some(publish(plan, contender, callers, seconds).await?),
        None => None,
    };
    let connections = plan.connections as f64;
    let sockets = 2.0 * connections;
    let kib = |bytes: u64, over: f64| bytes as f64 / 1024.0 / over;
    let is_ours = (kernel_then.sockets as f64 - sockets).abs() <= 0.01 * sockets + 20.0;
    Ok(Figures {
        agreed_suite: agreed.suite,
        process_kib: kib(memory_then.saturating_sub(memory), connections),
        kernel_kib: is_ours.then(|| kib(kernel_then.slab + kernel_then.tcp_buffers, sockets)),
        connects_per_second: connections / connect_seconds,
        connect_cpu_us: connect_cpu as f64 / 1e3 / connections,
        single,
        bursts,
        latency,
        published,
    })
}

fn proportional(processes: &[Process]) -> Result<u64, BenchError> {
    processes.iter().map(Process::proportional).sum()
}

fn used(processes: &[Process]) -> Result<u64, BenchError> {
    processes.iter().map(Process::cpu).sum()
}

/// Publishes the next event of a room; its room and where it stands there.
async fn post(
    plan: &Plan,
    contender: &mut dyn Contender,
    numbers: &mut [u64],
    room: u32,
) -> Result<(u32, u64), BenchError> {
    let number = numbers.get_mut(room as usize);
    let number = number.ok_or_else(|| BenchError::Protocol(format!("there is no room {room}")))?;
    let data = plan.recipe.data(room, Stamp { n: *number, t: clock::now() });
    *number += 1;
    contender.post(&Publication { room: room_name(room), data }).await?;
    Ok((room, *number))
}

async fn one_by_one(
    plan: &Plan,
    schedule: Schedule,
    contender: &mut dyn Contender,
    audience: &mut Audience,
    numbers: &mut [u64],
    progress: &ProgressBar,
) -> Result<(Round, Latencies), BenchError> {
    let window = Window::begin(audience, Target::Pod, contender.processes()).await?;
    let send = async |n| {
        let room = u32::try_from(n % u64::from(plan.rooms)).unwrap_or(0);
        post(plan, contender, numbers, room).await
    };
    let members = |room| members(plan.connections, plan.rooms, room);
    let (round, received) = window.publish(audience, schedule, progress, members, send).await?;
    Ok((round, received.latency))
}

/// As many events to one room in the same time, ten at once: each follows the answer to the one before.
async fn in_bursts(
    plan: &Plan,
    contender: &mut dyn Contender,
    audience: &mut Audience,
    numbers: &mut [u64],
    progress: &ProgressBar,
) -> Result<Round, BenchError> {
    let bursts = plan.schedule.events().div_ceil(BURST);
    let at = |burst: u64| Duration::from_secs_f64((burst * BURST) as f64 / plan.schedule.rate);
    progress.set_length(bursts);
    progress.set_position(0);
    let window = Window::begin(audience, Target::Pod, contender.processes()).await?;
    let mut ends = Ends::default();
    let send = async |_| {
        for _ in 0..BURST {
            let (room, offset) = post(plan, contender, numbers, 0).await?;
            ends.published(room, offset);
        }
        Ok(())
    };
    let late = keep_times((0..bursts).map(at), at(bursts), progress, send).await?;
    Ok(window.end(audience, &ends, |room| members(plan.connections, plan.rooms, room), late).await?.0)
}

/// Callers with a room of their own each, which has no members.
async fn publish(
    plan: &Plan,
    contender: &mut dyn Contender,
    callers: u16,
    seconds: f64,
) -> Result<Published, BenchError> {
    let mut requests: Vec<Request> = Vec::new();
    let mut at = None;
    for caller in 0..callers {
        let data = plan.recipe.data(0, Stamp { n: 0, t: clock::now() });
        let room = room_name(plan.rooms + u32::from(caller));
        match contender.request(&Publication { room, data }) {
            Ok((api, request)) => {
                requests.push(request);
                at = Some(api);
            }
            Err(why) => return Ok(Published::Cannot(why)),
        }
    }
    let Some(api) = at else { return Ok(Published::Cannot("there are no callers")) };
    call(api, &requests, seconds.min(0.3)).await?;
    let processes = contender.processes();
    let before = used(&processes)?;
    let (answered, elapsed) = call(api, &requests, seconds).await?;
    let cpu = used(&processes)? - before;
    Ok(Published::Rate { per_second: answered as f64 / elapsed, cpu_us: cpu as f64 / 1e3 / answered.max(1) as f64 })
}
