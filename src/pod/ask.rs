//! A `GET` of a described dialect that stands for a message of a client that asks.
//!
//! The same judge as for commands over HTTP decides about origin, token and room for one more. Always holds: nothing but asking is done by a
//! `GET`, whatever message it stands for.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;

use super::{
    cross_origin::{Methods, headers_for},
    fetching::Origin,
    refusal::{Refused, by_code, refuse, refused, status_of},
    send::admit,
};
use crate::{
    hub::{CarriedOut, Worker},
    model::{Command, ErrorCode},
    protocol::{DialectId, Message},
};

/// Answers a request that is at this place among those of a dialect.
pub(super) async fn answer<T>(
    worker: &Rc<RefCell<Worker>>,
    request: &Request<T>,
    from: Origin,
    dialect: DialectId,
    at: usize,
) -> Response<Full<Bytes>> {
    let services = Arc::clone(&worker.borrow().services);
    let counted = &services.metrics.handshakes.asks;
    let mut headers = match headers_for(worker, request, dialect, &Methods::READS, counted) {
        Ok(headers) => headers,
        Err(answer) => return *answer,
    };
    match serve(worker, request, from, dialect, at).await {
        Ok(CarriedOut { mut replies, refused }) => {
            // There is one, with a comma behind it.
            replies.pop();
            let body = if replies.is_empty() { b"null".to_vec() } else { replies };
            let mut response = Response::new(Full::from(body));
            *response.status_mut() = refused.map_or(StatusCode::OK, status_of);
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *response.headers_mut() = headers;
            response
        }
        Err(refusal) => refuse(&services, dialect, *refusal, headers),
    }
}

async fn serve<T>(
    worker: &Rc<RefCell<Worker>>,
    request: &Request<T>,
    from: Origin,
    dialect: DialectId,
    at: usize,
) -> Result<CarriedOut, Refused> {
    let (services, limits) = {
        let this = worker.borrow();
        (Arc::clone(&this.services), this.session_limits())
    };
    let counted = &services.metrics.handshakes.asks;
    let (principal, _seat) = admit(worker, request, from, dialect, counted).await?;
    let spoken = services.dialects.get(dialect);
    let text = spoken.request(at, request.uri()).unwrap_or_default();
    if let Ok(asked) = spoken.decode(Message::Text(&text))
        && !matches!(asked.command, Command::History { .. } | Command::Presence { .. })
    {
        counted.malformed.increment(1);
        return Err(refused(StatusCode::BAD_REQUEST, "a GET asks for past events or for members, and nothing else"));
    }
    counted.accepted.increment(1);
    let address = from.address.map(|from| from.ip());
    services
        .carry_out(&principal, address, dialect, &[&text], &limits, |_| {})
        .await
        .map_err(|disconnect| by_code(ErrorCode::RateLimited, disconnect.reason()))
}
