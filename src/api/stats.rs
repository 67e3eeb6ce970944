//! `GET /api/stats`: how much there is on this pod.

use std::time::Duration;

use serde::Serialize;

use super::{
    answer::{Answer, ApiError, ok},
    ops::Readiness,
};
use crate::hub::Services;

/// How much there is on this pod.
#[derive(Serialize)]
pub(super) struct Stats {
    /// A pod answers for itself.
    pub(super) scope: &'static str,
    pub(super) version: &'static str,
    pub(super) uptime_ms: u64,
    pub(super) readiness: &'static str,
    pub(super) connections: usize,
    pub(super) max_connections: usize,
    pub(super) queues: Queues,
    workers: Vec<Share>,
}

#[derive(Serialize)]
pub(super) struct Queues {
    pub(super) held_bytes: usize,
    pub(super) owed_bytes: usize,
    pub(super) budget_bytes: usize,
}

/// A room or a user with connections on several workers counts on each.
#[derive(Serialize)]
struct Share {
    connections: usize,
    rooms: usize,
    users: usize,
}

/// Answers for a pod that runs for `uptime`.
pub(super) async fn stats(services: &Services, uptime: Duration) -> Result<Answer, ApiError> {
    Ok(ok(&gather(services, uptime).await?))
}

/// Asks the workers of a pod that runs for `uptime`.
pub(super) async fn gather(services: &Services, uptime: Duration) -> Result<Stats, ApiError> {
    let totals = services.links.ask_all(|worker| worker.totals()).await?;
    let workers: Vec<_> = totals
        .into_iter()
        .map(|totals| Share { connections: totals.connections, rooms: totals.rooms, users: totals.users })
        .collect();
    let config = services.config.load();
    Ok(Stats {
        scope: "pod",
        version: env!("CARGO_PKG_VERSION"),
        uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
        readiness: Readiness::of(services).as_str(),
        connections: workers.iter().map(|share| share.connections).sum(),
        max_connections: config.max_connections,
        queues: Queues {
            held_bytes: services.budget.held(),
            owed_bytes: services.budget.owed(),
            budget_bytes: config.memory_budget,
        },
        workers,
    })
}
