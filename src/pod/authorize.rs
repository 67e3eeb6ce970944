//! Whether a request's client may connect: by its token, or without one, and by the backend.
//!
//! Owns the order of these questions. Never verifies a token itself: `hub` admits. Always holds: where tokens are judged, a bad one is
//! refused, even where a client without a token is accepted.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, sync::Arc};

use ::http::{HeaderMap, Request, StatusCode, Uri, header};

use super::refusal::{Refused, by_code, refused};
use crate::{
    auth::{Grant, PresentError, SUBPROTOCOL_PREFIX, Several, presented},
    hooks::ClientRequest,
    hub::{AdmissionError, Applicant, Shows, Worker},
    metrics::Upgrades,
    model::ErrorCode,
    protocol::DialectId,
    transport::websocket::offered_protocols,
};

/// Why a request is refused for its token, or for having none.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizationError {
    /// It is not clear which token is meant.
    #[error(transparent)]
    Unclear(#[from] PresentError),
    /// It, or its client, is not good, or cannot be judged now.
    #[error("{0}")]
    Not(#[from] AdmissionError),
    /// There is none, and clients without a token are refused here.
    #[error("a token is required here, and the request has none")]
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
    pub client_request: Option<Arc<ClientRequest>>,
}

/// What a request's token, or its absence, allows. A bad token is refused even where a client without a token is
/// accepted: a client that sends one means to be known by it. Where no tokens are judged and every client is accepted, one of a described
/// dialect is not looked at: it is the affair of something else on the way.
///
/// # Errors
/// [`AuthorizationError`].
pub(super) async fn judge(
    worker: &Rc<RefCell<Worker>>,
    headers: &HeaderMap,
    target: &Uri,
    asks: Asks<'_>,
) -> Result<Admitted, AuthorizationError> {
    let (services, config) = {
        let this = worker.borrow();
        (Arc::clone(&this.services), Arc::clone(this.config()))
    };
    let anonymous = config.anonymous;
    let authority = &services.authority;
    // The native protocol's clients are told which token is too much, or that none is taken; others speak as a server before this one
    // took it.
    let is_native = asks.dialect == &**services.dialects.name(DialectId::NATIVE);
    let token = if anonymous && !is_native && !services.judges_tokens() {
        None
    } else {
        let several = if is_native { Several::Refuse } else { Several::TakeFirst };
        presented(headers, target.query(), config.token_lookup.query.as_deref(), several)?
    };
    let client_request = services.hooks.as_ref().filter(|_| services.asks_about_clients()).map(|hooks| {
        let Asks { from, transport, dialect, .. } = asks;
        let address = from.map(|from| from.ip());
        Arc::new(ClientRequest::new(hooks.settings(), target, headers, address, transport, dialect, token.as_ref()))
    });
    let now = client_request.clone().filter(|_| !asks.later);
    let admit = |shows| {
        let (connection, namespace, refresh) = (None, None, false);
        // Boxed, so that handshakes that need not wait do not reserve space for it.
        Box::pin(services.admit(Applicant { client_request: now.clone(), connection, shows, namespace, refresh }))
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
        // No key judges tokens: the backend decides by something else.
        None if client_request.is_some() && !authority.is_enabled() => match now {
            Some(_) => Some(admit(Shows::Grant(Grant::default())).await?),
            None => None,
        },
        None => return Err(AuthorizationError::NoToken),
    };
    Ok(Admitted { grant, client_request })
}

/// [`judge`], refused with an HTTP answer.
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

impl AuthorizationError {
    /// What counts it.
    pub(super) fn counter<'a>(&self, upgrades: &'a Upgrades) -> &'a metrics::Counter {
        match self {
            Self::Not(AdmissionError::Denied(_) | AdmissionError::Undecided(_)) => &upgrades.hook,
            Self::Not(AdmissionError::Token(_)) | Self::Unclear(_) | Self::NoToken => &upgrades.token,
        }
    }
}

/// The subprotocols that a client offers, without the one that is its token: that is never answered.
pub(super) fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    offered_protocols(headers).filter(|offer| !offer.starts_with(SUBPROTOCOL_PREFIX))
}

/// The HTTP answer to a request that is refused for its token.
fn unauthorized(refusal: &AuthorizationError) -> Refused {
    let sentence = refusal.to_string();
    match refusal {
        AuthorizationError::Unclear(_) => refused(StatusCode::BAD_REQUEST, &sentence),
        AuthorizationError::Not(AdmissionError::Denied(denial)) => by_code(denial.code, &sentence),
        AuthorizationError::Not(error) if error.is_outage() => by_code(ErrorCode::Unavailable, &sentence),
        AuthorizationError::NoToken => refused(StatusCode::UNAUTHORIZED, &sentence),
        AuthorizationError::Not(_) => {
            let mut response = refused(StatusCode::UNAUTHORIZED, &sentence);
            // RFC 6750 section 3.1.
            let challenge = header::HeaderValue::from_static("Bearer error=\"invalid_token\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            response
        }
    }
}
