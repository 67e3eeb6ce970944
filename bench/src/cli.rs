//! What can be asked for.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    audience::Audience,
    child,
    content::{Recipe, SMALLEST},
    dialect::Dialect,
    error::BenchError,
    floor,
    pod::Guests,
    process, receiver,
    scenario::{self, broadcast, churn, connect, fleet, idle, loss, mixed, polls, publish, rooms, transports, trips},
};

/// The load generator of roomcast.
///
/// It starts a pod (or takes a running one), connects thousands of real TLS WebSocket clients to it, publishes over
/// HTTP, checks that every client received every event once, in order and unchanged, and says what that cost: memory
/// per connection, CPU per delivery, latency. A run in which an event was lost, repeated, swapped or changed fails.
///
/// Build with --release; figures of a debug build mean nothing.
#[derive(Debug, Parser)]
#[command(name = "roomcast-bench", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What a connection costs that does nothing: memory of the pod and the kernel, CPU for pings
    Idle(idle::IdleArgs),
    /// One room, many receivers: CPU per delivery and time to the last receiver, beside the floor
    Broadcast(broadcast::BroadcastArgs),
    /// Many rooms: receivers and events are spread over them
    Rooms(rooms::RoomsArgs),
    /// A small room beside a large one: does the large one delay the small one?
    Mixed(mixed::MixedArgs),
    /// Handshakes a second, and what one costs the pod
    Connect(connect::ConnectArgs),
    /// Members come and go while others stay and receive
    Churn(churn::ChurnArgs),
    /// What a request to the API costs: publish and broadcast, beside a bare HTTP server
    Publish(publish::PublishArgs),
    /// TLS WebSockets and WebTransport sessions in one pod: memory and CPU of each, 50,000 together
    Transports(transports::TransportsArgs),
    /// A small room beside a busy one on a network that loses packets: one WebSocket against WebTransport's streams
    Loss(loss::LossArgs),
    /// Three pods that share a Redis Cluster: latency, rates beside bare Redis, joining, a killed master
    Fleet(fleet::FleetArgs),
    /// The preset live-polls: participants of one session over Socket.IO and Redis, against p95 below 100 ms
    Polls(polls::PollsArgs),
    /// The preset trips: many trips over Redis, batched by its window beside the same without one: bytes and CPU
    Trips(trips::TripsArgs),
    /// A process full of receivers; orders come on its input
    #[command(hide = true)]
    Receiver,
    /// A process full of receivers over WebTransport; orders come on its input
    #[command(hide = true)]
    Sessions,
    /// The floor; frames come on its input
    #[command(hide = true)]
    Floor {
        /// How many threads.
        #[arg(long)]
        threads: usize,
    },
    /// The floor of the API
    #[command(hide = true)]
    HttpFloor,
    /// Becomes a program that ends with this process' parent
    #[command(hide = true)]
    Exec {
        /// The program and its arguments.
        #[arg(last = true)]
        command: Vec<String>,
    },
}

/// Which pod is measured.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "The pod")]
pub(crate) struct PodArgs {
    /// Worker threads of the pod that is started, and of the floor [default: one a core]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// The pod's binary [default: the one beside this program; under cargo it is built first]
    #[arg(long, value_name = "FILE")]
    pub(crate) pod: Option<PathBuf>,
    /// One more argument for the pod that is started; repeat it for more: --pod-arg=--config --pod-arg=pod.toml
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) pod_arg: Vec<String>,
    /// What receivers speak over their WebSockets
    #[arg(long, value_enum, default_value_t = Dialect::Native, value_name = "NAME", conflicts_with = "url")]
    pub(crate) dialect: Dialect,
    /// Measure this running pod instead of starting one, e.g. wss://127.0.0.1:8443/ws (needs --api-key)
    #[arg(long, value_name = "URL", requires = "api_key", conflicts_with_all = ["pod", "pod_arg"])]
    pub(crate) url: Option<String>,
    /// The running pod's internal listener, to which events are published [default: 127.0.0.1:9000]
    #[arg(long, value_name = "ADDR", requires = "url")]
    pub(crate) internal: Option<SocketAddr>,
    /// The running pod's process, for memory and CPU
    #[arg(long, value_name = "PID", requires = "url")]
    pub(crate) pid: Option<u32>,
    /// The API key to publish with [default for a pod that is started: bench]
    #[arg(long, value_name = "KEY")]
    pub(crate) api_key: Option<String>,
}

impl PodArgs {
    /// How many worker threads.
    pub(crate) fn workers(&self) -> usize {
        self.workers.unwrap_or_else(process::cores).max(1)
    }
}

/// What connections are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// WebSocket over TLS over TCP.
    Websocket,
    /// WebTransport over QUIC over UDP.
    Webtransport,
}

/// What is sent.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Events and receivers")]
pub(crate) struct EventArgs {
    /// The size of an event's data, in bytes: JSON of a trip, with ids, numbers and random parts
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    size: usize,
    /// Receivers offer permessage-deflate, as browsers do, or ask for compressed streams (the default; without this and
    /// --plain, trips measures both)
    #[arg(long, conflicts_with = "plain")]
    compressed: bool,
    /// Receivers do not offer permessage-deflate
    #[arg(long)]
    plain: bool,
    /// Chooses the random parts of the events: the same seed sends the same bytes
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
}

/// What is sent, and who receives.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Events and receivers")]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    events: EventArgs,
    /// What the pod's receivers connect over
    #[arg(long, value_enum, default_value_t = Transport::Websocket, value_name = "TRANSPORT")]
    pub(crate) transport: Transport,
    /// Processes that hold the receivers; each may hold as many as it may open files (see ulimit -n) [default: one for
    /// 4,000 connections, at least two]
    #[arg(long, value_name = "N")]
    processes: Option<usize>,
}

impl EventArgs {
    /// How the events are made.
    pub(crate) fn recipe(&self) -> Result<Recipe, BenchError> {
        if !(SMALLEST..=60_000).contains(&self.size) {
            let message = format!("--size {}: an event has {SMALLEST} to 60000 bytes", self.size);
            return Err(BenchError::Usage(message));
        }
        Ok(Recipe { seed: self.seed, size: self.size })
    }

    /// Whether receivers ask for compression.
    pub(crate) fn deflate(&self) -> bool {
        !self.plain
    }
}

impl LoadArgs {
    /// How the events are made.
    pub(crate) fn recipe(&self) -> Result<Recipe, BenchError> {
        self.events.recipe()
    }

    /// Whether receivers ask for compression.
    pub(crate) fn deflate(&self) -> bool {
        self.events.deflate()
    }

    /// Whether receivers ask for compression, where both are measured unless one is asked for.
    pub(crate) fn kinds(&self) -> &'static [bool] {
        match (self.events.compressed, self.events.plain) {
            (true, _) => &[true],
            (false, true) => &[false],
            (false, false) => &[true, false],
        }
    }

    /// What so many connections need.
    pub(crate) fn guests(&self, connections: usize) -> Guests {
        match self.transport {
            Transport::Websocket => Guests { sockets: connections, sessions: 0 },
            Transport::Webtransport => Guests { sockets: 0, sessions: connections },
        }
    }

    /// How many processes hold `connections`.
    pub(crate) fn processes(&self, connections: usize) -> usize {
        self.processes.unwrap_or_else(|| Audience::processes_for(connections)).max(1)
    }
}

/// Where the results go.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Results")]
pub(crate) struct OutputArgs {
    /// Where results, plots and the pod's log are written unless a name is given
    #[arg(long, default_value = "bench/out", value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The result as JSON [default: SCENARIO.json in the directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// The plot as SVG [default: SCENARIO.svg in the directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

/// Runs what the command line asks for.
pub(crate) fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("roomcast-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), BenchError> {
    match command {
        Command::Receiver => receiver::run(),
        Command::Sessions => receiver::sessions::run(),
        Command::Floor { threads } => floor::run(threads),
        Command::Exec { command } => Err(child::become_program(&command)),
        Command::Idle(args) => scenario::run(idle::run(&args)),
        Command::Broadcast(args) => scenario::run(broadcast::run(&args)),
        Command::Rooms(args) => scenario::run(rooms::run(&args)),
        Command::Mixed(args) => scenario::run(mixed::run(&args)),
        Command::Connect(args) => scenario::run(connect::run(&args)),
        Command::Churn(args) => scenario::run(churn::run(&args)),
        Command::Publish(args) => scenario::run(publish::run(&args)),
        Command::Transports(args) => scenario::run(transports::run(&args)),
        Command::Loss(args) => scenario::run(loss::run(&args)),
        Command::Fleet(args) => scenario::run(fleet::run(&args)),
        Command::Polls(args) => scenario::run(polls::run(&args)),
        Command::Trips(args) => scenario::run(trips::run(&args)),
        Command::HttpFloor => floor::http::run(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
