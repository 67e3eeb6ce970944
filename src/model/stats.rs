//! How much there is on a pod, as it tells the others.

/// A pod's totals.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PodStats {
    /// The pod's name in its fleet.
    pub pod: String,
    /// The version of roomcast.
    pub version: String,
    /// Since the start, milliseconds.
    pub uptime_ms: u64,
    /// The word of `/ready`.
    pub readiness: String,
    /// Connections.
    pub connections: usize,
    /// The most that there may be.
    pub max_connections: usize,
    /// What its queues hold.
    pub queues: QueueStats,
    /// What each worker has.
    pub workers: Vec<WorkerStats>,
}

/// Bytes that wait for slow connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct QueueStats {
    /// A shared frame counts once.
    pub held_bytes: usize,
    /// A shared frame counts for each connection.
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
