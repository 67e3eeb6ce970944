//! The body of a request on the public listeners, read whole.
//!
//! Always holds: what is read is on its visit's account from the first byte; nothing beyond the limit is kept.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::{
    entrance::{HeldBytes, Visit},
    refusal::{Refused, come_back, refused},
};
use crate::{
    hub::Services,
    transport::content_encoding::{ENCODED, is_encoded},
};

/// Reads the body of a request with these headers, of at most so many bytes. `broken`: the answer to one that does not come whole.
pub(super) async fn read_body(
    headers: &HeaderMap,
    mut body: Incoming,
    limit: usize,
    services: &Services,
    visit: &Visit,
    broken: impl Fn() -> Refused,
) -> Result<(Bytes, HeldBytes), Refused> {
    if is_encoded(headers) {
        return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, ENCODED));
    }
    let (mut read, mut held) = (BytesMut::new(), visit.hold(0));
    let too_large = || refused(StatusCode::PAYLOAD_TOO_LARGE, "the body has too many bytes");
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| broken())?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > limit {
            return Err(too_large());
        }
        if visit.has_no_memory_for(read.len() + data.len()) {
            services.metrics.pressures.memory.refused(1);
            return Err(come_back(refused(StatusCode::SERVICE_UNAVAILABLE, "this pod holds as many bytes as it may")));
        }
        held.grow(data.len());
        read.extend_from_slice(&data);
    }
    Ok((read.freeze(), held))
}
