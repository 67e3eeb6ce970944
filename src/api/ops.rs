//! What probes and monitoring ask: `/health`, `/ready`, `/metrics`.

use http::StatusCode;
use serde::Serialize;

use super::answer::{Answer, json, ok, with_type};
use crate::hub::Readiness;

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
