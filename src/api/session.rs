//! What other pods ask of an Engine.IO session that is here: polling it, posting packets, connecting a WebSocket's bytes.
//!
//! Answers only a pod that proves to have the fleet's key, for each session anew. Errors are 404 (no such session) and 409 (not
//! like this), which the asking pod tells in the protocol's own words.

use std::{num::NonZeroU8, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, upgrade};
use hyper_util::rt::TokioIo;
use subtle::ConstantTimeEq;
use tokio::net::TcpStream;

use super::{callers::Caller, patience::Noting};
use crate::{
    hub::{PollingSession, Probe, Services},
    protocol::{
        Framing,
        engineio::{EngineError, SessionKey},
    },
    session::ConnectionId,
    transport::socket::Detached,
};

/// The most bytes that another pod brings at once: it has checked the client's limit.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// The header of a WebSocket whose client keeps its window from one compressed message to the next.
pub const KEEPS_WINDOW: &str = "roomcast-keeps-window";

/// What another pod's request carries.
#[must_use]
pub fn session_proof(key: &SessionKey, sid: &str) -> String {
    format!("Bearer {}", URL_SAFE_NO_PAD.encode(key.prove("relay", sid.as_bytes())))
}

/// The session that a path is about, and what follows.
pub(super) fn of(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/internal/sessions/")?;
    Some(rest.split_once('/').unwrap_or((rest, "")))
}

fn is_proven(key: &SessionKey, sid: &str, headers: &HeaderMap) -> bool {
    let given = headers.get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    session_proof(key, sid).as_bytes().ct_eq(given).into()
}

/// Answers.
pub(super) async fn answer(
    services: &Arc<Services>,
    request: Request<Incoming>,
    caller: &Caller,
) -> Response<Full<Bytes>> {
    let status = match attempt(services, request, caller).await {
        Ok(response) => return response,
        Err(EngineError::UnknownSession) => StatusCode::NOT_FOUND,
        Err(EngineError::Forbidden) => StatusCode::UNAUTHORIZED,
        Err(_) => StatusCode::CONFLICT,
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

async fn attempt(
    services: &Arc<Services>,
    mut request: Request<Incoming>,
    caller: &Caller,
) -> Result<Response<Full<Bytes>>, EngineError> {
    let path = request.uri().path().to_owned();
    let (sid, more) = of(&path).ok_or(EngineError::UnknownSession)?;
    if !is_proven(&services.session_key, sid, request.headers()) {
        return Err(EngineError::Forbidden);
    }
    let name = services.session_key.read(sid).ok_or(EngineError::UnknownSession)?;
    if name.pod != services.pod || !caller.asks_for_session() {
        return Err(EngineError::UnknownSession);
    }
    let place = PollingSession { worker: usize::from(name.worker), name: ConnectionId(name.connection) };
    match (request.method(), more) {
        (&Method::GET, "") => Ok(Response::new(Full::new(services.poll_session(place).await?))),
        (&Method::POST, "") => {
            let body = Limited::new(request.into_body(), MAX_BODY).collect().await;
            let body = body.map_err(|_| EngineError::BadRequest)?.to_bytes();
            services.post_packets(place, body).await?;
            Ok(Response::new(Full::default()))
        }
        (&Method::GET, "socket") => {
            services.may_upgrade(place).await?;
            let bits = request.uri().query().and_then(|query| query.strip_prefix("bits="));
            let window_bits = bits.and_then(|bits| bits.parse().ok()).and_then(NonZeroU8::new);
            let keeps_window = services.windows.are_allowed() && request.headers().contains_key(KEEPS_WINDOW);
            let framing = Framing::websocket(window_bits).keeping_window(keeps_window);
            let upgraded = upgrade::on(&mut request);
            let (services, file) = (Arc::clone(services), caller.take_file());
            tokio::task::spawn_local(async move {
                let Some(parts) = upgraded.await.ok().and_then(|u| u.downcast::<Noting<TokioIo<TcpStream>>>().ok())
                else {
                    return;
                };
                let early = parts.read_buf.to_vec();
                if let Ok(stream) = parts.io.inner.into_inner().into_std() {
                    let socket = Detached::plain(stream).at(file);
                    services.probe(place, Probe { socket, framing, early, guest: None });
                }
            });
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("roomcast-session"));
            Ok(response)
        }
        _ => Err(EngineError::BadRequest),
    }
}
