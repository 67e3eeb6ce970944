//! `GET /api/stats`: how much there is on this pod, or in the fleet.

use serde::Serialize;

use super::{
    answer::{Answer, ApiError, ok},
    scope::is_of_fleet,
    target::Query,
};
use crate::{
    hub::{FleetStats, Services},
    model::PodStats,
};

/// Answers for this pod, or with `scope=fleet` for all.
pub(super) async fn stats(services: &Services, query: &Query) -> Result<Answer, ApiError> {
    if is_of_fleet(query)? { fleet(services).await } else { pod(services).await }
}

async fn pod(services: &Services) -> Result<Answer, ApiError> {
    #[derive(Serialize)]
    struct Body {
        scope: &'static str,
        #[serde(flatten)]
        stats: PodStats,
    }
    Ok(ok(&Body { scope: "pod", stats: services.stats().await? }))
}

async fn fleet(services: &Services) -> Result<Answer, ApiError> {
    Ok(ok(&fleet_body(services.fleet_stats().await?)))
}

/// What is answered about a fleet.
#[derive(Serialize)]
pub(super) struct FleetBody {
    scope: &'static str,
    connections: usize,
    max_connections: usize,
    pods: Vec<PodStats>,
    /// The pods that are missing in all of this.
    silent: Vec<String>,
}

pub(super) fn fleet_body(FleetStats { pods, silent }: FleetStats) -> FleetBody {
    FleetBody {
        scope: "fleet",
        connections: pods.iter().map(|pod| pod.connections).sum(),
        max_connections: pods.iter().map(|pod| pod.max_connections).sum(),
        pods,
        silent,
    }
}
