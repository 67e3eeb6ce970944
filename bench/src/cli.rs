//! What can be asked for.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    child,
    error::BenchError,
    floor, receiver, report,
    scenario::{
        self, broadcast, churn, comeback, connect, edges, envelope, fleet, idle, loss, mixed, pair, peers, polls,
        publish, rooms, shared_window, size, spread, transports, trips,
    },
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
    /// What an idle connection costs: memory of the pod and the kernel, CPU for pings
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
    /// A crowd whose pod has gone comes at once, while others stay and receive
    Comeback(comeback::ComebackArgs),
    /// What a request to the API costs: publish and broadcast, beside a bare HTTP server
    Publish(publish::PublishArgs),
    /// What a publish costs one build of the pod and another, called in turns
    Pair(pair::PairArgs),
    /// Pods beside Centrifugo, socket.io, nchan, NATS and Mercure, in turns: broadcast to many clients, and publishing over one Redis
    Peers(peers::PeersArgs),
    /// TLS WebSockets and WebTransport sessions in one pod: memory and CPU of each, 50,000 together
    Transports(transports::TransportsArgs),
    /// A small room beside a busy one on a network that loses packets: one WebSocket against WebTransport's streams
    Loss(loss::LossArgs),
    /// Three pods that share a Redis Cluster: latency, rates beside bare Redis, joining, a killed master
    Fleet(fleet::FleetArgs),
    /// A home and regions beyond an ocean: what edges add, copies across, rooms followed, cut links and killed pods
    Edge(edges::EdgesArgs),
    /// The preset live-polls: participants of one session over Socket.IO and Redis, against p95 below 100 ms
    Polls(polls::PollsArgs),
    /// The preset trips: many trips over Redis, batched by its window beside the same without one: bytes and CPU
    Trips(trips::TripsArgs),
    /// One window a room: bytes a delivery, beside frames compressed alone and a window for each connection
    Window(shared_window::WindowArgs),
    /// What each field around an event costs in compressed frames, and each level of deflate; without a pod
    Envelope(envelope::EnvelopeArgs),
    /// Pods over one Redis with members of the same rooms: what a room, a membership and an event cost
    Spread(spread::SpreadArgs),
    /// How many pods a service needs, and what they cost: from laws fitted to measured curves
    Size(size::SizeArgs),
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
    /// Prints one number of a result, for scripts
    #[command(hide = true)]
    Figure {
        /// The result, as a scenario wrote it.
        result: PathBuf,
        /// Where the number stands, as a JSON pointer (RFC 6901): /result/pod/cpu_us_per_delivery/median
        pointer: String,
    },
    /// Becomes a program that ends with this process' parent
    #[command(hide = true)]
    Exec {
        /// The program and its arguments.
        #[arg(last = true)]
        command: Vec<String>,
    },
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
        Command::Comeback(args) => scenario::run(comeback::run(&args)),
        Command::Publish(args) => scenario::run(publish::run(&args)),
        Command::Pair(args) => scenario::run(pair::run(&args)),
        Command::Peers(args) => scenario::run(peers::run(&args)),
        Command::Transports(args) => scenario::run(transports::run(&args)),
        Command::Loss(args) => scenario::run(loss::run(&args)),
        Command::Fleet(args) => scenario::run(fleet::run(&args)),
        Command::Edge(args) => scenario::run(edges::run(&args)),
        Command::Polls(args) => scenario::run(polls::run(&args)),
        Command::Trips(args) => scenario::run(trips::run(&args)),
        Command::Window(args) => scenario::run(shared_window::run(&args)),
        Command::Envelope(args) => scenario::run(envelope::run(&args)),
        Command::Spread(args) => scenario::run(spread::run(&args)),
        Command::Size(args) => scenario::run(size::run(&args)),
        Command::HttpFloor => floor::http::run(),
        Command::Figure { result, pointer } => report::print_figure(&result, &pointer),
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
