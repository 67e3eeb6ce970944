//! Whether a request becomes a WebSocket: path, origin, token, room for one more. One judge for both ways in, at once and
//! from hyper.
//!
//! Always holds: nothing is upgraded that the pod has no room for, whose page is not allowed or whose token is bad.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::SystemTime};

use ::http::{HeaderMap, Request, Response, StatusCode, header};

use crate::{
    auth::{Grant, PresentError, TokenError, presented},
    hub::{Newcomer, Seat, SessionPlace, Worker},
    metrics::Upgrades,
    protocol::{DialectId, Framing, WireFormat},
    transport::websocket,
};

use super::{engine, relay::Relayed};

/// The native protocol's name on the wire (RFC 6455 section 1.9).
pub const SUBPROTOCOL: &str = "roomcast.v1";

/// A request that becomes a WebSocket.
pub struct Admission {
    /// The answer to send.
    pub answer: Response<()>,
    /// What the socket goes on as.
    pub becomes: Becomes,
}

/// What an upgraded socket goes on as.
pub enum Becomes {
    /// A connection of its own.
    Connection(Newcomer),
    /// A probe for a session that polls, on a worker of this pod.
    Probe(SessionPlace, Framing),
    /// The same on another pod. It takes a place here all the same.
    Relay(Relayed, Seat),
}

/// The HTTP answer that refuses an upgrade.
pub type Refused = Box<Response<String>>;

/// Decides about a WebSocket. Waits only where a token's key must be fetched.
///
/// # Errors
/// The HTTP answer that refuses it.
pub async fn upgrade<T>(worker: &Rc<RefCell<Worker>>, request: &Request<T>) -> Result<Admission, Refused> {
    let services = Arc::clone(&worker.borrow().services);
    if let Some(endpoint) = services.dialects.endpoint(request.uri().path())
        && !offers_native(request)
    {
        return Box::pin(engine::upgrade(worker, endpoint, request)).await;
    }
    let upgrades = &services.metrics.handshakes.upgrades;
    let (answer, format) = agree(worker, request, upgrades)?;
    let takes_tokens = services.dialects.get(format.dialect).abilities().takes_tokens;
    let grant = authorize(worker, request, takes_tokens, upgrades).await?;
    let seat = Seat::take(&services).map_err(|full| {
        upgrades.full.increment(1);
        come_back(refused(StatusCode::SERVICE_UNAVAILABLE, &full.to_string()))
    })?;
    upgrades.accepted.increment(1);
    let target = request.uri().clone();
    Ok(Admission { answer, becomes: Becomes::Connection(Newcomer { format, grant, seat, target, endpoint: None }) })
}

/// Who offers `roomcast.v1` gets it on any path.
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
    // Who offers `roomcast.v1` gets it on any path; who does not gets what is mounted there.
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
    // A request without an origin does not come from a browser.
    let origin = request.headers().get(header::ORIGIN);
    if origin.is_some_and(|origin| !config.origins.allow(origin.as_bytes())) {
        upgrades.origin.increment(1);
        return Err(refused(StatusCode::FORBIDDEN, "pages of this origin may not connect here"));
    }
    let window_bits = accepted.deflate.and_then(|d| std::num::NonZeroU8::new(d.server_max_window_bits));
    let framing = Framing::WebSocket { window_bits };
    Ok((accepted.response, WireFormat { dialect, spelling: 0, framing }))
}

/// Why a request's token, or its absence, lets nobody in.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is not clear which token is meant.
    #[error(transparent)]
    Unclear(#[from] PresentError),
    /// It cannot be judged now.
    #[error("{0}")]
    Outage(TokenError),
    /// It is not good.
    #[error("{0}")]
    Token(TokenError),
    /// There is none, and nobody is let in without.
    #[error("nobody may connect without a token here")]
    NoToken,
}

/// What a request's token, or its absence, allows. A token that is bad is refused where no token would be let in, too:
/// whoever sends one means to be somebody.
///
/// # Errors
/// [`Refusal`].
pub(super) async fn judge(
    worker: &Rc<RefCell<Worker>>,
    headers: &HeaderMap,
    query: Option<&str>,
    takes_tokens: bool,
) -> Result<Option<Grant>, Refusal> {
    let (authority, anonymous) = {
        let this = worker.borrow();
        (Arc::clone(&this.services.authority), this.config().anonymous)
    };
    match presented(headers, query)? {
        // Boxed, so that the handshakes of those without a token do not carry its room with them.
        Some(token) => match Box::pin(authority.verify(&token, SystemTime::now())).await {
            Ok(grant) => Ok(Some(grant)),
            Err(error) if error.is_outage() => Err(Refusal::Outage(error)),
            Err(error) => Err(Refusal::Token(error)),
        },
        None if anonymous || authority.accepts_nobody() => Ok(Some(authority.without_token())),
        None if authority.is_enabled() && takes_tokens => Ok(None),
        None => Err(Refusal::NoToken),
    }
}

/// [`judge`] for who is answered over HTTP.
///
/// # Errors
/// The answer that refuses it.
pub(super) async fn authorize<T>(
    worker: &Rc<RefCell<Worker>>,
    request: &Request<T>,
    takes_tokens: bool,
    upgrades: &Upgrades,
) -> Result<Option<Grant>, Refused> {
    judge(worker, request.headers(), request.uri().query(), takes_tokens).await.map_err(|refusal| {
        upgrades.token.increment(1);
        unauthorized(&refusal)
    })
}

/// The HTTP answer to a request that is refused for its token.
fn unauthorized(refusal: &Refusal) -> Refused {
    let sentence = refusal.to_string();
    match refusal {
        Refusal::Unclear(_) => refused(StatusCode::BAD_REQUEST, &sentence),
        Refusal::Outage(_) => come_back(refused(StatusCode::SERVICE_UNAVAILABLE, &sentence)),
        Refusal::NoToken => refused(StatusCode::UNAUTHORIZED, &sentence),
        Refusal::Token(_) => {
            let mut response = refused(StatusCode::UNAUTHORIZED, &sentence);
            // RFC 6750 section 3.1.
            let challenge = header::HeaderValue::from_static("Bearer error=\"invalid_token\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            response
        }
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
