//! Whether a pod takes in one more connection: not when it drains, not above its limits.
//!
//! Always holds: a seat that is taken is given back when its connection is dropped.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use crate::hub::{AddressFullError, Budget, ClientAddresses, CountedConnection, Services};

/// A connection's place among those that the pod may have; given back when it is dropped.
pub struct Seat {
    services: Arc<Services>,
    /// It is one of its address's too, where those are limited.
    _of_address: Option<Box<CountedConnection>>,
}

impl Seat {
    /// Lets one more connection in.
    ///
    /// # Errors
    /// [`CapacityError`]: why not.
    pub fn take(services: &Arc<Services>, address: Option<IpAddr>) -> Result<Self, CapacityError> {
        let config = services.config.load();
        let of_address = match address {
            Some(address) => ClientAddresses::connect(&services.addresses, address, &config.addresses)
                .inspect_err(|_| services.metrics.pressures.addresses.refused(1))?,
            None => None,
        };
        let entered = services.gate.enter(config.max_connections, &services.budget);
        let pressures = &services.metrics.pressures;
        match entered {
            Err(CapacityError::Connections { .. }) => pressures.connections.refused(1),
            Err(CapacityError::Memory { .. }) => pressures.memory.refused(1),
            Ok(()) | Err(CapacityError::Draining | CapacityError::Address(_)) => {}
        }
        entered?;
        Ok(Self { services: Arc::clone(services), _of_address: of_address.map(Box::new) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.services.gate.leave();
    }
}

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
        /// `memory_budget`.
        limit: usize,
    },
}

impl Gate {
    fn enter(&self, max_connections: usize, budget: &Budget) -> Result<(), CapacityError> {
        if self.shut.load(Ordering::Relaxed) {
            return Err(CapacityError::Draining);
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

    fn leave(&self) {
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

    #[test]
    fn a_full_pod_says_its_figures() {
        let (gate, budget) = (Gate::default(), Budget::new(1_000));
        gate.enter(2, &budget).unwrap();
        gate.enter(2, &budget).unwrap();
        assert_eq!(gate.enter(2, &budget).unwrap_err().to_string(), "this pod is full: 2 of 2 connections");
        assert_eq!(gate.connections(), 2);
        gate.leave();
        budget.take(1_024);
        let why = gate.enter(2, &budget).unwrap_err().to_string();
        assert_eq!(why, "this pod's queues are full: they hold 1024 of 1000 bytes");
        gate.drain();
        assert_eq!(gate.enter(2, &budget).unwrap_err(), CapacityError::Draining);
    }
}
