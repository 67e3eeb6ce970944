//! Tells the other pods of a fleet which events were traced, so that their fan-outs are in the trace too.
//!
//! Always holds: one message a tenth of a second at most, of many events; none answers, and what gets lost costs spans and nothing else.

use std::{sync::Arc, time::Duration};

use super::tracer::Tracer;
use crate::broker::{Control, FleetQuestion};

/// What tells.
pub struct TraceTeller {
    tracer: Arc<Tracer>,
    control: Arc<dyn Control>,
}

impl TraceTeller {
    /// For a pod of a fleet.
    #[must_use]
    pub fn new(tracer: Arc<Tracer>, control: Arc<dyn Control>) -> Self {
        Self { tracer, control }
    }

    /// Tells, until it is dropped.
    pub async fn run(&self) {
        let Some(events) = &self.tracer.told else { return std::future::pending().await };
        loop {
            let told = FleetQuestion::Traces(events.gathered().await);
            if let Err(error) = self.control.ask_others(&told, Duration::ZERO).await {
                tracing::debug!(%error, "the other pods were not told of traces");
            }
        }
    }
}
