//! The pod's account of bytes that its queues really hold.
//!
//! Counted: each queued shared frame once however many connections it waits for, private bytes, and the queues' own
//! nodes. What a connection *owes* (every frame in full) is its send queue's account, not this one. Always holds: what was
//! taken is given back when the holder is dropped.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes held, against what may be held. Shared by all workers.
#[derive(Debug)]
pub struct Budget {
    held: AtomicUsize,
    queued: AtomicUsize,
    /// What may be held now: `most`, or less while the whole process is short of memory.
    limit: AtomicUsize,
    most: usize,
}

impl Budget {
    /// An empty account.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { held: AtomicUsize::new(0), queued: AtomicUsize::new(0), limit: AtomicUsize::new(limit), most: limit }
    }

    /// Books bytes. Never refuses: the caller asks [`Budget::is_spent`] and drops or closes.
    pub fn take(&self, bytes: usize) {
        self.held.fetch_add(bytes, Relaxed);
    }

    /// Books bytes back.
    pub fn give(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Relaxed);
    }

    /// The bytes held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// The bytes that may be held now.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// No more than `bytes` may be held from now on, and never more than at first.
    pub fn limit_to(&self, bytes: usize) {
        self.limit.store(bytes.min(self.most), Relaxed);
    }

    /// Counts bytes that a connection is owed from now on. For the operator's eyes: no decision hangs on the sum.
    pub fn owe(&self, bytes: usize) {
        self.queued.fetch_add(bytes, Relaxed);
    }

    /// Counts bytes that are owed no more.
    pub fn settle(&self, bytes: usize) {
        self.queued.fetch_sub(bytes, Relaxed);
    }

    /// The bytes that all connections are owed now, each shared frame in full for each of them.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued.load(Relaxed)
    }

    /// Whether what is large is refused, and those that take nothing are shed: what is left is for newcomers and what is small.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.held() >= self.limit() / 16 * 15
    }

    /// The bytes that may still be held.
    #[must_use]
    pub fn left(&self) -> usize {
        self.limit().saturating_sub(self.held())
    }

    /// Whether nothing more should be queued, and no new connection be taken in.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.held() >= self.limit()
    }
}
