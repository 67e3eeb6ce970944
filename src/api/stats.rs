//! `GET /api/stats`: how much there is on this pod.

use std::time::Duration;

use serde::Serialize;

use super::{
    answer::{Answer, ApiError, ok},
    ops::Readiness,
};
use crate::hub::Services;

/// Answers for a pod that runs for `uptime`.
pub(super) async fn stats(services: &Services, uptime: Duration) -> Result<Answer, ApiError> {
    #[derive(Serialize)]
    struct Body {
        /// A pod answers for itself.
        scope: &'static str,
        version: &'static str,
        uptime_ms: u64,
        readiness: &'static str,
        connections: usize,
        max_connections: usize,
        queues: Queues,
        workers: Vec<Share>,
    }
    #[derive(Serialize)]
    struct Queues {
        held_bytes: usize,
        owed_bytes: usize,
        budget_bytes: usize,
    }
    /// A room or a user with connections on several workers counts on each.
    #[derive(Serialize)]
    struct Share {
        connections: usize,
        rooms: usize,
        users: usize,
    }
    let totals = services.links.ask_all(|worker| worker.totals()).await?;
    let workers: Vec<_> = totals
        .into_iter()
        .map(|totals| Share { connections: totals.connections, rooms: totals.rooms, users: totals.users })
        .collect();
    let config = services.config.load();
    Ok(ok(&Body {
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
    }))
}
