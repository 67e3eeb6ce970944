//! One call of a server that a message names, and when another try makes sense.
//!
//! Never logs a token or an answer. Always holds: an answer takes no more than a fixed size and `chatbots.timeout`.

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, header};
use serde::Deserialize;

use super::message::AccessToken;
use crate::{
    compat::loomio::settings::ChatbotSettings,
    transport::fetch::{Client, FetchError, Limits},
};

/// The longest wait that a server can ask for.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The most bytes of an answer.
const MAX_ANSWER: usize = 64 * 1024;

/// Why a call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// There was no answer.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// There was one.
    #[error("the server answered {0}")]
    Status(StatusCode, Option<Duration>),
    /// It is not what the Matrix API promises.
    #[error("the server's answer names no room")]
    Answer,
    /// The request cannot be made.
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
}

impl CallError {
    /// How long to wait before another try; `None`: another try would end alike. `next`: if the server says nothing.
    pub(super) fn again(&self, next: Duration) -> Option<Duration> {
        match self {
            Self::Fetch(FetchError::Trust(_) | FetchError::NoRoots) | Self::Answer | Self::Request(_) => None,
            Self::Fetch(_) => Some(next),
            Self::Status(status, wait) if *status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
                Some(wait.unwrap_or(next).min(MAX_PAUSE))
            }
            Self::Status(..) => None,
        }
    }
}

/// Makes the calls.
pub(super) struct Caller {
    client: Client,
    limits: Limits,
}

impl Caller {
    /// # Errors
    /// The file of CA certificates cannot be used.
    pub(super) fn new(settings: &ChatbotSettings) -> Result<Self, FetchError> {
        let limits = Limits { timeout: settings.timeout, max_bytes: MAX_ANSWER };
        Ok(Self { client: Client::new(settings.ca.as_deref())?, limits })
    }

    /// Makes one call; its answer, if that is a success.
    pub(super) async fn call(
        &self,
        request: http::request::Builder,
        token: Option<&AccessToken>,
        body: String,
    ) -> Result<Bytes, CallError> {
        let mut request = request;
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let answer = self.client.fetch(request.body(Bytes::from(body))?, &self.limits).await?;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        let seconds = answer.headers().get(header::RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse().ok());
        let wait = seconds.map(Duration::from_secs).or_else(|| asked_wait(answer.body()));
        Err(CallError::Status(answer.status(), wait))
    }
}

/// For how long a server that is busy wants to be left alone (`M_LIMIT_EXCEEDED`).
fn asked_wait(answer: &[u8]) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Limited {
        retry_after_ms: u64,
    }
    let Limited { retry_after_ms } = serde_json::from_slice(answer).ok()?;
    Some(Duration::from_millis(retry_after_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_server_says_how_long_to_wait() {
        let busy = br#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":2000}"#;
        assert_eq!(asked_wait(busy), Some(Duration::from_secs(2)));
        assert_eq!(asked_wait(b"busy"), None);
    }
}
