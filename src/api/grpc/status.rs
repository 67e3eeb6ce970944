//! What an error of the API is over gRPC.

use http::HeaderValue;
use tonic::{Code, Status};

use crate::api::answer::{ApiCode, ApiError};

/// The metadata that holds the API's own word for an error.
const CODE: &str = "roomcast-code";

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        let code = match error.code {
            ApiCode::BadRequest | ApiCode::BadRoom | ApiCode::LimitExceeded | ApiCode::UnsupportedEncoding => {
                Code::InvalidArgument
            }
            ApiCode::Unauthorized => Code::Unauthenticated,
            ApiCode::NotFound => Code::NotFound,
            ApiCode::MethodNotAllowed => Code::Unimplemented,
            ApiCode::NotAvailable => Code::FailedPrecondition,
            ApiCode::Conflict => Code::AlreadyExists,
            ApiCode::Unavailable => Code::Unavailable,
            // It may have been done.
            ApiCode::Unknown | ApiCode::RequestTimeout => Code::DeadlineExceeded,
        };
        let mut status = Status::new(code, error.message);
        let word = HeaderValue::from_static(error.code.as_str());
        if let Ok(word) = word.to_str().unwrap_or_default().parse() {
            status.metadata_mut().insert(CODE, word);
        }
        status
    }
}
