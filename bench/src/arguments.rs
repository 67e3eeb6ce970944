//! The arguments that several scenarios take: which pod, what is sent, how many receive, where results go.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

use crate::{content::Recipe, dialect::Dialect, error::BenchError, guests::Guests, process, transport::Transport};

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
    /// Receivers over WebSocket keep the window of what they inflate, as browsers do, so that frames may refer to earlier ones. It
    /// costs them memory and time: without it they ask for frames that are compressed each for itself
    #[arg(long)]
    pub(crate) takeover: bool,
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
    /// These, with more arguments for the pods that are started.
    pub(crate) fn with(&self, arguments: impl IntoIterator<Item = String>) -> Self {
        let mut with = self.clone();
        with.pod_arg.extend(arguments);
        with
    }

    /// Refuses a pod that runs already, where a scenario starts `what` itself.
    pub(crate) fn must_start(&self, what: &str) -> Result<(), BenchError> {
        match self.url {
            Some(_) => Err(BenchError::Usage(format!("this scenario starts its own {what}: leave out --url"))),
            None => Ok(()),
        }
    }

    /// How many worker threads.
    pub(crate) fn workers(&self) -> usize {
        self.workers.unwrap_or_else(process::cores).max(1)
    }
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

/// What is sent, and how many receive it over what.
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
        Ok(Recipe { seed: self.seed, ..Recipe::of("--size", self.size)? })
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
        self.processes.unwrap_or_else(|| processes_for(connections)).max(1)
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

/// How many processes suit so many connections.
pub(crate) fn processes_for(connections: usize) -> usize {
    connections.div_ceil(4_000).clamp(2, 16)
}
