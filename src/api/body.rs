//! The bodies of calls: read within a size and a time, and one JSON object each, whatever `Content-Type` says.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use serde::Deserialize;

use super::answer::{ApiCode, ApiError};

/// How long a body may take.
const TIME: Duration = Duration::from_secs(30);

/// What is read of a refused body, so that the sender sees the answer instead of a reset: at most so many bytes, at most so long.
const LEFTOVER: u64 = 16 * 1024 * 1024;
const LEFTOVER_TIME: Duration = Duration::from_secs(5);

/// Reads a body of at most `limit` bytes.
pub(super) async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, ApiError> {
    let too_large = || ApiError::new(ApiCode::LimitExceeded, format!("the body is larger than {limit} bytes"));
    if body.size_hint().lower() > limit as u64 {
        discard(body);
        return Err(too_large());
    }
    let read = tokio::time::timeout(TIME, Limited::new(&mut body, limit).collect()).await;
    match read {
        Ok(Ok(read)) => Ok(read.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            discard(body);
            Err(too_large())
        }
        Ok(Err(error)) => Err(ApiError::bad_request(format!("the body could not be read: {error}"))),
        Err(_) => {
            let message = format!("the body did not come in {} s", TIME.as_secs());
            Err(ApiError::new(ApiCode::RequestTimeout, message))
        }
    }
}

/// Reads on, beside the answer, a body that was refused. Needs a `LocalSet`.
pub(super) fn discard(mut body: Incoming) {
    if body.is_end_stream() || body.size_hint().lower() > LEFTOVER {
        return;
    }
    tokio::task::spawn_local(tokio::time::timeout(LEFTOVER_TIME, async move {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, |data| data.len() as u64);
            if read > LEFTOVER {
                break;
            }
        }
    }));
}

/// Reads one JSON object; serde alone would also take an array as one.
pub(super) fn object<'a, T: Deserialize<'a>>(json: &'a [u8], what: &str) -> Result<T, ApiError> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::bad_request(format!("{what} must be one JSON object")));
    }
    serde_json::from_slice(json).map_err(|error| ApiError::bad_request(format!("{what} is not understood: {error}")))
}
