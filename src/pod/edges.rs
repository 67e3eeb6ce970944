//! The listeners on which edges connect, and what edges are allowed.
//!
//! Never serves a client. Bounded: links by [`Edges`](crate::broker::relay::Edges), and beside them the sockets that are none yet
//! ([`UnprovenSockets`]); one that is not a link within [`HANDSHAKE`] is closed. Always holds: a key is compared before anything of a request is
//! answered; what edges are allowed follows the configuration as it is now.

use std::{
    io,
    net::TcpListener,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use ::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{oneshot, watch},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{
    accept_hdr_async_with_config,
    tungstenite::{
        handshake::server::{Callback, ErrorResponse, Request},
        protocol::WebSocketConfig,
    },
};

use super::phase::{Phase, end_of};
use crate::{
    api::Keys,
    broker::{
        AckBounds,
        relay::{Home, RELAY_PATH, RELAY_PROTOCOL, RelayAccess, VouchedUser, pod_memory::PodMemory, serve_edge},
    },
    config::ApiKey,
    hub::{Budget, Services, unix_millis},
    model::{Room, Token},
    transport::unproven_sockets::{UnprovenPlace, UnprovenSockets},
};

/// For a socket to become a link, TLS included.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What one read takes of a link at most: an edge says little at a time.
const READ_BUFFER: usize = 16 * 1024;

/// A value of an edge is kept for so long, if its session may be away for less here, or not at all.
const SHORT_VALUE: Duration = Duration::from_secs(240);

/// What edges are allowed.
pub(super) struct EdgeAccess(pub(super) Arc<Services>);

impl RelayAccess for EdgeAccess {
    fn allows_key(&self, authorization: Option<&[u8]>) -> bool {
        Keys::new(self.0.config.load().relay.keys.iter().map(ApiKey::reveal)).allow(authorization)
    }

    fn allows_room(&self, room: &Room) -> bool {
        let config = self.0.config.load();
        let rooms = &config.relay.rooms;
        rooms.is_empty() || rooms.iter().any(|pattern| pattern.matcher().is_match(room.as_str()))
    }

    fn rooms(&self) -> Vec<String> {
        self.0.config.load().relay.rooms.iter().map(|pattern| pattern.as_str().to_owned()).collect()
    }

    fn allows_publish(&self) -> bool {
        self.0.config.load().relay.publish
    }

    fn allows_orders(&self) -> bool {
        self.0.config.load().relay.orders
    }

    fn queue_bytes(&self) -> usize {
        self.0.config.load().relay.queue
    }

    fn event_bytes(&self) -> usize {
        let config = self.0.config.load();
        config.limits.max_message.max(config.limits.api_body).max(config.socketio.max_payload)
    }

    fn longest_value(&self) -> Duration {
        let recovery = self.0.config.load().socketio.recovery;
        recovery.map_or(SHORT_VALUE, |recovery| SHORT_VALUE.max(2 * recovery))
    }

    fn compresses(&self) -> Option<u64> {
        self.0.config.load().relay.compress.then(|| self.0.policies.load().windows())
    }

    fn shares_window(&self, room: &Room) -> bool {
        self.0.policy(room).shares_window()
    }

    fn wants_tokens(&self) -> bool {
        self.0.config.load().relay.verify_users
    }

    fn user_of<'a>(&'a self, token: &'a Token) -> Pin<Box<dyn Future<Output = Option<VouchedUser>> + Send + 'a>> {
        Box::pin(async move {
            let grant = self.0.authority.verify(token, SystemTime::now()).await.ok()?;
            let claims = grant.claims()?;
            Some((claims.user.clone()?, claims.expires_at))
        })
    }

    fn keys(&self) -> (u64, u64) {
        self.0.authority.state()
    }

    fn ack_bounds(&self) -> AckBounds {
        let config = self.0.config.load();
        AckBounds { rooms: config.acks.rooms, age: config.acks.age }
    }
}

impl PodMemory for Budget {
    fn take(&self, bytes: usize) {
        Budget::take(self, bytes);
    }

    fn give(&self, bytes: usize) {
        Budget::give(self, bytes);
    }

    fn is_spent(&self) -> bool {
        Budget::is_spent(self)
    }

    fn limit(&self) -> usize {
        Budget::limit(self)
    }
}

/// Takes edges in until the pod ends.
pub(super) fn serve_edges(
    home: &Arc<Home>,
    services: &Arc<Services>,
    listeners: Vec<TcpListener>,
    tls: Option<Arc<rustls::ServerConfig>>,
    mut phase: watch::Receiver<Phase>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let waiting = Arc::new(UnprovenSockets::default());
        for listener in listeners {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let (home, tls, waiting) = (Arc::clone(home), tls.clone(), Arc::clone(&waiting));
            let services = Arc::clone(services);
            tokio::spawn(async move {
                loop {
                    let stream = match listener.accept().await {
                        Ok((stream, _)) => stream,
                        Err(error) => {
                            if services.metrics.accept_failed("relay", &error) {
                                tokio::time::sleep(Duration::from_millis(100)).await;
                            }
                            continue;
                        }
                    };
                    let now = Instant::now();
                    let Some((place, over, is_for_another)) = waiting.begin(now) else {
                        home.metrics.refused_waiting.increment(1);
                        continue;
                    };
                    if is_for_another {
                        home.metrics.refused_waiting.increment(1);
                    }
                    let (home, tls) = (Arc::clone(&home), tls.clone());
                    let (is_link, mut links) = oneshot::channel();
                    tokio::spawn(async move {
                        let waits = WaitingSocket { _place: place, _is_link: is_link };
                        let serve = take_in(home, stream, tls, waits);
                        tokio::pin!(serve);
                        let ends = async {
                            tokio::select! {
                                biased;
                                // Once it is a link it makes no place any more.
                                _ = &mut links => std::future::pending().await,
                                () = over.notified() => {}
                            }
                        };
                        tokio::select! {
                            () = &mut serve => {}
                            () = ends => {}
                        }
                    });
                }
            });
        }
        let ticks = async {
            loop {
                home.tick(Instant::now()).await;
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        };
        tokio::select! {
            () = ticks => {}
            _ = end_of(&mut phase) => {}
        }
        Ok(())
    })
}

/// A socket that is no link yet. It is one when this is dropped.
struct WaitingSocket {
    _place: UnprovenPlace,
    _is_link: oneshot::Sender<()>,
}

async fn take_in(home: Arc<Home>, stream: TcpStream, tls: Option<Arc<rustls::ServerConfig>>, waits: WaitingSocket) {
    let _ = stream.set_nodelay(true);
    match tls {
        None => serve(home, stream, Instant::now(), waits).await,
        Some(tls) => {
            let began = Instant::now();
            if let Ok(Ok(stream)) = timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(stream)).await {
                serve(home, stream, began, waits).await;
            }
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    home: Arc<Home>,
    stream: S,
    began: Instant,
    waits: WaitingSocket,
) {
    let largest = home.largest_record() + 64;
    let limits = WebSocketConfig::default()
        .max_message_size(Some(largest))
        .max_frame_size(Some(largest))
        .read_buffer_size(READ_BUFFER);
    let mut authorization = Vec::new();
    let gate = Gate { home: &home, authorization: &mut authorization };
    let left = HANDSHAKE.saturating_sub(began.elapsed());
    if let Ok(Ok(socket)) = timeout(left, accept_hdr_async_with_config(stream, gate, Some(limits))).await {
        serve_edge(home, socket, authorization, waits, unix_millis).await;
    }
}

/// Judges the request of an edge.
struct Gate<'a> {
    home: &'a Home,
    authorization: &'a mut Vec<u8>,
}

impl Callback for Gate<'_> {
    fn on_request(self, request: &Request, mut response: Response<()>) -> Result<Response<()>, ErrorResponse> {
        let given = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        if !self.home.access().allows_key(given) {
            self.home.metrics.refused_key.increment(1);
            return Err(refusal(StatusCode::UNAUTHORIZED, "the key is not one of `relay.keys`"));
        }
        if request.uri().path() != RELAY_PATH {
            return Err(refusal(StatusCode::NOT_FOUND, "edges connect to /relay"));
        }
        if !offers(request.headers()) {
            return Err(refusal(StatusCode::BAD_REQUEST, "this home speaks roomcast.relay.v1 only"));
        }
        self.authorization.extend_from_slice(given.unwrap_or_default());
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(RELAY_PROTOCOL));
        Ok(response)
    }
}

fn offers(headers: &HeaderMap) -> bool {
    let all = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(',')).any(|name| name.trim() == RELAY_PROTOCOL)
}

fn refusal(status: StatusCode, why: &str) -> ErrorResponse {
    let mut response = Response::new(Some(why.to_owned()));
    *response.status_mut() = status;
    response
}
