//! Sessions that another pod has: requests for them are made there, over its internal listener.
//!
//! Each carries a proof that the asking pod has the fleet's key ([`SessionKey::prove`]). Never retries: a request that brought
//! packets may have been carried out. Always holds: bytes of a WebSocket pass as they are, both ways, none is looked into; the sockets to
//! other pods count among the pod's.

use std::{pin::pin, time::Duration};

use ::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, split},
    net::TcpStream,
    select,
    time::timeout,
};

use crate::{
    api::{KEEPS_WINDOW, session_proof},
    hub::Services,
    protocol::{
        Framing,
        engineio::{EngineError, Timing},
    },
    transport::{
        fetch::{Client, Limits},
        http_io::HttpIo,
        places::{SocketPlace, SocketPlaces},
    },
};

/// For everything that does not wait for something to be said.
const SOON: Duration = Duration::from_secs(5);

/// The most bytes of an answer: more than a fetch gives at once.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// The longest head of an answer.
const MAX_HEAD: usize = 4 * 1024;

thread_local! {
    /// One a worker: it keeps its connections to the other pods.
    static CLIENT: Option<Client> = Client::new(None).ok();
}

/// A connection to the pod that has a session.
pub struct FarSession {
    /// The stream: what is written to it reaches the session.
    stream: TcpStream,
    /// What came already.
    early: Vec<u8>,
    /// Its file.
    place: SocketPlace,
}

fn target(sid: &str, more: &str) -> String {
    format!("/internal/sessions/{sid}{more}")
}

/// Fetches what waits for a session there.
pub(super) async fn poll(services: &Services, address: &str, sid: &str, timing: &Timing) -> Result<Bytes, EngineError> {
    // By then at the latest there is a ping to fetch, or the session is over.
    let patience = timing.ping_interval + timing.ping_timeout + SOON;
    ask(services, address, Method::GET, sid, Bytes::new(), patience).await
}

/// Hands the packets of a request's body to a session there.
pub(super) async fn post_packets(
    services: &Services,
    address: &str,
    sid: &str,
    body: Bytes,
) -> Result<(), EngineError> {
    ask(services, address, Method::POST, sid, body, SOON).await.map(drop)
}

async fn ask(
    services: &Services,
    address: &str,
    method: Method,
    sid: &str,
    body: Bytes,
    patience: Duration,
) -> Result<Bytes, EngineError> {
    let client = CLIENT.with(Clone::clone).ok_or(EngineError::UnknownSession)?;
    let _place = SocketPlaces::take(&services.sockets).ok_or(EngineError::UnknownSession)?;
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{address}{}", target(sid, "")))
        .header(header::AUTHORIZATION, session_proof(&services.session_key, sid))
        .body(body)
        .map_err(|_| EngineError::UnknownSession)?;
    let limits = Limits { timeout: patience, max_bytes: MAX_ANSWER };
    let answer = client.fetch(request, &limits).await.map_err(|error| {
        tracing::debug!(%error, address, "another pod could not be asked for a session of its");
        services.metrics.socketio.to_nowhere.increment(1);
        EngineError::UnknownSession
    })?;
    match answer.status() {
        StatusCode::OK => Ok(answer.into_body()),
        StatusCode::CONFLICT => Err(EngineError::BadRequest),
        _ => Err(EngineError::UnknownSession),
    }
}

/// Connects a WebSocket's bytes to a session there.
pub(super) async fn connect(
    services: &Services,
    address: &str,
    sid: &str,
    framing: Framing,
) -> Result<FarSession, EngineError> {
    let place = SocketPlaces::take(&services.sockets).ok_or(EngineError::UnknownSession)?;
    let proof = session_proof(&services.session_key, sid);
    let bits = if let Framing::WebSocket { window_bits: Some(bits), .. } = framing { bits.get() } else { 0 };
    // A header and no parameter: a pod of an older build takes the bits alone, and compresses each frame for itself.
    let window = if framing.keeps_window() { format!("{KEEPS_WINDOW}: 1\r\n") } else { String::new() };
    let target = target(sid, &format!("/socket?bits={bits}"));
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: roomcast-session\r\nAuthorization: {proof}\r\n{window}\r\n"
    );
    let connected = timeout(SOON, async {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        loop {
            if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                let early = head.split_off(end + 4);
                return Ok((stream, head, early));
            }
            if head.len() > MAX_HEAD || stream.read_buf(&mut head).await? == 0 {
                return Err(std::io::Error::other("no answer"));
            }
        }
    });
    match connected.await {
        Ok(Ok((stream, head, early))) if head.starts_with(b"HTTP/1.1 101 ") => Ok(FarSession { stream, early, place }),
        Ok(Ok((_, head, _))) if head.starts_with(b"HTTP/1.1 409 ") => Err(EngineError::BadRequest),
        _ => Err(EngineError::UnknownSession),
    }
}

/// Passes bytes on until both sides have ended, or the session has and the client does not end for a while.
pub(super) async fn splice(io: HttpIo, session: FarSession) {
    let FarSession { mut stream, early, place: _place } = session;
    let mut socket = TokioIo::new(io);
    if !early.is_empty() && socket.write_all(&early).await.is_err() {
        return;
    }
    let (mut from_client, mut to_client) = split(socket);
    let (mut from_session, mut to_session) = stream.split();
    // How it ends is for the two ends to say.
    let mut upward = pin!(async {
        let _ = copy(&mut from_client, &mut to_session).await;
        let _ = to_session.shutdown().await;
    });
    let mut downward = pin!(async {
        let _ = copy(&mut from_session, &mut to_client).await;
        let _ = to_client.shutdown().await;
    });
    select! {
        () = &mut upward => downward.await,
        // The session is over. A client that does not hear of it would keep its place for ever.
        () = &mut downward => drop(timeout(SOON, upward).await),
    }
}
