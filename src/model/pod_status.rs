//! What a pod shows of itself to an operator: the page at `/status`, `GET /status.json` and the commands that read it.
//!
//! Names no room, no user and no client's address. Always holds: every figure is one that the metrics or the probes give too, or a part
//! of one: of a single link, where these have all.

use super::UnixMillis;

/// A pod at one moment.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct PodStatus {
    /// The pod's name in its fleet.
    pub pod: String,
    /// The version of roomcast.
    pub version: String,
    /// When this was so.
    pub at: UnixMillis,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// The word of `/accepting`.
    pub readiness: String,
    /// Every reason for which it is not as it should be.
    pub degraded: Vec<String>,
    /// Connections.
    pub connections: usize,
    /// The most connections.
    pub max_connections: usize,
    /// Connections by transport and dialect; only those that there are.
    pub carried: Vec<CarriedConnections>,
    /// Rooms with a member here.
    pub rooms: u64,
    /// The connections of each worker.
    pub workers: Vec<u64>,
    /// Since the start.
    pub totals: PodTotals,
    /// From an event's arrival to the last write of its batch on a worker, over the last minute.
    pub latency: LatencyStatus,
    /// Bytes that wait for clients.
    pub queues: super::QueueStats,
    /// The memory of the process.
    pub memory: super::MemoryStats,
    /// What refuses clients.
    pub limits: Vec<LimitStatus>,
    /// The servers of Redis; `None`: the broker is embedded.
    pub redis: Option<RedisStatus>,
    /// Its home and its edges; `None`: it has neither.
    pub tree: Option<super::TreeStatus>,
    /// The hooks that the backend does not answer now; `None`: none is asked.
    pub failing_hooks: Option<Vec<String>>,
    /// How it goes away.
    pub drain: DrainStatus,
    /// Seconds until the certificate expires, below 0 once it has; `None`: there is none.
    pub certificate_expires_s: Option<f64>,
    /// The time between two of the moments.
    pub every_ms: u64,
    /// The last minutes, the oldest first.
    pub moments: Vec<StatusMoment>,
}

/// Connections that are carried and speak alike.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CarriedConnections {
    /// What carries them.
    pub transport: String,
    /// What they speak.
    pub dialect: String,
    /// How many there are.
    pub connections: u64,
}

/// What a pod did since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct PodTotals {
    /// Events of backends.
    pub events_api: u64,
    /// Events of clients.
    pub events_client: u64,
    /// Events times receivers.
    pub deliveries: u64,
    /// Messages of clients.
    pub messages_in: u64,
    /// Bytes of frames times receivers, before compression.
    pub plain_bytes: u64,
    /// The same after compression.
    pub sent_bytes: u64,
    /// Frames that slow connections lost, each told by a gap.
    pub dropped_frames: u64,
    /// Holes between a room's sequencer and a worker.
    pub stream_holes: u64,
    /// Connections that were closed because they did not read.
    pub slow_disconnects: u64,
    /// Sockets that were ended because an answer was not read.
    pub slow_sockets: u64,
    /// Clients that a limit refused.
    pub refused: u64,
    /// The CPU time of the workers, in seconds.
    pub cpu_s: f64,
}

/// How long it took.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LatencyStatus {
    /// Half of the batches took less, in milliseconds; `None`: there was none.
    pub p50_ms: Option<f64>,
    /// 99 of 100 took less.
    pub p99_ms: Option<f64>,
}

/// One limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LimitStatus {
    /// The word of the metrics.
    pub name: String,
    /// How much is used; `None`: it is not one figure (`addresses`).
    pub used: Option<u64>,
    /// The most.
    pub limit: Option<u64>,
    /// What it refused since the start.
    pub refused: u64,
    /// Whether it refused lately.
    pub bites: bool,
}

/// The servers of Redis, as this pod finds them.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RedisStatus {
    /// `well`, `degraded` or `starting`.
    pub state: String,
    /// Channels whose subscription stands.
    pub confirmed: usize,
    /// Channels whose subscription is missing.
    pub unconfirmed: usize,
    /// Slots without a known owner.
    pub unowned_slots: usize,
    /// Those that own slots; before they are known, those that are configured.
    pub masters: Vec<MasterStatus>,
}

/// One server.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MasterStatus {
    /// `HOST:PORT`.
    pub address: String,
    /// Whether it takes subscriptions.
    pub subscribed: bool,
    /// Whether it takes commands.
    pub commanded: bool,
    /// Milliseconds since its canary came back.
    pub canary_ms: Option<u64>,
    /// What is wrong, in words of the metrics.
    pub troubles: Vec<String>,
    /// The same in the words of Redis, or of the system.
    pub error: Option<String>,
}

/// How a pod goes away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DrainStatus {
    /// Milliseconds since it was seen to go; `None`: it stays.
    pub draining_ms: Option<u64>,
    /// For so long clients are still taken.
    pub delay_ms: u64,
    /// Over so long clients are sent away.
    pub window_ms: u64,
}

/// What a pod did between two looks, in rates.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct StatusMoment {
    /// The end of it.
    pub at: UnixMillis,
    /// Connections at its end.
    pub connections: u64,
    /// Events published here, a second.
    pub events: f64,
    /// Events times receivers, a second.
    pub deliveries: f64,
    /// Bytes to clients, a second.
    pub sent_bytes: f64,
    /// Clients refused, a second.
    pub refused: f64,
    /// Frames lost to slow connections, a second.
    pub dropped: f64,
    /// Cores that the workers used.
    pub cores: f64,
    /// Bytes that queues hold at its end.
    pub held_bytes: u64,
    /// As [`PodStatus::latency`], of this moment alone.
    pub p50_ms: Option<f64>,
    /// The same.
    pub p99_ms: Option<f64>,
}
