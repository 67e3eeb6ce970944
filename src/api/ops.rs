//! What probes and monitoring ask: `/health`, `/ready`, `/metrics`.

use http::StatusCode;
use serde::Serialize;

use super::answer::{Answer, json, ok, with_type};
use crate::{broker::Condition, hub::Services};

/// Whether new clients should be sent to this pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// They should.
    Ready,
    /// They should, although a part of Redis cannot be used: another pod would be no better off.
    Degraded,
    /// They should not, because a part of Redis cannot be used (`redis.unready_when_degraded`).
    Unready,
    /// It cannot judge tokens yet, because their keys were never fetched, or has never reached Redis.
    Starting,
    /// It goes away.
    Draining,
    /// It holds as much as it may.
    Overloaded,
}

impl Readiness {
    /// The word in the answer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded | Self::Unready => "degraded",
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::Overloaded => "overloaded",
        }
    }

    /// Whether it is 200.
    #[must_use]
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Ready | Self::Degraded)
    }

    /// Where the pod stands now.
    #[must_use]
    pub fn of(services: &Services) -> Self {
        let config = services.config.load();
        let full = services.gate.connections() >= config.max_connections;
        let condition = (services.condition)();
        if services.gate.is_draining() {
            Self::Draining
        } else if !services.authority.is_ready() || condition == Condition::Starting {
            Self::Starting
        } else if full || services.budget.is_spent() {
            Self::Overloaded
        } else if condition == Condition::Well {
            Self::Ready
        } else if config.redis.as_ref().is_some_and(|redis| redis.unready_when_degraded) {
            Self::Unready
        } else {
            Self::Degraded
        }
    }
}

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

/// `/health`: the process answers.
#[must_use]
pub fn health() -> Answer {
    ok(&Status { status: "ok" })
}

/// `/ready`: whether new clients should be sent here. 503 only for the pod's own reasons.
#[must_use]
pub fn ready(readiness: Readiness) -> Answer {
    let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &Status { status: readiness.as_str() })
}

/// `/metrics`, in the text format of Prometheus (version 0.0.4).
#[must_use]
pub fn metrics(rendered: String) -> Answer {
    with_type(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", rendered)
}
