//! The pod's account of what its queues hold, as links see it.
//!
//! Never refuses: what holds bytes asks whether the account is spent. Always holds: what was put on it comes off it when its holder is
//! dropped.

use std::sync::Arc;

/// The account.
pub trait PodMemory: Send + Sync {
    /// Puts bytes on it.
    fn take(&self, bytes: usize);
    /// Takes bytes off it.
    fn give(&self, bytes: usize);
    /// Whether nothing more should be held.
    fn is_spent(&self) -> bool;
    /// The bytes that may be held now.
    fn limit(&self) -> usize;
}

/// Bytes on the account, until this is dropped.
pub struct OnAccount {
    memory: Arc<dyn PodMemory>,
    bytes: usize,
}

impl OnAccount {
    /// Puts bytes on the account.
    pub(in crate::broker) fn put(memory: &Arc<dyn PodMemory>, bytes: usize) -> Self {
        memory.take(bytes);
        Self::of_taken(memory, bytes)
    }

    /// Bytes that are on it already.
    pub(super) fn of_taken(memory: &Arc<dyn PodMemory>, bytes: usize) -> Self {
        Self { memory: Arc::clone(memory), bytes }
    }
}

impl Drop for OnAccount {
    fn drop(&mut self) {
        self.memory.give(self.bytes);
    }
}

/// An account of a test.
#[cfg(test)]
pub(in crate::broker) struct TestMemory {
    held: std::sync::atomic::AtomicUsize,
    limit: std::sync::atomic::AtomicUsize,
}

#[cfg(test)]
impl TestMemory {
    /// One that is never spent.
    pub(in crate::broker) fn plenty() -> Arc<Self> {
        Arc::new(Self { held: 0.into(), limit: usize::MAX.into() })
    }

    pub(in crate::broker) fn held(&self) -> usize {
        self.held.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub(in crate::broker) fn limit_to(&self, bytes: usize) {
        self.limit.store(bytes, std::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(test)]
impl PodMemory for TestMemory {
    fn take(&self, bytes: usize) {
        self.held.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
    }

    fn give(&self, bytes: usize) {
        self.held.fetch_sub(bytes, std::sync::atomic::Ordering::Relaxed);
    }

    fn is_spent(&self) -> bool {
        self.held() >= self.limit()
    }

    fn limit(&self) -> usize {
        self.limit.load(std::sync::atomic::Ordering::Relaxed)
    }
}
