//! The listeners on which edges connect, and what edges are allowed.
//!
//! Never serves a client. Bounded: [`MOST_LINKS`] sockets, handshakes included; one that is not a link within [`HANDSHAKE`] is closed. Always
//! holds: a key is compared before anything of a request is answered; what edges are allowed follows the configuration as it is now.

use std::{
    io,
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use ::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{Semaphore, watch},
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

use super::phase::Phase;
use crate::{
    api::Keys,
    broker::relay::{Home, MAX_RECORD, RELAY_PATH, RELAY_PROTOCOL, RelayAccess, serve_edge},
    config::ApiKey,
    hub::{Services, unix_millis},
    model::Room,
};

/// The most sockets of edges.
const MOST_LINKS: usize = 1_024;

/// For a socket to become a link, TLS included.
const HANDSHAKE: Duration = Duration::from_secs(10);

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
}

/// Takes edges in until the pod ends.
pub(super) fn serve_edges(
    home: &Arc<Home>,
    listeners: Vec<TcpListener>,
    tls: Option<Arc<rustls::ServerConfig>>,
    mut phase: watch::Receiver<Phase>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let places = Arc::new(Semaphore::new(MOST_LINKS));
        for listener in listeners {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let (home, tls, places) = (Arc::clone(home), tls.clone(), Arc::clone(&places));
            tokio::spawn(async move {
                loop {
                    let Ok((stream, _)) = listener.accept().await else {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    };
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                        home.metrics.refused_full.increment(1);
                        continue;
                    };
                    let (home, tls) = (Arc::clone(&home), tls.clone());
                    tokio::spawn(async move {
                        take_in(home, stream, tls).await;
                        drop(place);
                    });
                }
            });
        }
        let ticks = async {
            loop {
                home.tick(Instant::now());
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        };
        tokio::select! {
            () = ticks => {}
            _ = phase.wait_for(|phase| *phase == Phase::Ended) => {}
        }
        Ok(())
    })
}

async fn take_in(home: Arc<Home>, stream: TcpStream, tls: Option<Arc<rustls::ServerConfig>>) {
    let _ = stream.set_nodelay(true);
    match tls {
        None => serve(home, stream, Instant::now()).await,
        Some(tls) => {
            let began = Instant::now();
            if let Ok(Ok(stream)) = timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(stream)).await {
                serve(home, stream, began).await;
            }
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(home: Arc<Home>, stream: S, began: Instant) {
    let limits =
        WebSocketConfig::default().max_message_size(Some(MAX_RECORD + 64)).max_frame_size(Some(MAX_RECORD + 64));
    let mut authorization = Vec::new();
    let gate = Gate { home: &home, authorization: &mut authorization };
    let left = HANDSHAKE.saturating_sub(began.elapsed());
    if let Ok(Ok(socket)) = timeout(left, accept_hdr_async_with_config(stream, gate, Some(limits))).await {
        serve_edge(home, socket, authorization, unix_millis).await;
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
