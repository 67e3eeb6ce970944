//! HTTP answers that refuse a request, each in a sentence.

use ::http::{HeaderMap, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::Full;

use crate::{
    hub::{Services, unix_millis},
    model::ErrorCode,
    protocol::DialectId,
};

/// An HTTP answer that refuses a request.
pub type Refused = Box<Response<String>>;

/// The HTTP answer to what is refused with one of the protocol's codes.
pub(super) fn by_code(code: ErrorCode, sentence: &str) -> Refused {
    match code {
        ErrorCode::Unavailable => come_back(refused(StatusCode::SERVICE_UNAVAILABLE, sentence)),
        ErrorCode::RateLimited => come_back(refused(StatusCode::TOO_MANY_REQUESTS, sentence)),
        ErrorCode::Unauthorized => refused(StatusCode::UNAUTHORIZED, sentence),
        _ => refused(StatusCode::FORBIDDEN, sentence),
    }
}

/// The status of an answer to a request whose one command was refused.
pub(super) fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadRequest | ErrorCode::UnknownCommand | ErrorCode::BadRoom | ErrorCode::BadPosition => {
            StatusCode::BAD_REQUEST
        }
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden | ErrorCode::NotSubscribed | ErrorCode::Removed => StatusCode::FORBIDDEN,
        ErrorCode::Conflict | ErrorCode::AlreadySubscribed | ErrorCode::NotAvailable => StatusCode::CONFLICT,
        ErrorCode::LimitExceeded => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Unknown | ErrorCode::Deadline => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::Failed => StatusCode::BAD_GATEWAY,
    }
}

/// Says when to try again: long enough for a balancer to have noticed, spread by the clients' own jitter.
pub(super) fn come_back(mut response: Refused) -> Refused {
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
    response
}

pub(super) fn refused(status: StatusCode, sentence: &str) -> Refused {
    Box::new(plain_answer(status, sentence))
}

/// An answer in a sentence.
pub fn plain_answer(status: StatusCode, sentence: &str) -> Response<String> {
    let mut response = Response::new(format!("{sentence}\n"));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// A refusal in the words of a dialect, else in the API's shape.
pub(super) fn refuse(
    services: &Services,
    dialect: DialectId,
    refusal: Response<String>,
    headers: HeaderMap,
) -> Response<Full<Bytes>> {
    let code = match refusal.status() {
        StatusCode::UNAUTHORIZED => ErrorCode::Unauthorized,
        StatusCode::FORBIDDEN => ErrorCode::Forbidden,
        StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::LimitExceeded,
        StatusCode::TOO_MANY_REQUESTS => ErrorCode::RateLimited,
        StatusCode::SERVICE_UNAVAILABLE => ErrorCode::Unavailable,
        _ => ErrorCode::BadRequest,
    };
    let words = services.dialects.get(dialect).http_refusal(code, refusal.body().trim_end(), unix_millis());
    let mut answer = as_json(refusal, headers);
    if let Some(words) = words {
        *answer.body_mut() = Full::from(words);
    }
    answer
}

/// A refusal in the API's shape, `{"error":{"code":…,"message":…}}`.
fn as_json(refusal: Response<String>, headers: HeaderMap) -> Response<Full<Bytes>> {
    let (mut parts, message) = refusal.into_parts();
    let code = match parts.status {
        StatusCode::UNAUTHORIZED => ErrorCode::Unauthorized.as_str(),
        StatusCode::FORBIDDEN => ErrorCode::Forbidden.as_str(),
        StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::LimitExceeded.as_str(),
        StatusCode::TOO_MANY_REQUESTS => ErrorCode::RateLimited.as_str(),
        StatusCode::SERVICE_UNAVAILABLE => ErrorCode::Unavailable.as_str(),
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_encoding",
        _ => ErrorCode::BadRequest.as_str(),
    };
    let body = serde_json::json!({ "error": { "code": code, "message": message.trim_end() } });
    parts.headers.extend(headers);
    parts.headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Full::new(body.to_string().into()))
}
