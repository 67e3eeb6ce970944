//! Everything that can be set: one line a key. Flags, variables, the file, its reference and its errors follow from it.
//!
//! Says what was written, not yet what follows from it: `resolve` makes a [`Config`](super::Config) of it.

use std::{path::PathBuf, time::Duration};

use super::{
    acks::AckSettings,
    address::{Advertise, AdvertiseKind, ListenAddress, ListenAddressKind},
    addresses::AddressSettings,
    api_key::{ApiKey, ApiKeyKind},
    archive::ArchiveSettings,
    compression::Compression,
    customer::CustomerSettings,
    customers::Customers,
    drain::DrainSettings,
    grpc::GrpcSettings,
    hooks::HookSettings,
    legacy::Legacy,
    logging::{LogFormat, LogLevel},
    look_up::TokenLookUp,
    memory_broker::MemoryBroker,
    origins::{OriginKind, OriginPattern},
    policies::Rule,
    record_layer::TlsSettings,
    redis_settings::RedisSettings,
    relay::RelaySettings,
    section::{Changes, Key, Section, Settle, section},
    socketio::SocketIoSettings,
    token_settings::TokenSettings,
    traces::TraceSettings,
    upstream::UpstreamSection,
    user_presence::UserPresenceSettings,
    value::{Bytes, Choice, Count, File, GIB, KIB, List, MIB, MINUTES, Maybe, OrWord, SHORTEST, Switch, Time},
    webtransport::WebTransport,
};
use crate::{
    dialect::Description,
    model::{PlaceLimit, Policy, WhenFull},
};

section! {
    /// The listeners of the pod, the clients that it accepts, and its limits.
    pub struct General in "" {
        /// Development mode: loopback addresses only unless told otherwise, a plain listener beside the TLS one, a
        /// certificate and an API key made at start, pages of this machine and anonymous clients let in, and rooms `demo:*`
        /// to which clients may publish.
        dev: Option<bool> = None, Maybe(Switch), restart, unset("on, if neither `cert` nor `key` is set", "true");
        /// Where clients connect over TLS.
        listen: Option<Vec<ListenAddress>> = None, Maybe(List(ListenAddressKind)), restart,
            unset("`[::]:8443` if there is a certificate; `localhost:8443` in development mode", "[\"[::]:8443\"]");
        /// Where clients connect without TLS: behind something that terminates it, or on this machine.
        plain_listen: Option<Vec<ListenAddress>> = None, Maybe(List(ListenAddressKind)), restart,
            unset("none; `localhost:8080` in development mode", "[\"127.0.0.1:8080\"]");
        /// Where backends publish and operators look: API, health, metrics. Not for the open network.
        internal_listen: Vec<ListenAddress> = vec![ListenAddress::Ip(([127, 0, 0, 1], 9000).into())],
            List(ListenAddressKind), restart;
        /// Where other pods of the fleet find this one's internal listener, or other edges (`upstream.peers`): kept for as long as the pod lives.
        advertise: Option<Advertise> = None, Maybe(AdvertiseKind), restart,
            unset("none: other pods cannot hand requests over to this one", "\"10.0.0.7:9000\"");
        /// The TLS certificate chain, PEM, the server's own first. The file is looked at every 10 s and on SIGHUP.
        cert: Option<PathBuf> = None, Maybe(File("PEM file")), restart,
            unset("none; development mode makes one", "\"/etc/roomcast/tls/tls.crt\"");
        /// The private key of `cert`, PEM, not encrypted.
        key: Option<PathBuf> = None, Maybe(File("PEM file")), restart, unset("none", "\"/etc/roomcast/tls/tls.key\"");
        /// Where development mode keeps its certificate between starts.
        state_dir: Option<PathBuf> = None, Maybe(File("directory")), restart,
            unset("`$XDG_STATE_HOME/roomcast`, or `$HOME/.local/state/roomcast`, or nowhere", "\"/var/lib/roomcast\"");
        /// The keys of the backends' API. No request matches an empty key.
        api_keys: Option<Vec<Option<ApiKey>>> = None, Maybe(List(ApiKeyKind)), live, flag_is("api-key"), secret(),
            unset("none, and the API refuses every call; development mode makes one", "[\"${ROOMCAST_API_KEY}\"]");
        /// The web pages that may connect, by their origin. Clients that send no `Origin` are not browsers and pass, and so do those
        /// whose `Origin` is the very host that they ask (over `https`; over `http` and WebTransport only where a token is needed).
        origins: Vec<OriginPattern> = Vec::new(), List(OriginKind), live, flag_is("origin");
        /// Whether clients without a token may connect.
        anonymous: Option<bool> = None, Maybe(Switch), live, unset("`false`; `true` in development mode", "true");
        /// Whether the public listeners show a page at `/` to join rooms, watch and publish. It connects like any other
        /// page: over `http` outside of development mode its own origin must be one of `origins`.
        page: Option<bool> = None, Maybe(Switch), live, unset("`false`; `true` in development mode", "true");
        /// Whether the public listeners answer `/health`, `/accepting` and `/ready` too, as the internal ones do.
        public_health: bool = false, Switch, live;
        /// Whether the public listeners answer `/metrics` too.
        public_metrics: bool = false, Switch, live;
        /// Whether the internal listeners answer `/metrics`.
        internal_metrics: bool = true, Switch, live;
        /// The most connections; above it a connection is refused with 503 and `Retry-After`.
        max_connections: Option<usize> = None, Maybe(Count(1..=10_000_000)), live,
            unset("the open-file limit less 512, at most 1,000,000", "15000");
        /// The most bytes that the pod's queues (a shared frame counts once), request bodies, answers over HTTP and sockets
        /// without a connection may really hold. At the budget, new connections are refused with 503 and `Retry-After`; so they are
        /// before the whole process uses its cgroup's limit (without one: half of the machine's memory), less an eighth of it.
        memory_budget: Option<usize> = None, Maybe(Bytes(MIB..=1024 * GIB)), restart,
            unset("half of the cgroup's limit; without one a quarter of the machine's memory", "\"256MiB\"");
        /// How many threads serve connections, each with its own event loop and listener.
        workers: Option<usize> = None, Maybe(Count(1..=1024)), restart, unset("the number of cores", "4");
        /// How log lines look: JSON objects, or text for people.
        log: Option<LogFormat> = None, Maybe(Choice(&[("json", LogFormat::Json), ("text", LogFormat::Text), ("console", LogFormat::Text)])), restart,
            unset("`json`; `text` in development mode", "\"json\"");
        /// How often the configuration file is looked at. A change that two looks have found is taken over like one that SIGHUP tells of.
        watch_config: Option<Duration> = None, Maybe(Time(Duration::from_millis(100)..=Duration::from_secs(3_600))), restart,
            unset("never: SIGHUP alone", "\"10s\"");
        /// The least important log lines that are written.
        log_level: LogLevel = LogLevel::Info, Choice(LogLevel::WORDS), live;
    }
}

section! {
    /// What one connection may do. Clients are told of some of these in `welcome`.
    pub struct Limits in "limits" {
        /// The largest message of a client, after decompression. A larger one closes the connection with 1009.
        max_message: usize = 64 * KIB, Bytes(KIB..=64 * MIB), live;
        /// The most fragments of one message (RFC 6455 section 5.4).
        max_fragments: usize = 1024, Count(1..=1_048_576), live;
        /// The most rooms on one connection.
        max_rooms: usize = 128, Count(1..=100_000), live;
        /// How many commands a second a connection may send for long.
        commands_per_second: u32 = 50, Count(1..=100_000), live;
        /// How many commands a connection may send at once.
        command_burst: u32 = 256, Count(1..=100_000), live;
        /// How many WebSocket pings and pongs a second a connection may send.
        control_frames_per_second: u32 = 50, Count(1..=100_000), live;
        /// How many signals a second a connection may send, whatever the rooms; as many at once. More are dropped without a word, and
        /// a connection that sends far more is read from again after some seconds. None is closed for it.
        signals_per_second: u32 = 20, Count(1..=100_000), live;
        /// How many `ack` a second a connection may send for long, 1,024 at once. Further ones are refused with `rate_limited`; a client
        /// that does not stop is closed with 4029.
        acks_per_second: u32 = 50, Count(1..=100_000), live;
        /// The most connections of one user in the whole fleet: WebSocket, WebTransport and Socket.IO sessions and event streams, from
        /// when the user is known; a poll is none. It holds from each connection's beginning: those that were there before it was set or
        /// lowered stay. While Redis does not answer, each pod goes by its own connections.
        user_connections: Option<usize> = None, Maybe(Count(1..=1_000)), live, unset("no limit", "5");
        /// What gives way when a user has `user_connections` already: the connection that came last, or the user's oldest one. Either is
        /// closed with 4011, after which a client does not come back by itself. A client that lost its network is counted until
        /// `timeouts.ping` and `.pong` are over: `close_oldest` lets it back at once.
        user_connections_full: WhenFull = WhenFull::RefuseNewest, Choice(WhenFull::WORDS), live;
        /// The largest request head: request line and headers.
        max_head: usize = 16 * KIB, Bytes(KIB..=MIB), live;
        /// The most bytes queued for one connection that does not keep up; then its rooms' `slow` decides.
        send_queue: usize = MIB, Bytes(4 * KIB..=GIB), live;
        /// The largest body of an API call on the internal listener; a larger one is answered with 413.
        api_body: usize = MIB, Bytes(KIB..=64 * MIB), live;
    }
}

impl Limits {
    /// How many connections a user may have, if that is limited.
    #[must_use]
    pub fn places(&self) -> Option<PlaceLimit> {
        let when_full = self.user_connections_full;
        self.user_connections.map(|connections| PlaceLimit { connections, when_full })
    }
}

section! {
    /// How long the pod waits. A connection that is too slow is closed.
    pub struct Timeouts in "timeouts" {
        /// For the TLS handshake, or QUIC's.
        tls: Duration = Duration::from_secs(10), Time(SHORTEST..=MINUTES), live;
        /// For a request head, from its first byte or the end of the handshake; also for a WebTransport session's request.
        head: Duration = Duration::from_secs(10), Time(SHORTEST..=MINUTES), live;
        /// For the first `connect` of a client whose request had no token, where one is needed; also for the stream of
        /// commands of a WebTransport session, and for the first request of a Socket.IO session behind the one that opened it.
        connect: Duration = Duration::from_secs(10), Time(SHORTEST..=MINUTES), live;
        /// After this long without a byte from a client it is sent a ping; also the `ping_interval` that clients are told.
        ping: Duration = Duration::from_secs(25), Time(Duration::from_secs(1)..=Duration::from_secs(3600)), live;
        /// After a ping, for any byte from the client.
        pong: Duration = Duration::from_secs(20), Time(SHORTEST..=MINUTES), live;
        /// For news on a long-poll; after it the poll is answered without any.
        poll: Duration = Duration::from_secs(30), Time(Duration::from_secs(1)..=Duration::from_secs(3600)), live;
        /// For a request's body, from the end of its head to its last byte; also for a message over a WebSocket or WebTransport,
        /// from its first byte, whatever control frames come between.
        body: Duration = Duration::from_secs(30), Time(SHORTEST..=MINUTES), live;
        /// For a client to read some of an answer over HTTP (an event stream too) that waits for it: 4 KiB, or all of it.
        write: Duration = Duration::from_secs(20), Time(SHORTEST..=MINUTES), live;
        /// For the next request on an HTTP connection that was kept alive. Load balancers keep theirs for 60 s: a shorter time
        /// here would close a connection under a request that is on its way.
        idle: Duration = Duration::from_secs(75), Time(SHORTEST..=Duration::from_secs(3600)), live;
    }
}

section! {
    /// The sockets of connections.
    pub struct Socket in "socket" {
        /// The kernel's send buffer of a connection (`SO_SNDBUF`). Large, it hides a slow receiver from the pod.
        send_buffer: Option<usize> = Some(128 * KIB), OrWord("system", Bytes(4 * KIB..=64 * MIB)), restart;
        /// How many bytes may wait in the kernel unsent before the socket counts as not writable (`TCP_NOTSENT_LOWAT`).
        notsent_lowat: Option<usize> = Some(16 * KIB), OrWord("system", Bytes(KIB..=64 * MIB)), restart;
    }
}

/// Everything that was set, by whichever layer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// The top of the file.
    pub general: General,
    /// `[limits]`
    pub limits: Limits,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// `[drain]`
    pub drain: DrainSettings,
    /// `[acks]`
    pub acks: AckSettings,
    /// `[addresses]`
    pub addresses: AddressSettings,
    /// `[socket]`
    pub socket: Socket,
    /// `[tls]`
    pub tls: TlsSettings,
    /// `[tokens]`
    pub tokens: TokenSettings,
    /// `[token_lookup]`
    pub token_lookup: TokenLookUp,
    /// `[hooks]`
    pub hooks: HookSettings,
    /// `[grpc]`
    pub grpc: GrpcSettings,
    /// `[webtransport]`
    pub webtransport: WebTransport,
    /// `[compression]`
    pub compression: Compression,
    /// `[socketio]`
    pub socketio: SocketIoSettings,
    /// `[user_presence]`
    pub user_presence: UserPresenceSettings,
    /// `[memory_broker]`
    pub memory_broker: MemoryBroker,
    /// `[redis]`
    pub redis: RedisSettings,
    /// `[relay]`
    pub relay: RelaySettings,
    /// `[upstream]`
    pub upstream: UpstreamSection,
    /// `[archive]`
    pub archive: ArchiveSettings,
    /// `[traces]`
    pub traces: TraceSettings,
    /// What customers' systems set.
    pub customers: Customers,
    /// `[default_policy]`
    pub default_policy: Policy,
    /// `[[policy]]`, in order.
    pub policies: Vec<Rule>,
    /// `[[legacy]]`, in order.
    pub legacy: Vec<Legacy>,
    /// `[[dialect]]`, in order.
    pub dialects: Vec<Description>,
}

/// A table of the file, from the sections of that name.
pub(crate) struct FileTable {
    /// Empty for the top of the file.
    pub(crate) name: &'static str,
    /// What it is about.
    pub(crate) about: &'static str,
    /// Its keys.
    pub(crate) keys: Vec<Key>,
}

impl Settings {
    /// The sections with fixed keys, in the order of the reference.
    pub(crate) fn sections(&self) -> Vec<&dyn Section> {
        let core: [&dyn Section; 22] = [
            &self.general,
            &self.limits,
            &self.timeouts,
            &self.drain,
            &self.acks,
            &self.addresses,
            &self.socket,
            &self.tls,
            &self.tokens,
            &self.token_lookup,
            &self.hooks,
            &self.grpc,
            &self.webtransport,
            &self.compression,
            &self.socketio,
            &self.user_presence,
            &self.memory_broker,
            &self.redis,
            &self.relay,
            &self.upstream,
            &self.archive,
            &self.traces,
        ];
        let default_policy: &dyn Section = &self.default_policy;
        core.into_iter().chain(self.customers.sections()).chain([default_policy]).collect()
    }

    /// The tables of the file, in the order of the reference: a customer's keys in a table of the core stand behind the core's.
    pub(crate) fn tables(&self) -> Vec<FileTable> {
        let mut tables: Vec<FileTable> = Vec::new();
        for section in self.sections() {
            match tables.iter_mut().find(|table| table.name == section.name()) {
                Some(table) => table.keys.extend(section.keys()),
                None => tables.push(FileTable { name: section.name(), about: section.about(), keys: section.keys() }),
            }
        }
        tables
    }

    /// The sections, to set their keys.
    pub(crate) fn sections_mut(&mut self) -> Vec<&mut dyn Section> {
        let core: [&mut dyn Section; 22] = [
            &mut self.general,
            &mut self.limits,
            &mut self.timeouts,
            &mut self.drain,
            &mut self.acks,
            &mut self.addresses,
            &mut self.socket,
            &mut self.tls,
            &mut self.tokens,
            &mut self.token_lookup,
            &mut self.hooks,
            &mut self.grpc,
            &mut self.webtransport,
            &mut self.compression,
            &mut self.socketio,
            &mut self.user_presence,
            &mut self.memory_broker,
            &mut self.redis,
            &mut self.relay,
            &mut self.upstream,
            &mut self.archive,
            &mut self.traces,
        ];
        let default_policy: &mut dyn Section = &mut self.default_policy;
        core.into_iter().chain(self.customers.sections_mut()).chain([default_policy]).collect()
    }

    /// The value of a key as TOML, by its path; a secret shows itself as `"…"`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<String> {
        let (section, name) = path.split_once('.').unwrap_or(("", path));
        self.sections().iter().filter(|candidate| candidate.name() == section).find_map(|candidate| candidate.get(name))
    }

    /// Compares with the settings of a running pod, and takes back what needs a restart.
    pub(crate) fn settle(&mut self, running: &Self) -> Changes {
        let mut changes = Changes::default();
        self.general.settle(&running.general, &mut changes);
        self.limits.settle(&running.limits, &mut changes);
        self.timeouts.settle(&running.timeouts, &mut changes);
        self.drain.settle(&running.drain, &mut changes);
        self.acks.settle(&running.acks, &mut changes);
        self.addresses.settle(&running.addresses, &mut changes);
        self.socket.settle(&running.socket, &mut changes);
        self.tls.settle(&running.tls, &mut changes);
        self.tokens.settle(&running.tokens, &mut changes);
        self.token_lookup.settle(&running.token_lookup, &mut changes);
        self.hooks.settle(&running.hooks, &mut changes);
        self.grpc.settle(&running.grpc, &mut changes);
        self.webtransport.settle(&running.webtransport, &mut changes);
        self.compression.settle(&running.compression, &mut changes);
        self.socketio.settle(&running.socketio, &mut changes);
        self.user_presence.settle(&running.user_presence, &mut changes);
        self.memory_broker.settle(&running.memory_broker, &mut changes);
        self.redis.settle(&running.redis, &mut changes);
        self.relay.settle(&running.relay, &mut changes);
        self.upstream.settle(&running.upstream, &mut changes);
        self.archive.settle(&running.archive, &mut changes);
        self.traces.settle(&running.traces, &mut changes);
        self.customers.settle(&running.customers, &mut changes);
        self.default_policy.settle(&running.default_policy, &mut changes);
        let logs = |settings: &Self| -> Vec<_> {
            // The first rule that matches counts: what stands before one with a log decides as well.
            let upto = settings.policies.iter().rposition(|rule| rule.policy.log.is_some()).map_or(0, |at| at + 1);
            settings.policies.iter().take(upto).map(|rule| (rule.patterns.clone(), rule.policy.log.clone())).collect()
        };
        if logs(self) != logs(running) {
            // The members of such a room follow its log already.
            changes.restart.push("policy.log".to_owned());
            self.policies.clone_from(&running.policies);
        } else if self.policies != running.policies {
            changes.live.push("policy".to_owned());
        }
        if self.legacy != running.legacy {
            changes.restart.push("legacy".to_owned());
            self.legacy.clone_from(&running.legacy);
        }
        if self.dialects != running.dialects {
            changes.restart.push("dialect".to_owned());
            self.dialects.clone_from(&running.dialects);
        }
        changes
    }
}
