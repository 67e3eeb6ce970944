//! Whether a request becomes a WebSocket: path, origin, token, room for one more. One judge for both ways in, at once and
//! from hyper.
//!
//! Always holds: nothing is upgraded that the pod has no room for, whose page is not allowed or whose token is bad.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, sync::Arc};

use ::http::{HeaderMap, Request, Response, StatusCode, header};

use super::{
    admission::{Admission, UpgradeTarget},
    authorize::{Admitted, Asks, authorize, offered},
    engine,
    page_origin::PageOrigin,
    refusal::{Refused, come_back, refused},
};
use crate::{
    hub::{AcceptedConnection, Seat, Worker},
    metrics::Upgrades,
    protocol::{DialectId, Framing, WireFormat},
    transport::websocket,
};

/// The native protocol's name on the wire (RFC 6455 section 1.9).
pub const SUBPROTOCOL: &str = "roomcast.v1";

/// Decides about a WebSocket. Waits only where a token's key must be fetched, or the backend be asked.
///
/// # Errors
/// The HTTP answer that refuses it.
pub async fn upgrade<T>(
    worker: &Rc<RefCell<Worker>>,
    request: &Request<T>,
    from: Option<SocketAddr>,
) -> Result<Admission, Refused> {
    let services = Arc::clone(&worker.borrow().services);
    if has_body(request.headers()) {
        // Its bytes would be read as frames.
        services.metrics.handshakes.upgrades.malformed.increment(1);
        return Err(refused(StatusCode::BAD_REQUEST, "a request for a WebSocket has no body"));
    }
    if let Some(endpoint) = services.dialects.endpoint(request.uri().path())
        && !offers_native(request)
    {
        return Box::pin(engine::upgrade(worker, endpoint, request, from)).await;
    }
    let upgrades = &services.metrics.handshakes.upgrades;
    let (answer, format) = agree(worker, request, upgrades)?;
    let takes_tokens = services.dialects.get(format.dialect).abilities().takes_tokens;
    let (dialect, transport) = (services.dialects.name(format.dialect), "websocket");
    let asks = Asks { from, transport, dialect, takes_tokens, later: false };
    let Admitted { grant, client_request } = authorize(worker, request, asks, upgrades).await?;
    let seat = Seat::take(&services, from.map(|from| from.ip()), upgrades)
        .map_err(|full| come_back(refused(StatusCode::SERVICE_UNAVAILABLE, &full.to_string())))?;
    upgrades.accepted.increment(1);
    let target = request.uri().clone();
    Ok(Admission {
        answer,
        continues_as: UpgradeTarget::Connection(AcceptedConnection {
            format,
            grant,
            seat,
            target,
            endpoint: None,
            client_request,
            user_agent: AcceptedConnection::user_agent_of(request.headers()),
        }),
    })
}

/// Whether a request announces a body (RFC 9112 section 6.3).
fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get_all(header::CONTENT_LENGTH).iter().any(|length| length.as_bytes() != b"0");
    length || headers.contains_key(header::TRANSFER_ENCODING)
}

/// A client that offers `roomcast.v1` gets it on any path.
fn offers_native<T>(request: &Request<T>) -> bool {
    let offers = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|line| line.to_str().ok());
    offers.flat_map(|line| line.split(',')).any(|offer| offer.trim() == SUBPROTOCOL)
}

/// What is decided without a token: the handshake itself, the path, the page.
fn agree<T>(
    worker: &Rc<RefCell<Worker>>,
    request: &Request<T>,
    upgrades: &Upgrades,
) -> Result<(Response<()>, WireFormat), Refused> {
    let this = worker.borrow();
    let config = this.config();
    let accepted = websocket::accept(request, &[SUBPROTOCOL], config.compression.enabled).map_err(|refusal| {
        upgrades.malformed.increment(1);
        Box::new(refusal.response())
    })?;
    // A client that offers `roomcast.v1` gets it on any path; any other gets the dialect of the path.
    let path = request.uri().path();
    let dialect = match (&accepted.protocol, this.services.dialects.at(path)) {
        (Some(_), _) => DialectId::NATIVE,
        (None, Some(mounted)) => mounted,
        (None, None) if path == "/ws" => DialectId::NATIVE,
        (None, None) => {
            upgrades.malformed.increment(1);
            return Err(refused(StatusCode::NOT_FOUND, "there is no WebSocket here: connect to /ws"));
        }
    };
    if !PageOrigin::of(request.headers(), None, config).may_connect() {
        upgrades.origin.increment(1);
        return Err(refused(StatusCode::FORBIDDEN, "pages of this origin may not connect here"));
    }
    let mut answer = accepted.response;
    if accepted.protocol.is_none() {
        let dialect = this.services.dialects.get(dialect);
        let mut offers = offered(request.headers());
        websocket::agree_on(&mut answer, dialect.subprotocol(&mut offers));
    }
    let window_bits = accepted.deflate.and_then(|d| std::num::NonZeroU8::new(d.server_max_window_bits));
    let framing = Framing::websocket(window_bits).keeping_window(this.services.windows.reach(accepted.deflate));
    Ok((answer, WireFormat { dialect, spelling: 0, framing }))
}
