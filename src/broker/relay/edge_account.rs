//! What the link of an edge carried since it stands. Without I/O.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Instant,
};

use crate::model::EdgeStatus;

/// A link's account since it stands.
pub(super) struct EdgeAccount {
    began: Instant,
    rooms: AtomicUsize,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl EdgeAccount {
    /// Of a link that begins now.
    pub(super) fn begin() -> Self {
        Self {
            began: Instant::now(),
            rooms: AtomicUsize::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        }
    }

    /// Bytes came from the edge.
    pub(super) fn came(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    /// Bytes went to it.
    pub(super) fn went(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Relaxed);
    }

    /// It follows so many rooms.
    pub(super) fn follows(&self, rooms: usize) {
        self.rooms.store(rooms, Relaxed);
    }

    /// What is shown of it; its name, and what its queue holds, are not known here.
    pub(super) fn show(&self, now: Instant) -> EdgeStatus {
        let since = now.saturating_duration_since(self.began).as_millis();
        EdgeStatus {
            since_ms: u64::try_from(since).unwrap_or(u64::MAX),
            rooms: self.rooms.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            ..EdgeStatus::default()
        }
    }
}
