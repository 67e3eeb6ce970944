//! Whether a pod takes in one more connection: not when it drains, not above its limits.
//!
//! Never closes a connection. Always holds: a connection that is counted in is counted out once, by its
//! [`Seat`](super::seat::Seat).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use metrics::Counter;

use crate::{
    hub::{
        access::client_addresses::AddressFullError, connection::budget::Budget, worker::process_memory::ProcessMemory,
    },
    metrics::Upgrades,
};

/// Whether and how many connections are taken in.
#[derive(Debug, Default)]
pub struct Gate {
    connections: AtomicUsize,
    leaving: AtomicBool,
    shut: AtomicBool,
}

/// Why a connection is refused before its upgrade, with 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CapacityError {
    /// The pod goes away.
    #[error("this pod is draining")]
    Draining,
    /// `max_connections` are open.
    #[error("this pod is full: {limit} of {limit} connections")]
    Connections {
        /// `max_connections`.
        limit: usize,
    },
    /// Its address has as many as it may.
    #[error(transparent)]
    Address(#[from] AddressFullError),
    /// The queues hold `memory_budget`.
    #[error("this pod's queues are full: they hold {held} of {limit} bytes")]
    Memory {
        /// What they hold.
        held: usize,
        /// `memory_budget`, or less while the whole process is short of memory.
        limit: usize,
    },
    /// The process uses as much memory as it may.
    #[error("this pod is short of memory: it uses {used} of {ceiling} bytes")]
    Process {
        /// What it uses.
        used: usize,
        /// What it may use in all.
        ceiling: usize,
    },
}

impl CapacityError {
    /// What counts it: an address above its own limit says nothing of how full the pod is, and a pod that goes away is not full either.
    pub(super) fn counter(self, counted: &Upgrades) -> &Counter {
        match self {
            Self::Draining => &counted.draining,
            Self::Address(_) => &counted.address,
            Self::Connections { .. } | Self::Memory { .. } | Self::Process { .. } => &counted.full,
        }
    }
}

impl Gate {
    pub(super) fn enter(
        &self,
        max_connections: usize,
        budget: &Budget,
        memory: &ProcessMemory,
        now_ms: u64,
    ) -> Result<(), CapacityError> {
        if self.shut.load(Ordering::Relaxed) {
            return Err(CapacityError::Draining);
        }
        if !memory.admit(now_ms, budget, self.connections()) {
            return Err(CapacityError::Process { used: memory.used(), ceiling: memory.ceiling() });
        }
        if budget.is_spent() {
            return Err(CapacityError::Memory { held: budget.held(), limit: budget.limit() });
        }
        let entered = self.connections.fetch_add(1, Ordering::Relaxed);
        if entered >= max_connections {
            self.leave();
            return Err(CapacityError::Connections { limit: max_connections });
        }
        Ok(())
    }

    pub(super) fn leave(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many connections are in.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The pod will go away: it says so, and still takes connections in until balancers have noticed.
    pub fn drain_soon(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// No more connections from now on.
    pub fn drain(&self) {
        self.drain_soon();
        self.shut.store(true, Ordering::Relaxed);
    }

    /// Whether no more connections are taken in.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Relaxed)
    }

    /// Whether the pod goes away.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{MemoryCeiling, MemorySource};

    #[test]
    fn a_full_pod_says_its_figures() {
        let (gate, budget) = (Gate::default(), Budget::new(1_000));
        let memory = ProcessMemory::new(&MemoryCeiling { bytes: 1 << 30, source: MemorySource::Unknown });
        let enter = || gate.enter(2, &budget, &memory, 0);
        enter().unwrap();
        enter().unwrap();
        assert_eq!(enter().unwrap_err().to_string(), "this pod is full: 2 of 2 connections");
        assert_eq!(gate.connections(), 2);
        gate.leave();
        budget.take(1_024);
        let why = enter().unwrap_err().to_string();
        assert_eq!(why, "this pod's queues are full: they hold 1024 of 1000 bytes");
        gate.drain();
        assert_eq!(enter().unwrap_err(), CapacityError::Draining);
    }
}
