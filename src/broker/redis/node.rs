//! One master: its fred clients, the outcome of an attempt at a command, and the meaning of each error of Redis.
//!
//! Never tries anything twice: `shards` decides that. Always holds: an attempt that may have been carried out is
//! [`AttemptError::Lost`], whatever else is known of it.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

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
use roomcast_redis_subscriber::{Address, Endpoints};
use tokio::{runtime::Handle, time::timeout_at};

use super::script::Script;

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

/// A command does not wait for a master that has been away for longer.
const AWAY: Duration = Duration::from_secs(1);

/// The servers that must have a command before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// The master.
    Master,
    /// One of its replicas.
    Replica,
}

/// Why an attempt did not succeed.
pub(super) enum AttemptError {
    /// Not carried out, and the next attempt may be.
    NotNow(String),
    /// Not carried out; the next attempt may be, perhaps by another server.
    Stale(String),
    /// The owner is another one; not carried out.
    Moved(Address),
    /// Not carried out, nor will it be.
    Refused(String),
    /// It may have been carried out.
    Lost(String),
}

/// How servers are connected to.
pub(super) struct Dial {
    pub(super) endpoints: Endpoints,
    pub(super) database: u8,
    pub(super) timeouts: Timeouts,
    pub(super) runtime: Handle,
}

impl Dial {
    /// A client of one server.
    fn client(&self, address: &Address) -> Client {
        let Endpoints { tls, user, password, .. } = &self.endpoints;
        let config = Config {
            server: ServerConfig::new_centralized(&*address.host, address.port),
            fail_fast: false,
            version: RespVersion::RESP3,
            username: user.clone(),
            // Not said where it is the first: a proxy may not know the command.
            database: (self.database != 0).then_some(self.database),
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
}

/// A master.
pub(super) struct Node {
    pub(super) address: Address,
    dial: Arc<Dial>,
    client: Client,
    /// For commands that wait for a replica, which holds up what comes after them; made when the first does.
    waiting: OnceLock<Client>,
    /// When it was first seen to be away.
    away: Mutex<Option<Instant>>,
}

impl Node {
    /// Begins to connect.
    pub(super) fn new(address: &Address, dial: &Arc<Dial>) -> Self {
        Self {
            address: address.clone(),
            dial: Arc::clone(dial),
            client: dial.client(address),
            waiting: OnceLock::new(),
            away: Mutex::new(None),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        let connected = self.client.is_connected();
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if connected {
            *away = None;
        } else {
            away.get_or_insert_with(Instant::now);
        }
        connected
    }

    pub(super) async fn quit(&self) {
        for client in [Some(&self.client), self.waiting.get()].into_iter().flatten() {
            let _ = client.quit().await;
        }
    }

    /// Whether it has been away for so long that a command does not wait for it.
    pub(super) fn is_gone(&self) -> bool {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.is_some_and(|since| since.elapsed() > AWAY)
    }

    /// Tries to run a script, once.
    ///
    /// # Errors
    /// [`AttemptError`].
    pub(super) async fn attempt(
        &self,
        script: &Script,
        command: &[Value],
        wait: Wait,
        deadline: Instant,
    ) -> Result<Resp3Frame, AttemptError> {
        if !self.is_connected() {
            return Err(AttemptError::Stale("the server cannot be reached".to_owned()));
        }
        match self.send("EVALSHA", command.to_vec(), wait, deadline).await {
            Err(AttemptError::Refused(why)) if why.starts_with("NOSCRIPT") => {
                let mut command = command.to_vec();
                if let Some(first) = command.first_mut() {
                    *first = Value::from(script.text.as_str());
                }
                self.send("EVAL", command, wait, deadline).await
            }
            other => other,
        }
    }

    async fn send(
        &self,
        name: &'static str,
        args: Vec<Value>,
        wait: Wait,
        deadline: Instant,
    ) -> Result<Resp3Frame, AttemptError> {
        let until = deadline.min(Instant::now() + self.dial.timeouts.attempt);
        let left = until.saturating_duration_since(Instant::now());
        let options = Options { max_attempts: Some(1), fail_fast: true, timeout: Some(left), ..Options::default() };
        let answer = async {
            match wait {
                Wait::Master => {
                    let client = self.client.with_options(&options);
                    client.custom_raw(command(name), args).await.map_err(lost)
                }
                Wait::Replica => self.send_and_wait(name, args, &options, left).await,
            }
        };
        // fred's own time limit ends with the answer; ours also covers its queue.
        let frame = match timeout_at((until + Duration::from_millis(100)).into(), answer).await {
            Err(_) => return Err(AttemptError::Lost("no answer in time".to_owned())),
            Ok(answer) => answer?,
        };
        let error = match &frame {
            Resp3Frame::SimpleError { data, .. } => String::from(&**data),
            Resp3Frame::BlobError { data, .. } => String::from_utf8_lossy(data).into_owned(),
            _ => return Ok(frame),
        };
        Err(judge(error))
    }

    /// Runs a script and waits for a replica on one connection, which is asked for its number before and after: WAIT on
    /// another one would not know of the script's writes, and say yes.
    async fn send_and_wait(
        &self,
        name: &'static str,
        args: Vec<Value>,
        options: &Options,
        left: Duration,
    ) -> Result<Resp3Frame, AttemptError> {
        let client = self.waiting.get_or_init(|| self.dial.client(&self.address));
        if !client.is_connected() {
            return Err(AttemptError::NotNow("the connection for durable publishes is being made".to_owned()));
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
                let data = done.into_bytes().ok_or_else(|| AttemptError::Lost("not a position".to_owned()))?;
                Ok(Resp3Frame::BlobString { data, attributes: None })
            }
            (Ok(before), Ok(_), Ok(after)) if before == after => {
                Err(AttemptError::Lost("no replica confirmed in time".to_owned()))
            }
            _ => Err(AttemptError::Lost("the connection changed before a replica confirmed".to_owned())),
        }
    }
}

fn command(name: &'static str) -> CustomCommand {
    CustomCommand::new_static(name, ClusterHash::Random, false)
}

/// A command that fred did not finish.
fn lost(error: fred::error::Error) -> AttemptError {
    if *error.kind() == ErrorKind::Backpressure {
        AttemptError::NotNow("too many commands wait".to_owned())
    } else {
        AttemptError::Lost(error.to_string())
    }
}

/// What an error of Redis means. Each of those that are tried again is given before anything is carried out.
fn judge(error: String) -> AttemptError {
    let mut words = error.split(' ');
    match words.next().unwrap_or_default() {
        "MOVED" => match words.nth(1).and_then(|address| Address::parse(address, "")) {
            Some(address) if !address.host.is_empty() => AttemptError::Moved(address),
            _ => AttemptError::NotNow(error),
        },
        "READONLY" | "CLUSTERDOWN" | "MASTERDOWN" => AttemptError::Stale(error),
        // A slot on its way to another server; ASK leads nowhere, because half of a script's keys never exist.
        "ASK" | "TRYAGAIN" | "LOADING" | "BUSY" | "NOREPLICAS" => AttemptError::NotNow(error),
        _ => AttemptError::Refused(error),
    }
}
