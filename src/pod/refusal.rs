//! HTTP answers that refuse a request, each in a sentence.

use ::http::{Response, StatusCode, header};

use crate::model::ErrorCode;

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
