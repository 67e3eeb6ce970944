//! Answers of the API: JSON, errors with a code and a sentence.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use crate::{
    broker::BrokerError,
    model::{ErrorCode, RoomNameError},
};

/// What the API answers with.
pub type Answer = Response<Full<Bytes>>;

/// Why a call failed: `{"error":{"code":…,"message":…}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The code, of the same table as the WebSocket protocol's.
    pub code: ErrorCode,
    /// What was wrong, where, and what to do.
    pub message: String,
}

impl ApiError {
    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: ErrorCode::BadRequest, message: message.into() }
    }

    /// 401.
    #[must_use]
    pub fn unauthorized() -> Self {
        let message = "this call needs an API key: `Authorization: Bearer <api key>`".into();
        Self { status: StatusCode::UNAUTHORIZED, code: ErrorCode::Unauthorized, message }
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, code: ErrorCode::UnknownCommand, message: message.into() }
    }

    /// 413.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        let message = format!("the body is larger than {limit} bytes");
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, code: ErrorCode::LimitExceeded, message }
    }

    /// The answer.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let error = serde_json::json!({ "error": { "code": self.code.as_str(), "message": self.message } });
        let mut answer = json(self.status, error.to_string());
        if self.status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }
}

impl From<RoomNameError> for ApiError {
    fn from(error: RoomNameError) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: ErrorCode::BadRoom, message: error.to_string() }
    }
}

impl From<BrokerError> for ApiError {
    fn from(error: BrokerError) -> Self {
        let (status, code) = match &error {
            BrokerError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable),
            BrokerError::Unknown => (StatusCode::GATEWAY_TIMEOUT, ErrorCode::Unknown),
            BrokerError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::LimitExceeded),
        };
        Self { status, code, message: error.to_string() }
    }
}

/// A JSON answer.
pub fn json(status: StatusCode, body: String) -> Answer {
    with_type(status, "application/json", body)
}

/// An answer of any type.
pub fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
