//! What QUIC endpoints know of the other pods of the fleet.
//!
//! Never waits: the broker answers from what it was last told. Always holds: a pod whose broker has ended knows of none that has left.

use std::sync::{Arc, Weak};

use crate::{
    broker::Control,
    hub::Services,
    metrics::StrayPackets,
    transport::webtransport::{Neighbours, StrayPacket},
};

/// The other pods. Holds no pod back from its end.
pub(super) struct FleetNeighbours {
    control: Weak<dyn Control>,
    strays: StrayPackets,
}

impl FleetNeighbours {
    /// Those of a pod.
    pub(super) fn of(services: &Services) -> Arc<dyn Neighbours> {
        Arc::new(Self { control: Arc::downgrade(&services.control), strays: services.metrics.strays.clone() })
    }
}

impl Neighbours for FleetNeighbours {
    fn has_left(&self, pod: u64) -> bool {
        self.control.upgrade().is_some_and(|control| control.has_left(pod))
    }

    fn count(&self, stray: StrayPacket) {
        let counter = match stray {
            StrayPacket::Reset => &self.strays.reset,
            StrayPacket::Living => &self.strays.living,
            StrayPacket::Unknown => &self.strays.unknown,
            StrayPacket::Limited => &self.strays.limited,
        };
        counter.increment(1);
    }
}
