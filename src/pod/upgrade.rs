//! Whether a request becomes a WebSocket: path, origin, room for one more. One judge for both ways in, at once and from
//! hyper.
//!
//! Always holds: nothing is upgraded that the pod has no room for or whose page is not allowed; who is let in has entered
//! the gate, and leaves it with its connection.

use std::{cell::RefCell, rc::Rc};

use ::http::{Request, Response, StatusCode, header};

use crate::{
    auth::Grant,
    hub::{Drive, Full, Worker},
    protocol::{DialectId, WireFormat},
    transport::{socket::Socket, websocket},
};

/// The native protocol's name on the wire (RFC 6455 section 1.9).
const SUBPROTOCOL: &str = "roomcast.v1";

/// Decides about a WebSocket: the answer to send, and what the connection will speak. The gate was entered.
///
/// # Errors
/// The HTTP answer that refuses it.
pub fn upgrade<T>(
    worker: &Rc<RefCell<Worker>>,
    request: &Request<T>,
) -> Result<(Response<()>, WireFormat), Box<Response<String>>> {
    let this = worker.borrow();
    let config = this.config();
    let accepted = websocket::accept(request, &[SUBPROTOCOL], config.compression.enabled);
    let accepted = accepted.map_err(|refusal| Box::new(refusal.response()))?;
    if request.uri().path() != "/ws" && accepted.protocol.is_none() {
        return Err(Box::new(plain_answer(StatusCode::NOT_FOUND, "there is no WebSocket here: connect to /ws")));
    }
    // A request without an origin does not come from a browser.
    let origin = request.headers().get(header::ORIGIN);
    if origin.is_some_and(|origin| !config.origins.allow(origin.as_bytes())) {
        return Err(Box::new(plain_answer(StatusCode::FORBIDDEN, "pages of this origin may not connect here")));
    }
    if !config.anonymous {
        return Err(Box::new(plain_answer(StatusCode::UNAUTHORIZED, "nobody may connect without a token here")));
    }
    this.services.gate.enter(config.max_connections, &this.services.budget).map_err(full)?;
    this.services.metrics.handshakes.upgraded.increment(1);
    let window_bits = accepted.deflate.and_then(|d| std::num::NonZeroU8::new(d.server_max_window_bits));
    Ok((accepted.response, WireFormat { dialect: DialectId::NATIVE, window_bits }))
}

/// Hands a socket over that hyper has upgraded; `None`: its TLS connection is lost.
pub fn adopt_upgraded(
    worker: &Rc<RefCell<Worker>>,
    mut socket: Socket,
    format: WireFormat,
    rest: &[u8],
) -> Option<Drive> {
    socket.settle().ok()?;
    Some(Worker::adopt(worker, socket, format, Grant::default(), rest))
}

fn full(full: Full) -> Box<Response<String>> {
    let mut response = plain_answer(StatusCode::SERVICE_UNAVAILABLE, &full.to_string());
    // Long enough for a balancer to have noticed, spread by the clients' own jitter.
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
    Box::new(response)
}

/// An answer in a sentence.
pub fn plain_answer(status: StatusCode, sentence: &str) -> Response<String> {
    let mut response = Response::new(format!("{sentence}\n"));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
