//! Commands to the masters: which of them owns a partition, one fred client for each, and what is done about every way in
//! which a command can fail.
//!
//! A client knows one server only. A cluster client would know them all, and keep everybody waiting while it looks for
//! the one that died. Always holds: a command that may have been carried out is never answered with
//! [`BrokerError::Unavailable`].

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use fred::{
    clients::Client,
    error::ErrorKind,
    interfaces::{ClientLike, Resp3Frame},
    types::{
        ClusterHash, CustomCommand, RespVersion, Value,
        config::{
            Config, ConnectionConfig, Options, PerformanceConfig, ReconnectPolicy, ServerConfig, TcpConfig, TlsConfig,
            TlsConnector, TlsHostMapping, UnresponsiveConfig,
        },
    },
};
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{sleep, timeout_at},
};

use super::{
    partition::{PARTITIONS, Partition},
    script::Script,
};
use crate::{
    broker::{
        BrokerError,
        wire::{Address, Endpoints, Layout},
    },
    metrics::{CommandResult, RedisCommands},
};

/// How long a command may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For one attempt; the next one tells whether the first was carried out.
    pub attempt: Duration,
    /// For a command with all its attempts.
    pub command: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(1), attempt: Duration::from_secs(2), command: Duration::from_secs(5) }
    }
}

/// A master that has been away for longer is not waited for.
const AWAY: Duration = Duration::from_secs(1);

/// Between two attempts, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));

/// What a command's answer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// The master.
    Master,
    /// One of its replicas.
    Replica,
}

/// A master.
struct Node {
    address: Address,
    client: Client,
    /// For commands that wait for a replica, which holds up what comes after them; made when the first does.
    waiting: OnceLock<Client>,
    /// Since when it is known to be away.
    away: Mutex<Option<Instant>>,
}

impl Node {
    fn is_connected(&self) -> bool {
        let connected = self.client.is_connected();
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if connected {
            *away = None;
        } else {
            away.get_or_insert_with(Instant::now);
        }
        connected
    }

    async fn quit(&self) {
        for client in [Some(&self.client), self.waiting.get()].into_iter().flatten() {
            let _ = client.quit().await;
        }
    }

    /// Away for so long that a command need not wait.
    fn is_gone(&self) -> bool {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.is_some_and(|since| since.elapsed() > AWAY)
    }
}

/// The masters, and which partition is whose.
pub(super) struct Shards {
    endpoints: Endpoints,
    timeouts: Timeouts,
    runtime: Handle,
    /// By partition; empty until the owner is known.
    owners: Box<[ArcSwapOption<Node>]>,
    nodes: Mutex<HashMap<Address, Arc<Node>>>,
    /// Told when a server says that a partition is not its own.
    pub(super) stale: Notify,
    metrics: Arc<RedisCommands>,
}

fn command(name: &'static str) -> CustomCommand {
    CustomCommand::new_static(name, ClusterHash::Random, false)
}

/// A command that fred did not finish.
fn lost(error: fred::error::Error) -> Failed {
    if *error.kind() == ErrorKind::Backpressure {
        Failed::NotNow("too many commands wait".to_owned())
    } else {
        Failed::Lost(error.to_string())
    }
}

/// Why an attempt did not succeed.
enum Failed {
    /// Not carried out, and the next attempt may be.
    NotNow(String),
    /// The owner is another one; not carried out.
    Moved(Address),
    /// Not carried out, nor will it be.
    Refused(String),
    /// It may have been carried out.
    Lost(String),
}

impl Shards {
    /// Clients are made on `runtime` as owners become known.
    pub(super) fn new(
        endpoints: Endpoints,
        timeouts: Timeouts,
        runtime: Handle,
        metrics: Arc<RedisCommands>,
    ) -> Arc<Self> {
        Arc::new(Self {
            endpoints,
            timeouts,
            runtime,
            owners: (0..PARTITIONS).map(|_| ArcSwapOption::empty()).collect(),
            nodes: Mutex::default(),
            stale: Notify::new(),
            metrics,
        })
    }

    /// Takes over who owns what. Clients of servers that own nothing any more are closed.
    pub(super) fn adopt(&self, layout: &Layout) {
        for partition in Partition::all() {
            // An owner that is not known now may be again in a moment: the old one stays.
            if let Some(address) = layout.owner(partition.slot()) {
                self.set_owner(partition, address);
            }
        }
        let mut gone = Vec::new();
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|address, node| {
            let owns = layout.owners.contains(address)
                || self.owners.iter().any(|owner| owner.load().as_ref().is_some_and(|owner| Arc::ptr_eq(owner, node)));
            if !owns {
                gone.push(Arc::clone(node));
            }
            owns
        });
        drop(nodes);
        for node in gone {
            self.runtime.spawn(async move { node.quit().await });
        }
    }

    fn set_owner(&self, partition: Partition, address: &Address) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let node = nodes.entry(address.clone()).or_insert_with(|| {
            let client = self.client(address);
            Arc::new(Node { address: address.clone(), client, waiting: OnceLock::new(), away: Mutex::new(None) })
        });
        let node = Arc::clone(node);
        drop(nodes);
        if let Some(owner) = self.owners.get(partition.index())
            && !owner.load().as_ref().is_some_and(|owner| Arc::ptr_eq(owner, &node))
        {
            owner.store(Some(node));
        }
    }

    /// A client of one server.
    fn client(&self, address: &Address) -> Client {
        let Endpoints { tls, user, password, .. } = &self.endpoints;
        let config = Config {
            server: ServerConfig::new_centralized(&*address.host, address.port),
            fail_fast: false,
            version: RespVersion::RESP3,
            username: user.clone(),
            password: password.as_ref().map(|password| password.reveal().to_owned()),
            tls: tls.as_ref().map(|tls| TlsConfig {
                connector: TlsConnector::Rustls(Arc::clone(tls).into()),
                hostnames: TlsHostMapping::None,
            }),
            ..Config::default()
        };
        let connection = ConnectionConfig {
            connection_timeout: self.timeouts.connect,
            internal_command_timeout: self.timeouts.connect + Duration::from_millis(500),
            max_command_attempts: 1,
            max_redirections: 1,
            // Full: an error, and the command was not sent.
            max_command_buffer_len: 100_000,
            unresponsive: UnresponsiveConfig {
                max_timeout: Some(self.timeouts.attempt + Duration::from_secs(1)),
                interval: Duration::from_millis(500),
            },
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        };
        let performance =
            PerformanceConfig { default_command_timeout: self.timeouts.attempt, ..PerformanceConfig::default() };
        let policy = ReconnectPolicy::new_exponential(0, 50, 1_000, 2);
        let client = Client::new(config, Some(performance), Some(connection), Some(policy));
        let _entered = self.runtime.enter();
        // Its task ends with the client.
        drop(client.connect());
        client
    }

    /// Whether there is a connection to any master, and to the owner of every partition.
    pub(super) fn connected(&self) -> (bool, bool) {
        let nodes: Vec<_> = self.nodes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let (mut any, mut all) = (false, !nodes.is_empty());
        for node in nodes {
            let connected = node.is_connected();
            any |= connected;
            all &= connected;
        }
        (any, all && self.owners.iter().all(|owner| owner.load().is_some()))
    }

    /// Where a partition lives now, if that is known.
    pub(super) fn address(&self, partition: Partition) -> Option<Address> {
        Some(self.owner(partition)?.address.clone())
    }

    fn owner(&self, partition: Partition) -> Option<Arc<Node>> {
        self.owners.get(partition.index())?.load_full()
    }

    /// Runs a script where a partition lives, until it answers or the time is up. The script must be one that may be run
    /// twice.
    ///
    /// # Errors
    /// [`BrokerError::Unknown`]: it may have been carried out. [`BrokerError::Unavailable`]: it was not.
    pub(super) async fn call(
        &self,
        partition: Partition,
        script: &Script,
        keys: impl IntoIterator<Item = String>,
        args: impl IntoIterator<Item = Value>,
    ) -> Result<Resp3Frame, BrokerError> {
        self.call_and_wait(partition, script, keys, args, Wait::Master).await
    }

    /// The same, answered only when it is where `wait` says. Of a replica that does not confirm in time nothing is known.
    ///
    /// # Errors
    /// Those of [`call`](Self::call).
    pub(super) async fn call_and_wait(
        &self,
        partition: Partition,
        script: &Script,
        keys: impl IntoIterator<Item = String>,
        args: impl IntoIterator<Item = Value>,
        wait: Wait,
    ) -> Result<Resp3Frame, BrokerError> {
        let began = Instant::now();
        let keys: Vec<Value> = keys.into_iter().map(Value::from).collect();
        let mut command = vec![Value::from(script.sha.as_str()), Value::from(keys.len() as i64)];
        command.extend(keys);
        command.extend(args);
        let result = self.insist(partition, script, command, wait, began + self.timeouts.command).await;
        let outcome = match &result {
            Ok(_) => CommandResult::Ok,
            Err(BrokerError::Unknown) => CommandResult::Timeout,
            Err(_) => CommandResult::Error,
        };
        self.metrics.count(script.name, began.elapsed(), outcome);
        result
    }

    async fn insist(
        &self,
        partition: Partition,
        script: &Script,
        command: Vec<Value>,
        wait: Wait,
        deadline: Instant,
    ) -> Result<Resp3Frame, BrokerError> {
        let (mut pause, mut lost, mut moved) = (PAUSE.0, false, 0);
        loop {
            let Some(node) = self.owner(partition) else {
                let why = "which server has this room is not known yet".to_owned();
                return Err(if lost { BrokerError::Unknown } else { BrokerError::Unavailable(why) });
            };
            let why = match self.attempt(&node, script, &command, wait, deadline).await {
                Ok(frame) => return Ok(frame),
                Err(Failed::Moved(address)) => {
                    self.set_owner(partition, &address);
                    self.stale.notify_one();
                    moved += 1;
                    if moved < 4 && Instant::now() < deadline {
                        continue;
                    }
                    "the room is on its way between servers".to_owned()
                }
                Err(Failed::Refused(why)) => {
                    return Err(if lost { BrokerError::Unknown } else { BrokerError::Unavailable(why) });
                }
                Err(Failed::NotNow(why)) => why,
                Err(Failed::Lost(why)) => {
                    lost = true;
                    why
                }
            };
            if Instant::now() + pause >= deadline || node.is_gone() {
                tracing::debug!(script = script.name, why, "a command to Redis failed");
                return Err(if lost { BrokerError::Unknown } else { BrokerError::Unavailable(why) });
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    async fn attempt(
        &self,
        node: &Node,
        script: &Script,
        command: &[Value],
        wait: Wait,
        deadline: Instant,
    ) -> Result<Resp3Frame, Failed> {
        if !node.is_connected() {
            self.stale.notify_one();
            return Err(Failed::NotNow("the server cannot be reached".to_owned()));
        }
        match self.send(node, "EVALSHA", command.to_vec(), wait, deadline).await {
            Err(Failed::Refused(why)) if why.starts_with("NOSCRIPT") => {
                let mut command = command.to_vec();
                if let Some(first) = command.first_mut() {
                    *first = Value::from(script.text.as_str());
                }
                self.send(node, "EVAL", command, wait, deadline).await
            }
            other => other,
        }
    }

    async fn send(
        &self,
        node: &Node,
        name: &'static str,
        args: Vec<Value>,
        wait: Wait,
        deadline: Instant,
    ) -> Result<Resp3Frame, Failed> {
        let until = deadline.min(Instant::now() + self.timeouts.attempt);
        let left = until.saturating_duration_since(Instant::now());
        let options = Options { max_attempts: Some(1), fail_fast: true, timeout: Some(left), ..Options::default() };
        let answer = async {
            match wait {
                Wait::Master => {
                    let client = node.client.with_options(&options);
                    client.custom_raw(command(name), args).await.map_err(lost)
                }
                Wait::Replica => self.send_and_wait(node, name, args, &options, left).await,
            }
        };
        // fred's own time limit ends with the answer; ours also covers its queue.
        let frame = match timeout_at((until + Duration::from_millis(100)).into(), answer).await {
            Err(_) => return Err(Failed::Lost("no answer in time".to_owned())),
            Ok(answer) => answer?,
        };
        let error = match &frame {
            Resp3Frame::SimpleError { data, .. } => String::from(&**data),
            Resp3Frame::BlobError { data, .. } => String::from_utf8_lossy(data).into_owned(),
            _ => return Ok(frame),
        };
        Err(self.judge(error))
    }

    /// Runs a script and waits for a replica on one connection, which is asked for its number before and after: WAIT on
    /// another one would not know of the script's writes, and say yes.
    async fn send_and_wait(
        &self,
        node: &Node,
        name: &'static str,
        args: Vec<Value>,
        options: &Options,
        left: Duration,
    ) -> Result<Resp3Frame, Failed> {
        let client = node.waiting.get_or_init(|| self.client(&node.address));
        if !client.is_connected() {
            return Err(Failed::NotNow("the connection for durable publishes is being made".to_owned()));
        }
        let patience = i64::try_from((left * 4 / 5).as_millis()).unwrap_or(i64::MAX).max(1);
        let pipeline = client.with_options(options).pipeline();
        let number = || pipeline.custom::<(), _>(command("CLIENT"), vec![Value::from("ID")]);
        number().await.map_err(lost)?;
        let () = pipeline.custom(command(name), args).await.map_err(lost)?;
        let () = pipeline.custom(command("WAIT"), vec![Value::from(1), Value::from(patience)]).await.map_err(lost)?;
        number().await.map_err(lost)?;
        let mut answers = pipeline.try_all::<Value>().await.into_iter();
        let mut next =
            || answers.next().unwrap_or_else(|| Err(fred::error::Error::new(ErrorKind::Protocol, "no answer")));
        let (before, done, replicas, after) = (next(), next(), next(), next());
        let done = match done {
            Ok(done) => done,
            // What Redis itself says is its own judgement; everything else leaves it open whether anything was done.
            Err(error) if before.is_ok() && replicas.is_ok() => {
                return Ok(Resp3Frame::SimpleError { data: error.details().into(), attributes: None });
            }
            Err(error) => return Err(lost(error)),
        };
        match (before, replicas, after) {
            (Ok(before), Ok(Value::Integer(replicas)), Ok(after)) if before == after && replicas >= 1 => {
                let data = done.into_bytes().ok_or_else(|| Failed::Lost("not a position".to_owned()))?;
                Ok(Resp3Frame::BlobString { data, attributes: None })
            }
            (Ok(before), Ok(_), Ok(after)) if before == after => {
                Err(Failed::Lost("no replica confirmed in time".to_owned()))
            }
            _ => Err(Failed::Lost("the connection changed before a replica confirmed".to_owned())),
        }
    }

    /// What an error of Redis means. Each of those that are tried again is given before anything is carried out.
    fn judge(&self, error: String) -> Failed {
        let mut words = error.split(' ');
        match words.next().unwrap_or_default() {
            "MOVED" => match words.nth(1).and_then(|address| Address::parse(address, "")) {
                Some(address) if !address.host.is_empty() => Failed::Moved(address),
                _ => Failed::NotNow(error),
            },
            "READONLY" | "CLUSTERDOWN" | "MASTERDOWN" => {
                self.stale.notify_one();
                Failed::NotNow(error)
            }
            // A slot on its way to another server; ASK leads nowhere, because half of a script's keys never exist.
            "ASK" | "TRYAGAIN" | "LOADING" | "BUSY" | "NOREPLICAS" => Failed::NotNow(error),
            _ => Failed::Refused(error),
        }
    }

    /// Closes the clients.
    pub(super) async fn quit(&self) {
        for owner in &self.owners {
            owner.store(None);
        }
        let nodes = std::mem::take(&mut *self.nodes.lock().unwrap_or_else(PoisonError::into_inner));
        for node in nodes.into_values() {
            let _ = tokio::time::timeout(Duration::from_millis(200), node.quit()).await;
        }
    }
}
