//! Servers of others beside the pod, behind one driver: each is started as its documentation advises (`bench/peers/`), is published to
//! over HTTP, has clients, and is a process that can be watched.
//!
//! Never measures: a scenario does. Always holds: a peer ends when it is dropped, and with this process.

use std::{future::Future, net::SocketAddr, path::Path, pin::Pin, time::Duration};

use tokio::process::Child;

use crate::{
    callers::{Api, Caller, Request},
    error::{BenchError, Doing as _},
    process::Process,
};

pub(crate) mod centrifugo;
pub(crate) mod clients;
pub(crate) mod contender;
pub(crate) mod install;
pub(crate) mod mercure;
pub(crate) mod nats;
pub(crate) mod nchan;
pub(crate) mod roomcast;
pub(crate) mod socketio;

/// How long a peer may take until it answers.
const READY: Duration = Duration::from_secs(30);

/// An event to be published.
#[derive(Debug, Clone)]
pub(crate) struct Publication {
    pub(crate) room: String,
    /// JSON.
    pub(crate) data: String,
}

/// The Redis that a peer is given.
#[derive(Debug, Clone)]
pub(crate) struct Backing {
    /// `redis://HOST:PORT`, of any of its servers.
    pub(crate) url: String,
    pub(crate) is_cluster: bool,
}

/// What a peer answers when it has.
pub(crate) type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, BenchError>> + 'a>>;

/// A server under test, running.
pub(crate) trait Peer {
    /// As reports name it.
    fn name(&self) -> &str;

    /// Where its API is.
    fn api(&self) -> SocketAddr;

    /// Its processes: processor time and memory.
    fn processes(&self) -> Vec<Process>;

    /// The request that publishes one event. `once`: with an idempotency key that is new each time; `None`: it knows none.
    fn publish(&self, event: &Publication, once: bool) -> Option<Request>;

    /// The request that publishes many; `None`: it takes one at a time.
    fn publish_batch(&self, events: &[Publication]) -> Option<Request>;

    /// Connects a client that subscribes to each of these rooms, one connection a room. Needs a `LocalSet`.
    fn subscribe<'a>(&'a self, rooms: &'a [String]) -> Pending<'a, clients::Clients>;

    /// How many events its logs of these rooms have had since they began, as it says itself or its Redis does; `None`: neither says it.
    fn appended<'a>(&'a self, rooms: &'a [String]) -> Pending<'a, Option<u64>>;

    /// Adds what it logged last to an error, if it has ended.
    fn explain(&mut self, error: BenchError) -> BenchError;
}

/// A peer's process and where it writes.
pub(crate) struct Program {
    name: &'static str,
    child: Child,
    log: std::path::PathBuf,
    process: Process,
}

impl Program {
    /// Starts it, and waits until this request is answered.
    async fn start(
        name: &'static str,
        program: &Path,
        arguments: &[String],
        out: &Path,
        api: impl Into<Api>,
        mut probe: Request,
    ) -> Result<Self, BenchError> {
        let api = api.into();
        let probe = async || Caller::connect(api).await?.ask(&mut probe).await.map(drop);
        Self::start_until(name, program, arguments, out, probe).await
    }

    /// Starts it, and waits until `probe` succeeds.
    async fn start_until(
        name: &'static str,
        program: &Path,
        arguments: &[String],
        out: &Path,
        mut probe: impl AsyncFnMut() -> Result<(), BenchError>,
    ) -> Result<Self, BenchError> {
        let log = out.join(format!("{}.log", name.replace(' ', "-")));
        let child = crate::child::start_program(program, arguments, &log)?;
        let process = Process::new(child.id().unwrap_or(0));
        let mut started = Self { name, child, log, process };
        let begun = std::time::Instant::now();
        loop {
            let Err(error) = probe().await else { return Ok(started) };
            if begun.elapsed() > READY || started.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return Err(started.explain(error));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn explain(&mut self, error: BenchError) -> BenchError {
        match self.child.try_wait() {
            Ok(None) => error,
            ended => {
                let text = std::fs::read_to_string(&self.log).unwrap_or_default();
                let lines: Vec<_> = text.lines().collect();
                let last = lines[lines.len().saturating_sub(15)..].join("\n");
                let what = format!("ended ({ended:?}): {error}; its last lines were:\n{last}");
                BenchError::Child { who: self.name.to_owned(), what }
            }
        }
    }
}

/// An address that nothing listens on.
fn free_address() -> Result<SocketAddr, BenchError> {
    let doing = || "finding a free port".to_owned();
    std::net::TcpListener::bind("127.0.0.1:0").doing(doing)?.local_addr().doing(doing)
}

/// The body of an answer, as JSON.
fn body(answer: &[u8]) -> Result<serde_json::Value, BenchError> {
    let text = String::from_utf8_lossy(answer);
    let json = text.find('{').zip(text.rfind('}')).and_then(|(from, to)| text.get(from..=to));
    let json = json.and_then(|json| serde_json::from_str(json).ok());
    json.ok_or_else(|| BenchError::Protocol(format!("an answer without a JSON body: {text}")))
}

/// Events as JSON, with commas between.
fn joined(events: &[Publication], one: impl Fn(&Publication) -> String) -> String {
    events.iter().map(one).collect::<Vec<_>>().join(",")
}
