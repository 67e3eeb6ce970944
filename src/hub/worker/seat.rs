//! A connection's place among those that the pod may have.
//!
//! Always holds: a seat that is taken is given back when its connection is dropped.

use std::{net::IpAddr, sync::Arc};

use crate::{
    config::counted_by,
    hub::{
        access::client_addresses::{ClientAddresses, CountedConnection},
        worker::{capacity::CapacityError, clock::millis, services::Services},
    },
    metrics::Upgrades,
};

/// A connection's place among those that the pod may have; given back when it is dropped.
pub struct Seat {
    services: Arc<Services>,
    /// It is one of its address's too, where those are limited.
    _of_address: Option<Box<CountedConnection>>,
}

impl Seat {
    /// Lets one more connection in. A refusal counts among those that `counted` counts, by its reason.
    ///
    /// # Errors
    /// [`CapacityError`]: why not.
    pub fn take(services: &Arc<Services>, address: Option<IpAddr>, counted: &Upgrades) -> Result<Self, CapacityError> {
        Self::find(services, address).inspect_err(|error| error.counter(counted).increment(1))
    }

    fn find(services: &Arc<Services>, address: Option<IpAddr>) -> Result<Self, CapacityError> {
        let config = services.config.load();
        let of_address = match address {
            Some(address) => ClientAddresses::connect(&services.addresses, address, &config.addresses)
                .inspect_err(|_| services.metrics.pressures.addresses.refused_one(&counted_by(address)))?,
            None => None,
        };
        let entered = services.gate.enter(
            config.max_connections,
            &services.budget,
            &services.memory,
            millis(services.began.elapsed()),
        );
        let pressures = &services.metrics.pressures;
        match entered {
            Err(CapacityError::Connections { .. }) => pressures.connections.refused(1),
            Err(CapacityError::Memory { .. }) => pressures.memory.refused(1),
            Err(CapacityError::Process { .. }) => pressures.process_memory.refused(1),
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
