//! What probes and monitoring ask: `/health`, `/accepting`, `/ready`, `/metrics`; and clients that look for the nearest pod: `/edges`.

use http::StatusCode;
use serde::Serialize;

use super::answer::{Answer, json, ok, with_type};
use crate::{
    config::EdgeAddress,
    hub::{Readiness, Reason},
};

#[derive(Serialize)]
struct Status {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[derive(Serialize)]
struct EdgeList<'a> {
    edges: &'a [EdgeAddress],
}

/// `/edges`: where clients may connect.
#[must_use]
pub fn edges(edges: &[EdgeAddress]) -> Answer {
    ok(&EdgeList { edges })
}

/// `/health`: the process answers.
#[must_use]
pub fn health() -> Answer {
    ok(&Status { status: "ok", reason: None })
}

/// `/accepting`: whether new clients should be sent here. 503 only for the pod's own reasons.
#[must_use]
pub fn accepting(readiness: Readiness) -> Answer {
    answer(readiness.accepts(), readiness.as_str(), readiness)
}

/// `/ready`: whether the pod serves those that it has. 503 only while it starts. `needs_redis`: also while a part of Redis cannot be
/// used, for a caller that means that by the path.
#[must_use]
pub fn ready(readiness: Readiness, needs_redis: bool) -> Answer {
    let word = match readiness {
        Readiness::Draining | Readiness::Overloaded(_) => Readiness::Degraded(Reason::Redis).as_str(),
        other => other.as_str(),
    };
    answer(readiness.serves() && !(needs_redis && readiness == Readiness::Degraded(Reason::Redis)), word, readiness)
}

fn answer(well: bool, word: &'static str, readiness: Readiness) -> Answer {
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &Status { status: word, reason: readiness.reason().map(Reason::as_str) })
}

/// `/metrics`, in the text format of Prometheus (version 0.0.4).
#[must_use]
pub fn metrics(rendered: String) -> Answer {
    with_type(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", rendered)
}
