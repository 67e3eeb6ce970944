//! What probes and monitoring ask: `/health`, `/ready`, `/metrics`.

use http::StatusCode;
use serde::Serialize;

use super::answer::{Answer, json, ok, with_type};
use crate::hub::Services;

/// Whether new clients should be sent to this pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// They should.
    Ready,
    /// It cannot judge tokens yet: their keys were never fetched.
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
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::Overloaded => "overloaded",
        }
    }

    /// Where the pod stands now.
    #[must_use]
    pub fn of(services: &Services) -> Self {
        let full = services.gate.connections() >= services.config.load().max_connections;
        if services.gate.is_draining() {
            Self::Draining
        } else if !services.authority.is_ready() {
            Self::Starting
        } else if full || services.budget.is_spent() {
            Self::Overloaded
        } else {
            Self::Ready
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
    let status = if readiness == Readiness::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &Status { status: readiness.as_str() })
}

/// `/metrics`, in the text format of Prometheus (version 0.0.4).
#[must_use]
pub fn metrics(rendered: String) -> Answer {
    with_type(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", rendered)
}
