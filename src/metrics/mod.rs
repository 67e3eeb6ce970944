//! Every metric of the pod, its handles made once.
//!
//! Counts are added once a batch and worker, never per receiver. Always holds: no label has a value that a client can
//! choose, so that the number of series is fixed at start.

mod absent;
mod acks;
mod archive;
mod descriptions;
mod exposition;
mod grpc;
mod handshakes;
mod hooks;
mod observer;
mod pressure;
mod rare_warning;
mod redis_commands;
mod redis_subscriptions;
mod relay;
mod samples;
mod signals;
mod socketio;
mod statuses;
mod tokens;
mod traces;
mod upstream;
mod user_places;
mod windows;

pub use absent::{ABSENT_DESCRIPTIONS, AbsentMetrics};
pub use acks::AckMetrics;
pub use archive::{ARCHIVE_DESCRIPTIONS, ArchiveMetrics};
pub use descriptions::{DESCRIPTIONS, REDIS_DESCRIPTIONS};
pub use exposition::{Alias, Exposition};
pub use grpc::GrpcCalls;
pub use handshakes::{Handshakes, SlowSockets, StrayPackets, Upgrades};
pub use hooks::{HOOK_DESCRIPTIONS, HookCounts, HookMetrics};
pub use observer::{ClientMessage, DeliveryObserver};
pub use pressure::Pressures;
pub use rare_warning::RareWarning;
#[cfg(test)]
pub(crate) use redis_commands::{COMMANDS, TROUBLES};
pub use redis_commands::{CommandResult, RedisCommands};
pub use redis_subscriptions::RedisMetrics;
pub use relay::{RELAY_DESCRIPTIONS, RelayMetrics};
pub use samples::{Buckets, Samples};
pub use signals::SignalMetrics;
pub use socketio::{SOCKETIO_DESCRIPTIONS, SocketIo};
pub use statuses::StatusMetrics;
pub use tokens::TokenMetrics;
pub use traces::{TRACE_DESCRIPTIONS, TraceMetrics};
pub use upstream::{UPSTREAM_DESCRIPTIONS, UpstreamMetrics};
pub use user_places::UserPlaceMetrics;
pub use windows::WindowMetrics;

use std::{io, sync::Arc};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::model::Disconnect;
pub(crate) use descriptions::describe;

/// Why a pod may not be as it should be: the reasons that `/ready` says, and that it is not ready itself.
const DEGRADED: [&str; 8] = ["starting", "draining", "connections", "memory", "files", "redis", "upstream", "archive"];

/// The handles.
#[derive(Debug)]
pub struct Metrics {
    /// Open connections.
    pub connections: Connections,
    /// Each worker's share.
    pub workers: Vec<PerWorker>,
    /// Rooms with a member.
    pub rooms: Gauge,
    /// Events that were published on this pod, by their source.
    pub events_in: EventsIn,
    /// Events that were deleted.
    pub events_deleted: Counter,
    /// Batches that left their room's sequencer.
    pub batches: Counter,
    /// How many events a batch had.
    pub batch_events: Histogram,
    /// Windows of rooms.
    pub windows: WindowMetrics,
    /// From the arrival of a batch's first event at the pod until it left the room's sequencer.
    pub batch_wait: Histogram,
    /// Events times receivers.
    pub deliveries: Counter,
    /// Frames times receivers.
    pub frames: Counter,
    /// Bytes of frames times receivers, before and after compression.
    pub sent: Compressed,
    /// Bytes of frames, each once, before and after compression.
    pub encoded: Compressed,
    /// From the arrival of a batch's first event at the pod to the last write of the batch on a worker.
    pub publish_to_write: Histogram,
    /// The duration of fan-outs, their pauses for others included.
    pub fan_out: Histogram,
    /// Frames that slow connections lost, each told by a gap.
    pub dropped: Counter,
    /// Holes in a room's stream that were filled from history or told as a gap.
    pub holes: Counter,
    /// What became of subscriptions with a position.
    pub recoveries: Recoveries,
    /// How far users have read.
    pub acks: AckMetrics,
    /// Places of users.
    pub user_places: UserPlaceMetrics,
    /// Signals.
    pub signals: SignalMetrics,
    /// The presence of users.
    pub statuses: StatusMetrics,
    /// Engine.IO and Socket.IO.
    pub socketio: SocketIo,
    /// Handshakes by stage and result.
    pub handshakes: Handshakes,
    /// Bytes that queues really hold.
    pub held_bytes: Gauge,
    /// Bytes that connections are owed.
    pub owed_bytes: Gauge,
    /// Messages of clients.
    pub messages_in: Counter,
    /// `accept` calls that failed, out of files above all.
    pub accept_errors: Counter,
    /// The limits that refuse clients.
    pub pressures: Pressures,
    /// Sockets that were ended because their clients were too slow.
    pub slow_sockets: SlowSockets,
    /// Packets over QUIC for connections that the pod does not have.
    pub strays: StrayPackets,
    /// Calls over gRPC.
    pub grpc_calls: GrpcCalls,
    /// Connections to the internal listener that were too many.
    pub internal_refused: Counter,
    /// Seconds until the certificate expires.
    pub certificate_expires: Gauge,
    /// Seconds since the certificate became valid.
    pub certificate_age: Gauge,
    /// Whether the certificate's newest file is unusable, so that the one before it is served: 0 or 1.
    pub certificate_broken: Gauge,
    /// 1 while the files of the ticket keys are unusable.
    pub ticket_keys_broken: Gauge,
    /// 1 while the configuration that was read again is unusable, so that the one before it stays.
    pub configuration_broken: Gauge,
    /// Clients' tokens and their keys.
    pub tokens: TokenMetrics,
    /// Hears what is delivered; `None`: nothing is to be told.
    pub observer: Option<Arc<dyn DeliveryObserver>>,
    degraded: Vec<(&'static str, Gauge)>,
    disconnects: Vec<(Disconnect, Counter)>,
    lost: Counter,
}

/// Open connections by what carries them, and by dialect in the order of the pod's dialects.
#[derive(Debug)]
pub struct Connections(Vec<(&'static str, Vec<Gauge>)>, Gauge);

impl Connections {
    /// What carries connections, by the names that the API gives it; whatever else there is counts as `other`.
    const TRANSPORTS: [&'static str; 6] = ["websocket", "webtransport", "poll", "polling", "sse", "other"];

    fn new(dialects: &[&str]) -> Self {
        let gauge = |transport: &'static str, dialect: &&str| {
            let gauge = gauge!("roomcast_connections", "transport" => transport, "dialect" => (*dialect).to_owned());
            gauge.set(0.0);
            gauge
        };
        let of = |transport| (transport, dialects.iter().map(|dialect| gauge(transport, dialect)).collect());
        Self(Self::TRANSPORTS.into_iter().map(of).collect(), Gauge::noop())
    }

    /// The gauge of a transport and a dialect.
    pub fn of(&self, transport: &str, dialect: usize) -> &Gauge {
        let found = self.0.iter().find(|(name, _)| *name == transport).or(self.0.last());
        found.and_then(|(_, gauges)| gauges.get(dialect)).unwrap_or(&self.1)
    }
}

/// One worker's share: whether the pod's work is spread evenly.
#[derive(Debug)]
pub struct PerWorker {
    /// Its connections.
    pub connections: Gauge,
    /// The CPU time of its thread, in seconds.
    pub cpu: Gauge,
    /// Events times receivers that it wrote.
    pub deliveries: Counter,
}

/// Events by their source.
#[derive(Debug)]
pub struct EventsIn {
    /// Backends.
    pub api: Counter,
    /// Clients.
    pub client: Counter,
}

/// Bytes before and after compression.
#[derive(Debug)]
pub struct Compressed {
    /// Before.
    pub plain: Counter,
    /// After, as framed for the wire below TLS.
    pub framed: Counter,
}

/// What became of subscriptions with a position.
#[derive(Debug)]
pub struct Recoveries {
    /// Exactly what was missed followed.
    pub recovered: Counter,
    /// It was gone, or too much.
    pub gone: Counter,
}

impl Metrics {
    /// `accept` failed on a listener. Whether the process is out of files or memory, so that to try again at once is in vain.
    pub fn accept_failed(&self, listener: &str, error: &io::Error) -> bool {
        self.accept_errors.increment(1);
        let of_one_client = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
        );
        if !of_one_client {
            tracing::debug!(listener, %error, "accept failed; trying again in 100 ms");
            self.pressures.accept.refused(1);
        }
        !of_one_client
    }

    /// Handles of the recorder that is current, for a pod with so many workers and these dialects.
    #[must_use]
    pub fn new(workers: usize, dialects: &[&str]) -> Self {
        describe(DESCRIPTIONS);
        describe(SOCKETIO_DESCRIPTIONS);
        let recovery = |outcome: &'static str| counter!("roomcast_recoveries_total", "outcome" => outcome);
        let disconnect = |d: &Disconnect| (*d, counter!("roomcast_disconnects_total", "code" => d.code().to_string()));
        gauge!("roomcast_build_info", "version" => env!("CARGO_PKG_VERSION"), "allocator" => "jemalloc").set(1.0);
        Self {
            connections: Connections::new(dialects),
            workers: (0..workers).map(PerWorker::new).collect(),
            rooms: gauge!("roomcast_rooms"),
            events_in: EventsIn {
                api: counter!("roomcast_events_in_total", "source" => "api"),
                client: counter!("roomcast_events_in_total", "source" => "client"),
            },
            events_deleted: counter!("roomcast_events_deleted_total"),
            batches: counter!("roomcast_batches_total"),
            batch_events: histogram!("roomcast_batch_events"),
            batch_wait: histogram!("roomcast_batch_wait_seconds"),
            deliveries: counter!("roomcast_deliveries_total"),
            frames: counter!("roomcast_frames_total"),
            sent: Compressed::new("roomcast_sent_bytes_total"),
            encoded: Compressed::new("roomcast_encoded_bytes_total"),
            windows: WindowMetrics::default(),
            publish_to_write: histogram!("roomcast_publish_to_write_seconds"),
            fan_out: histogram!("roomcast_fan_out_seconds"),
            dropped: counter!("roomcast_dropped_frames_total"),
            holes: counter!("roomcast_stream_holes_total"),
            acks: AckMetrics::default(),
            user_places: UserPlaceMetrics::default(),
            signals: SignalMetrics::default(),
            statuses: StatusMetrics::default(),
            socketio: SocketIo::default(),
            recoveries: Recoveries { recovered: recovery("recovered"), gone: recovery("gone") },
            handshakes: Handshakes::default(),
            held_bytes: gauge!("roomcast_held_bytes"),
            owed_bytes: gauge!("roomcast_owed_bytes"),
            messages_in: counter!("roomcast_messages_in_total"),
            accept_errors: counter!("roomcast_accept_errors_total"),
            pressures: Pressures::default(),
            slow_sockets: SlowSockets::default(),
            strays: StrayPackets::default(),
            grpc_calls: GrpcCalls::new(&GrpcCalls::METHODS),
            internal_refused: counter!("roomcast_internal_refused_total"),
            certificate_expires: gauge!("roomcast_certificate_expires_seconds"),
            certificate_age: gauge!("roomcast_certificate_age_seconds"),
            certificate_broken: gauge!("roomcast_certificate_broken"),
            ticket_keys_broken: gauge!("roomcast_ticket_keys_broken"),
            configuration_broken: gauge!("roomcast_configuration_broken"),
            tokens: TokenMetrics::default(),
            observer: None,
            degraded: DEGRADED
                .iter()
                .map(|reason| (*reason, gauge!("roomcast_degraded", "reason" => *reason)))
                .collect(),
            disconnects: Disconnect::ALL.iter().map(disconnect).collect(),
            lost: counter!("roomcast_disconnects_total", "code" => "none"),
        }
    }

    /// Shows which reasons there are for which the pod is not as it should be.
    pub fn show_degraded(&self, holds: impl Fn(&str) -> bool) {
        for (reason, gauge) in &self.degraded {
            gauge.set(f64::from(u8::from(holds(reason))));
        }
    }

    /// Counts a connection's end; `None`: the socket went without a close.
    pub fn disconnected(&self, disconnect: Option<Disconnect>) {
        match disconnect.and_then(|d| self.disconnects.iter().find(|(known, _)| *known == d)) {
            Some((_, counter)) => counter.increment(1),
            None => self.lost.increment(1),
        }
    }
}

impl PerWorker {
    fn new(index: usize) -> Self {
        let worker = index.to_string();
        Self {
            connections: gauge!("roomcast_worker_connections", "worker" => worker.clone()),
            cpu: gauge!("roomcast_worker_cpu_seconds_total", "worker" => worker.clone()),
            deliveries: counter!("roomcast_worker_deliveries_total", "worker" => worker),
        }
    }
}

impl Compressed {
    fn new(name: &'static str) -> Self {
        Self { plain: counter!(name, "stage" => "plain"), framed: counter!(name, "stage" => "framed") }
    }

    /// Adds bytes.
    pub fn add(&self, plain: u64, framed: u64) {
        self.plain.increment(plain);
        self.framed.increment(framed);
    }
}
