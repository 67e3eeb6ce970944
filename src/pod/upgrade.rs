//! Whether a request becomes a WebSocket: path, origin, token, room for one more. One judge for both ways in, at once and
//! from hyper.
//!
//! Always holds: nothing is upgraded that the pod has no room for, whose page is not allowed or whose token is bad.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, sync::Arc};

use ::http::{HeaderMap, Request, Response, StatusCode, Uri, header};

use crate::{
    auth::{Grant, PresentError, presented},
    hooks::Told,
    hub::{Applicant, Newcomer, NotAdmitted, Seat, SessionPlace, Shows, Worker},
    metrics::Upgrades,
    model::ErrorCode,
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
    let Admitted { grant, told } = authorize(worker, request, asks, upgrades).await?;
    let seat = Seat::take(&services).map_err(|full| {
        upgrades.full.increment(1);
        come_back(refused(StatusCode::SERVICE_UNAVAILABLE, &full.to_string()))
    })?;
    upgrades.accepted.increment(1);
    let target = request.uri().clone();
    Ok(Admission {
        answer,
        becomes: Becomes::Connection(Newcomer { format, grant, seat, target, endpoint: None, told }),
    })
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
    /// It, or its client, is not good, or cannot be judged now.
    #[error("{0}")]
    Not(#[from] NotAdmitted),
    /// There is none, and nobody is let in without.
    #[error("nobody may connect without a token here")]
    NoToken,
}

/// How a client asks to be let in, beside its request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asks<'a> {
    /// Where it comes from.
    pub from: Option<SocketAddr>,
    /// What is to carry it.
    pub transport: &'static str,
    /// The name of what it speaks.
    pub dialect: &'a str,
    /// Whether a message could bring a token later.
    pub takes_tokens: bool,
    /// The backend is asked later: when it connects to a namespace.
    pub later: bool,
}

/// A client that is let in.
#[derive(Debug)]
pub(super) struct Admitted {
    /// What it may do; `None`: its token is still to come.
    pub grant: Option<Grant>,
    /// What the backend is told of it, where it may be asked again.
    pub told: Option<Arc<Told>>,
}

/// What a request's token, or its absence, allows. A token that is bad is refused where no token would be let in, too:
/// whoever sends one means to be somebody.
///
/// # Errors
/// [`Refusal`].
pub(super) async fn judge(
    worker: &Rc<RefCell<Worker>>,
    headers: &HeaderMap,
    target: &Uri,
    asks: Asks<'_>,
) -> Result<Admitted, Refusal> {
    let (services, config) = {
        let this = worker.borrow();
        (Arc::clone(&this.services), Arc::clone(this.config()))
    };
    let anonymous = config.anonymous;
    let authority = &services.authority;
    let token = presented(headers, target.query(), config.token_lookup.query.as_deref())?;
    let told = services.hooks.as_ref().filter(|_| services.asks_about_clients()).map(|hooks| {
        let Asks { from, transport, dialect, .. } = asks;
        let address = from.map(|from| from.ip());
        Arc::new(Told::new(hooks.settings(), target, headers, address, transport, dialect, token.as_ref()))
    });
    let now = told.clone().filter(|_| !asks.later);
    let admit = |shows| {
        let (connection, namespace, refresh) = (None, None, false);
        // Boxed, so that the handshakes of those who need not wait do not carry its room with them.
        Box::pin(services.admit(Applicant { told: now.clone(), connection, shows, namespace, refresh }))
    };
    let grant = match token {
        // The backend judges it, and is asked later.
        Some(_) if asks.later && !authority.is_enabled() && services.judges_tokens() => None,
        Some(token) => Some(admit(Shows::Token(token)).await?),
        None if anonymous || authority.accepts_nobody() => {
            let grant = authority.without_token();
            Some(if now.is_some() { admit(Shows::Grant(grant)).await? } else { grant })
        }
        None if services.judges_tokens() && asks.takes_tokens => None,
        // Nobody judges tokens: the backend goes by something else.
        None if told.is_some() && !authority.is_enabled() => match now {
            Some(_) => Some(admit(Shows::Grant(Grant::default())).await?),
            None => None,
        },
        None => return Err(Refusal::NoToken),
    };
    Ok(Admitted { grant, told })
}

/// [`judge`] for who is answered over HTTP.
///
/// # Errors
/// The answer that refuses it.
pub(super) async fn authorize<T>(
    worker: &Rc<RefCell<Worker>>,
    request: &Request<T>,
    asks: Asks<'_>,
    upgrades: &Upgrades,
) -> Result<Admitted, Refused> {
    judge(worker, request.headers(), request.uri(), asks).await.map_err(|refusal| {
        refusal.counter(upgrades).increment(1);
        unauthorized(&refusal)
    })
}

impl Refusal {
    /// What counts it.
    pub(super) fn counter<'a>(&self, upgrades: &'a Upgrades) -> &'a metrics::Counter {
        match self {
            Self::Not(NotAdmitted::Denied(_) | NotAdmitted::Undecided(_)) => &upgrades.hook,
            Self::Not(NotAdmitted::Token(_)) | Self::Unclear(_) | Self::NoToken => &upgrades.token,
        }
    }
}

/// The HTTP answer to a request that is refused for its token.
fn unauthorized(refusal: &Refusal) -> Refused {
    let sentence = refusal.to_string();
    match refusal {
        Refusal::Unclear(_) => refused(StatusCode::BAD_REQUEST, &sentence),
        Refusal::Not(NotAdmitted::Denied(denial)) => by_code(denial.code, &sentence),
        Refusal::Not(error) if error.is_outage() => by_code(ErrorCode::Unavailable, &sentence),
        Refusal::NoToken => refused(StatusCode::UNAUTHORIZED, &sentence),
        Refusal::Not(_) => {
            let mut response = refused(StatusCode::UNAUTHORIZED, &sentence);
            // RFC 6750 section 3.1.
            let challenge = header::HeaderValue::from_static("Bearer error=\"invalid_token\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            response
        }
    }
}

/// The HTTP answer to what is refused with one of the protocol's codes.
pub(super) fn by_code(code: ErrorCode, sentence: &str) -> Refused {
    match code {
        ErrorCode::Unavailable => come_back(refused(StatusCode::SERVICE_UNAVAILABLE, sentence)),
        ErrorCode::RateLimited => come_back(refused(StatusCode::TOO_MANY_REQUESTS, sentence)),
        ErrorCode::Unauthorized => refused(StatusCode::UNAUTHORIZED, sentence),
        _ => refused(StatusCode::FORBIDDEN, sentence),
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
