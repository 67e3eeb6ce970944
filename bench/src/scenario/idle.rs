//! What an idle connection costs.

use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::{
    progress::bar,
    window::{Ends, PATIENCE},
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
    process::{KernelMemory, Memory},
    receiver::control::{Agreed, Join, Target},
    report::{self, Row, thousands},
    transport::Transport,
};

/// Connects, joins one room (a compressed message), receives one broadcast, and is quiet: says what that costs in memory
/// of the pod and of the kernel, and what CPU the pod needs for the pings. See bench/README.md.
#[derive(Debug, Args)]
pub(crate) struct IdleArgs {
    /// How many connections
    #[arg(long, default_value_t = 15_000, value_name = "N")]
    connections: usize,
    /// How long it is quiet; the pod pings after 25 s
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
    workers: usize,
    agreed_suite: String,
    agreed_deflate: bool,
    pod_ready_ms: Option<f64>,
    /// What the pod says about its build: `roomcast_build_info` of its metrics.
    pod_build: Option<String>,
    threads: usize,
    memory_before: Memory,
    memory_after: Memory,
    /// (RSS at N - RSS at 0) / N, in KiB.
    resident_kib_per_connection: f64,
    /// The same of anonymous memory alone.
    anonymous_kib_per_connection: f64,
    /// Whether the kernel's sockets grew by two a connection; if not, others were at work and the kernel's figures are void.
    kernel_is_ours: bool,
    /// What the kernel holds more; both ends of every connection and the receivers are in it.
    kernel: KernelMemory,
    /// Slabs over sockets (two a connection), in KiB.
    kernel_slab_kib_per_socket: f64,
    /// TCP buffers over sockets, in KiB.
    kernel_buffer_kib_per_socket: f64,
    /// From the first to the last connection.
    connect_seconds: f64,
    /// The pod's CPU for handshake, upgrade and subscription.
    connect_cpu_us: f64,
    quiet_seconds: f64,
    /// The pod's CPU while it is quiet, in percent of one core.
    idle_cpu_percent: f64,
    /// The pod's CPU while it is quiet over the connections.
    idle_cpu_us_per_connection: f64,
    /// Pings that the receivers answered meanwhile.
    pings: u64,
}

/// Runs it.
pub(crate) async fn run(args: &IdleArgs) -> Result<(), BenchError> {
    let recipe = args.load.recipe()?;
    let guests = args.load.guests(args.connections);
    let measure = async |pod: &mut Pod| measure(args, recipe, pod).await;
    let outcome = Pod::measured(&args.pod, guests, &args.output, measure).await?;
    let transport = args.load.transport;
    report::write("idle", &args.output, &outcome, &row(&outcome, transport), &plot(&outcome, transport))
}

fn row(outcome: &Outcome, transport: Transport) -> Row {
    Row::default()
        .cell("connections", thousands(outcome.connections as u64))
        .cell("pod's build", outcome.pod_build.as_deref().unwrap_or("-"))
        .cell("pod KiB/connection", format!("{:.2}", outcome.resident_kib_per_connection))
        .cell(
            "kernel KiB/socket, slab + buffers",
            match (transport, outcome.kernel_is_ours) {
                (Transport::Webtransport, _) => "sessions have no sockets of their own".to_owned(),
                (Transport::Websocket, true) => {
                    format!("{:.1} + {:.1}", outcome.kernel_slab_kib_per_socket, outcome.kernel_buffer_kib_per_socket)
                }
                (Transport::Websocket, false) => {
                    format!("void: {} sockets came, not two a connection", thousands(outcome.kernel.sockets))
                }
            },
        )
        .cell("idle CPU, % of a core", format!("{:.2}", outcome.idle_cpu_percent))
        .cell("pings", thousands(outcome.pings))
        .cell("CPU us to connect and join", format!("{:.0}", outcome.connect_cpu_us))
        .cell("connections/s", thousands((outcome.connections as f64 / outcome.connect_seconds) as u64))
        .cell("ready in ms", outcome.pod_ready_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}")))
}

fn plot(outcome: &Outcome, transport: Transport) -> Plot {
    Plot {
        title: format!("{} idle connections, deflate negotiated", thousands(outcome.connections as u64)),
        bars_title: "KiB per connection (kernel: per socket)".to_owned(),
        bars: [
            ("pod".to_owned(), vec![outcome.resident_kib_per_connection]),
            ("kernel".to_owned(), vec![outcome.kernel_slab_kib_per_socket + outcome.kernel_buffer_kib_per_socket]),
        ]
        .into_iter()
        .take(if transport == Transport::Websocket { 2 } else { 1 })
        .collect(),
        ..Plot::default()
    }
}

async fn measure(args: &IdleArgs, recipe: Recipe, pod: &mut Pod) -> Result<Outcome, BenchError> {
    let connections = args.connections.max(1);
    let deflate = args.load.deflate();
    let process = pod.process()?;
    let pod_build = pod.build_info().await?;
    let mut audience = Audience::start(args.load.transport, args.load.processes(connections), 1)?;
    audience.begin(Target::Pod).await?;
    let progress = bar("connecting", 1);

    let (memory_before, kernel_before, cpu_before) = (process.memory()?, KernelMemory::read(), process.cpu()?);
    let start = Instant::now();
    let join = Join { connections, ..pod.join(recipe, deflate) };
    let Agreed { suite: agreed_suite, deflate: agreed_deflate, .. } = audience.join(&join, &progress).await?;
    let connect_seconds = start.elapsed().as_secs_f64();
    let connect_cpu = process.cpu()?.saturating_sub(cpu_before);
    if agreed_deflate != deflate {
        return Err(BenchError::Protocol(
            "the pod refused permessage-deflate: idle memory means nothing then".to_owned(),
        ));
    }
    all_receive(pod, &mut audience, &recipe, connections).await?;

    progress.set_message("quiet");
    progress.set_length(args.seconds.ceil().max(1.0) as u64);
    progress.set_position(0);
    audience.begin(Target::Pod).await?;
    let (quiet, cpu_quiet) = (Instant::now(), process.cpu()?);
    while quiet.elapsed().as_secs_f64() < args.seconds {
        let left = args.seconds - quiet.elapsed().as_secs_f64();
        tokio::time::sleep(Duration::from_secs_f64(left.clamp(0.001, 1.0))).await;
        progress.inc(1);
    }
    let (quiet_seconds, idle_cpu) = (quiet.elapsed().as_secs_f64(), process.cpu()?.saturating_sub(cpu_quiet) as f64);
    let (memory_after, kernel_after) = (process.memory()?, KernelMemory::read());
    let seen = audience.finish(Target::Pod, Vec::new(), PATIENCE, false).await?;
    seen.check(0)?;
    // All must still be there, and receive.
    all_receive(pod, &mut audience, &recipe, connections).await?;
    progress.finish_and_clear();

    let kernel = kernel_after.since(&kernel_before);
    let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / 1024.0 / connections as f64;
    let sockets = 2.0 * connections as f64;
    Ok(Outcome {
        connections,
        workers: pod.workers,
        agreed_suite,
        agreed_deflate,
        pod_ready_ms: pod.ready_ms,
        pod_build,
        threads: process.threads(),
        resident_kib_per_connection: each(memory_after.resident, memory_before.resident),
        anonymous_kib_per_connection: each(memory_after.anonymous, memory_before.anonymous),
        memory_before,
        memory_after,
        kernel_is_ours: (kernel.sockets as f64 - sockets).abs() <= 0.01 * sockets + 20.0,
        kernel_slab_kib_per_socket: kernel.slab as f64 / 1024.0 / sockets,
        kernel_buffer_kib_per_socket: kernel.tcp_buffers as f64 / 1024.0 / sockets,
        kernel,
        connect_seconds,
        connect_cpu_us: connect_cpu as f64 / 1e3 / connections as f64,
        quiet_seconds,
        idle_cpu_percent: idle_cpu / 1e7 / quiet_seconds,
        idle_cpu_us_per_connection: idle_cpu / 1e3 / connections as f64,
        pings: seen.pings,
    })
}

/// One event to all; fails unless all receive it.
async fn all_receive(
    pod: &mut Pod,
    audience: &mut Audience,
    recipe: &Recipe,
    connections: usize,
) -> Result<(), BenchError> {
    audience.begin(Target::Pod).await?;
    let mut ends = Ends::default();
    let data = recipe.data(0, Stamp { n: 0, t: clock::now() });
    ends.published(0, pod.publisher.publish(&room_name(0), &data).await?);
    let received = audience.finish(Target::Pod, ends.offsets(), PATIENCE, false).await?;
    received.check(ends.deliveries(|_| connections as u64))
}
