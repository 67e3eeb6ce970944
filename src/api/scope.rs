//! Whether a call is about the pod that answers or about all of its fleet, and what every answer about a fleet says.

use serde::Serialize;

use super::{answer::ApiError, target::Query};

/// Whether a query asks for the fleet.
pub(super) fn is_of_fleet(query: &Query) -> Result<bool, ApiError> {
    match query.text("scope") {
        None | Some("pod") => Ok(false),
        Some("fleet") => Ok(true),
        Some(_) => Err(ApiError::bad_request("`scope` must be `pod` or `fleet`")),
    }
}

/// Of which pods an answer is.
#[derive(Serialize)]
pub(super) struct AllPods {
    scope: &'static str,
    /// How many answered.
    pods: usize,
    /// The pods that did not answer in time.
    silent: Vec<String>,
}

impl AllPods {
    pub(super) fn new(pods: usize, silent: Vec<String>) -> Self {
        Self { scope: "fleet", pods, silent }
    }
}
