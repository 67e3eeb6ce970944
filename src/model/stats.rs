//! The statistics of a pod, as it sends them to the other pods.

use super::Room;

/// A pod's totals.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PodStats {
    /// The pod's name in its fleet.
    pub pod: String,
    /// The version of roomcast.
    pub version: String,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// The word of `/accepting`.
    pub readiness: String,
    /// Connections.
    pub connections: usize,
    /// The most connections.
    pub max_connections: usize,
    /// The bytes of its queues.
    pub queues: QueueStats,
    /// The memory of its process.
    #[serde(default)]
    pub memory: MemoryStats,
    /// The totals of each worker.
    pub workers: Vec<WorkerStats>,
}

/// The memory of a whole process.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MemoryStats {
    /// The bytes used.
    pub used_bytes: usize,
    /// The bytes above which newcomers are refused.
    pub limit_bytes: usize,
    /// Where the limit and the queues' budget come from, in words.
    pub from: String,
}

/// Bytes that wait to be sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct QueueStats {
    /// The bytes held: a shared frame counts once.
    pub held_bytes: usize,
    /// The bytes owed: a shared frame counts for each connection.
    pub owed_bytes: usize,
    /// The most that may be held.
    pub budget_bytes: usize,
}

/// A worker's totals. A room or a user with connections on several workers counts on each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WorkerStats {
    /// Connections.
    pub connections: usize,
    /// Rooms with members here.
    pub rooms: usize,
    /// Users with a connection here.
    pub users: usize,
    /// Connections with a user.
    #[serde(default)]
    pub identified: usize,
}

/// How many are in a pod's rooms, and how much it moved since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PodTraffic {
    /// Rooms with their members here.
    pub rooms: Vec<(Room, usize)>,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// Events to clients.
    pub deliveries: u64,
    /// Messages from clients.
    pub messages_in: u64,
}
