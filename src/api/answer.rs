//! Answers of the API: JSON, errors with a code and a sentence.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;

use crate::{
    broker::BrokerError,
    hub::{CallError, ErasureError, FleetError},
    model::{ErrorCode, FieldError, RoomNameError},
};

/// What the API answers with.
pub type Answer = Response<Full<Bytes>>;

/// The code of an error. Where the WebSocket protocol has the same error, the word is the same; the status follows from
/// the code. `openapi.json` and `docs/API.md` are checked against this table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApiCode {
    /// 400: a part of the request is missing, superfluous, of the wrong type or out of range.
    BadRequest,
    /// 400: a room's name breaks a rule.
    BadRoom,
    /// 401: no API key, or a wrong one.
    Unauthorized,
    /// 404: there is no such path, or no such connection.
    NotFound,
    /// 405: the path exists; `Allow` says for what.
    MethodNotAllowed,
    /// 408: the body did not come in time.
    RequestTimeout,
    /// 409: the room's policy has this switched off (presence, history).
    NotAvailable,
    /// 409: the idempotency key is that of another event.
    Conflict,
    /// 413: the body, a text or a list is longer than allowed.
    LimitExceeded,
    /// 415: the body is compressed.
    UnsupportedEncoding,
    /// 503: the broker or a worker could not take it; nothing was done.
    Unavailable,
    /// 504: the broker did not answer in time: it may or may not have been done.
    Unknown,
}

impl ApiCode {
    /// Every code, in the order of the table.
    pub const ALL: [Self; 12] = [
        Self::BadRequest,
        Self::BadRoom,
        Self::Unauthorized,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::NotAvailable,
        Self::Conflict,
        Self::LimitExceeded,
        Self::UnsupportedEncoding,
        Self::Unavailable,
        Self::Unknown,
    ];

    /// The word in the answer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => ErrorCode::BadRequest.as_str(),
            Self::BadRoom => ErrorCode::BadRoom.as_str(),
            Self::Unauthorized => ErrorCode::Unauthorized.as_str(),
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::NotAvailable => ErrorCode::NotAvailable.as_str(),
            Self::Conflict => ErrorCode::Conflict.as_str(),
            Self::LimitExceeded => ErrorCode::LimitExceeded.as_str(),
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::Unavailable => ErrorCode::Unavailable.as_str(),
            Self::Unknown => ErrorCode::Unknown.as_str(),
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest | Self::BadRoom => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::NotAvailable | Self::Conflict => StatusCode::CONFLICT,
            Self::LimitExceeded => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unknown => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

impl Serialize for ApiCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Why a call failed: `{"error":{"code":…,"message":…}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiError {
    /// Which error.
    pub code: ApiCode,
    /// What was wrong, where, and what to do.
    pub message: String,
}

/// An error as it stands in an answer, whole or among results.
#[derive(Debug, Serialize)]
pub(super) struct Failed<'a> {
    pub(super) error: &'a ApiError,
}

impl ApiError {
    /// An error with that code.
    pub fn new(code: ApiCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// [`ApiCode::BadRequest`].
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ApiCode::BadRequest, message)
    }

    /// Says which part of the request is meant.
    #[must_use]
    pub(super) fn within(mut self, place: impl std::fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// The answer.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let mut answer = json(self.code.status(), &Failed { error: self });
        match self.code {
            ApiCode::Unauthorized => {
                answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            ApiCode::UnsupportedEncoding => {
                // RFC 9110 section 12.5.3: what a request's body may be encoded with.
                answer.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            ApiCode::Unavailable => {
                answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        answer
    }
}

impl From<RoomNameError> for ApiError {
    fn from(error: RoomNameError) -> Self {
        Self::new(ApiCode::BadRoom, error.to_string())
    }
}

impl From<FieldError> for ApiError {
    fn from(error: FieldError) -> Self {
        let code = match error.code() {
            ErrorCode::LimitExceeded => ApiCode::LimitExceeded,
            _ => ApiCode::BadRequest,
        };
        Self::new(code, error.to_string())
    }
}

impl From<BrokerError> for ApiError {
    fn from(error: BrokerError) -> Self {
        let code = match &error {
            // A backend acts in no user's name: nothing that it asks for ends so.
            BrokerError::Unavailable(_) | BrokerError::NoToken(_) => ApiCode::Unavailable,
            BrokerError::Unknown => ApiCode::Unknown,
            BrokerError::Conflict => ApiCode::Conflict,
            BrokerError::TooLarge { .. } => ApiCode::LimitExceeded,
            BrokerError::UnknownTopic => ApiCode::BadRequest,
        };
        Self::new(code, error.to_string())
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        Self::new(ApiCode::Unavailable, error.to_string())
    }
}

impl From<FleetError> for ApiError {
    fn from(error: FleetError) -> Self {
        match error {
            FleetError::Here(error) => error.into(),
            FleetError::There(error) => error.into(),
        }
    }
}

impl From<ErasureError> for ApiError {
    fn from(error: ErasureError) -> Self {
        match error {
            ErasureError::Untold => Self::new(ApiCode::Unavailable, error.to_string()),
            ErasureError::SharedLog(_) => Self::new(ApiCode::NotAvailable, error.to_string()),
            ErasureError::Fleet(error) => error.into(),
            ErasureError::Broker(error) => error.into(),
        }
    }
}

/// 200 with JSON.
pub(super) fn ok(body: &impl Serialize) -> Answer {
    json(StatusCode::OK, body)
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    match serde_json::to_string(body) {
        Ok(body) => with_type(status, "application/json", body),
        // Only a map with keys that are no text cannot be written, and no answer has one.
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            with_type(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "an answer could not be written\n")
        }
    }
}

/// An answer of any type.
pub(super) fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_words_of_their_own() {
        let words: HashSet<_> = ApiCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), ApiCode::ALL.len());
        assert!(ApiCode::ALL.iter().all(|code| code.status().is_client_error() || code.status().is_server_error()));
    }
}
