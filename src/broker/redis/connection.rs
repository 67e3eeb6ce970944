//! One connection for commands to one server: a fred client, and a pulse that replaces it when nothing comes back.
//!
//! fred connects again when a connection ends. It does not see one whose packets vanish, because each write restarts its clock,
//! and it keeps one to a server that was made a replica behind the same name. So the client is replaced as a whole: the name
//! is looked up again, and what was under way is lost at once instead of later. Never repeats a command.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use fred::{
    clients::Client,
    interfaces::ClientLike,
    types::{
        ClusterHash, ConnectHandle, CustomCommand, RespVersion,
        config::{
            Config, ConnectionConfig, Options, PerformanceConfig, ReconnectPolicy, ServerConfig, TcpConfig, TlsConfig,
            TlsConnector, TlsHostMapping, UnresponsiveConfig,
        },
    },
};
use roomcast_redis_subscriber::{Address, Endpoints};
use tokio::{
    runtime::Handle,
    task::AbortHandle,
    time::{sleep, timeout},
};

/// The time between pulses.
const PULSE: Duration = Duration::from_secs(1);

/// The time for the answer to a pulse. It waits behind the commands before it.
const SILENCE: Duration = Duration::from_millis(2_500);

/// The least time between two replacements that are asked for.
const REST: Duration = Duration::from_secs(1);

/// After so long without a connection the client itself is replaced.
const STUCK: Duration = Duration::from_secs(10);

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

/// How servers are connected to.
pub(super) struct Dial {
    pub(super) endpoints: Endpoints,
    pub(super) database: u8,
    pub(super) timeouts: Timeouts,
    pub(super) runtime: Handle,
}

impl Dial {
    /// A client of one server.
    fn client(&self, address: &Address) -> RunningClient {
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
        let work = client.connect();
        RunningClient { client, work }
    }
}

/// A client and the task that does its work. The socket is closed when it is dropped.
struct RunningClient {
    client: Client,
    work: ConnectHandle,
}

impl Drop for RunningClient {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// A connection to one server.
pub(super) struct Connection {
    link: Arc<Link>,
    pulse: AbortHandle,
}

struct Link {
    address: Address,
    dial: Arc<Dial>,
    current: ArcSwap<RunningClient>,
    /// When the client was made.
    made: Mutex<Instant>,
}

impl Connection {
    /// Begins to connect.
    pub(super) fn open(address: &Address, dial: &Arc<Dial>) -> Self {
        let link = Arc::new(Link {
            address: address.clone(),
            dial: Arc::clone(dial),
            current: ArcSwap::from_pointee(dial.client(address)),
            made: Mutex::new(Instant::now()),
        });
        let pulse = dial.runtime.spawn(beat(Arc::downgrade(&link))).abort_handle();
        Self { link, pulse }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.link.current.load().client.is_connected()
    }

    /// The client of now.
    pub(super) fn client(&self) -> Client {
        self.link.current.load().client.clone()
    }

    /// Replaces the connection, unless it is a new one. What is under way on it is lost. Returns whether it was replaced.
    pub(super) fn renew(&self) -> bool {
        self.link.renew(REST).is_some()
    }

    /// As [`renew`](Self::renew), but what is under way may still be answered.
    pub(super) fn succeed(&self) -> bool {
        let Some(old) = self.link.renew(REST) else { return false };
        let patience = self.link.dial.timeouts.attempt;
        self.link.dial.runtime.spawn(async move {
            sleep(patience).await;
            drop(old);
        });
        true
    }

    pub(super) async fn quit(&self) {
        self.pulse.abort();
        let _ = self.client().quit().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.pulse.abort();
    }
}

impl Link {
    /// Replaces the client if it is at least that old. Returns the old one.
    fn renew(&self, age: Duration) -> Option<Arc<RunningClient>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = made.elapsed() >= age;
        is_due.then(|| {
            *made = Instant::now();
            self.current.swap(Arc::new(self.dial.client(&self.address)))
        })
    }
}

/// Asks the server for a sign of life, for ever.
async fn beat(link: Weak<Link>) {
    let mut away = None;
    loop {
        sleep(PULSE).await;
        let Some(link) = link.upgrade() else { return };
        let client = link.current.load().client.clone();
        if !client.is_connected() {
            if away.get_or_insert_with(Instant::now).elapsed() >= STUCK {
                away = None;
                drop(link.renew(STUCK));
            }
            continue;
        }
        away = None;
        let options = Options { max_attempts: Some(1), fail_fast: true, timeout: Some(SILENCE), ..Options::default() };
        let ping = CustomCommand::new_static("PING", ClusterHash::Random, false);
        let pinging = client.with_options(&options);
        let answer = timeout(SILENCE, pinging.custom_raw(ping, Vec::<fred::types::Value>::new())).await;
        let silent = match &answer {
            Err(_) => true,
            Ok(Err(error)) => *error.kind() == fred::error::ErrorKind::Timeout,
            Ok(Ok(_)) => false,
        };
        // It may have been replaced meanwhile.
        if silent && client.is_connected() {
            tracing::debug!(server = %link.address, "the connection for commands has been silent for too long; it is made anew");
            drop(link.renew(SILENCE));
        }
    }
}
