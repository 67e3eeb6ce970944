//! How much the memory broker may hold, and holds.

use std::time::Duration;

/// How much the broker may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Bytes for everything that it holds: logs, retained values, keys, members, and the rooms themselves.
    pub max_bytes: usize,
    /// How long a repeated idempotency key is known.
    pub idempotency_age: Duration,
    /// How many idempotency keys a room knows; the oldest is forgotten first.
    pub idempotency_keys: usize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self { max_bytes: 256 * 1024 * 1024, idempotency_age: Duration::from_secs(300), idempotency_keys: 10_000 }
    }
}

/// What the broker holds, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes held, events that are both in a log and retained counted twice.
    pub bytes: usize,
    /// Rooms known.
    pub rooms: usize,
    /// Rooms forgotten for lack of memory since the start.
    pub evicted_rooms: usize,
}
