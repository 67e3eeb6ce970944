//! Requests to an Engine.IO path: polling, and the WebSockets that open a session or take one over.
//!
//! Always holds: a session's name says where it is, so that any worker of any pod answers for it; a name that none of our
//! pods gave is refused without a question to another pod.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, sync::Arc};

use ::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::oneshot;

use crate::{
    hub::{AcceptedConnection, ClientTransport, Mailbox, PollingSession, Probe, Seat, Services, Worker},
    protocol::{
        Framing, WireFormat,
        engineio::{Asked, Endpoint, EngineError, Transport, Within},
    },
    session::ConnectionId,
    transport::{http_io::HttpIo, socket::Socket, websocket},
};

use super::{
    admission::{Admission, UpgradeTarget},
    authorize::{Admitted, Asks, authorize, offered},
    cross_origin::allowed_headers,
    entrance::{Stage, Visit},
    far_sessions,
    fetching::Origin,
    page_origin::PageOrigin,
    refusal::{Refused, come_back, plain_answer},
    request_body::read_body,
};

/// Where a session is.
pub(super) enum Whereabouts {
    /// On this pod.
    Here(PollingSession),
    /// On another one, by its internal address.
    Pod(String),
}

/// Answers a request that is no WebSocket.
pub(super) async fn answer(
    worker: &Rc<RefCell<Worker>>,
    endpoint: &Arc<Endpoint>,
    request: Request<Incoming>,
    from: Origin,
    visit: &Visit,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let (names_page, (origin, allowed)) = {
        let this = worker.borrow();
        let page = PageOrigin::of(&parts.headers, None, this.config());
        let origin = if let PageOrigin::Allowed(origin) = page { Some(origin.clone()) } else { None };
        (page != PageOrigin::Unnamed, (origin, page.may_connect()))
    };
    let mut response = if parts.method == Method::OPTIONS {
        preflight(&parts.headers)
    } else if allowed {
        let request = Request::from_parts(parts, ());
        serve(worker, endpoint, request, body, from, visit).await.unwrap_or_else(|refusal| refusal.map(Full::from))
    } else {
        refusal(EngineError::Forbidden).map(Full::from)
    };
    let headers = response.headers_mut();
    if names_page {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    response
}

/// The answer to a browser that asks whether it may ask (Fetch standard, CORS-preflight request).
fn preflight(asked: &HeaderMap) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,POST"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers(asked));
    headers.insert(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

async fn serve(
    worker: &Rc<RefCell<Worker>>,
    endpoint: &Arc<Endpoint>,
    request: Request<()>,
    body: Incoming,
    from: Origin,
    visit: &Visit,
) -> Result<Response<Full<Bytes>>, Refused> {
    let asked = Asked::parse(request.method(), request.uri().query(), false).map_err(refused)?;
    let services = Arc::clone(&worker.borrow().services);
    let Some(sid) = asked.sid else {
        return open(worker, endpoint, &request, from, visit).await;
    };
    let place = whereabouts(&services, &sid).await.map_err(refused)?;
    match *request.method() {
        Method::GET => {
            let fetched = match place {
                Whereabouts::Here(place) => services.poll_session(place).await,
                Whereabouts::Pod(address) => far_sessions::poll(&services, &address, &sid, &endpoint.timing).await,
            };
            fetched.map(payload).map_err(refused)
        }
        Method::POST => {
            let broken = || refused(EngineError::BadRequest);
            let (body, _held) =
                read_body(request.headers(), body, endpoint.max_payload, &services, visit, broken).await?;
            visit.enter(Stage::Serving);
            match place {
                Whereabouts::Here(place) => services.post_packets(place, body).await,
                Whereabouts::Pod(address) => far_sessions::post_packets(&services, &address, &sid, body).await,
            }
            .map_err(refused)?;
            let mut response = Response::new(Full::from("ok"));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            Ok(response)
        }
        _ => Err(refused(EngineError::BadRequest)),
    }
}

/// Opens a session that polls, and answers with its first packet.
async fn open(
    worker: &Rc<RefCell<Worker>>,
    endpoint: &Arc<Endpoint>,
    request: &Request<()>,
    from: Origin,
    visit: &Visit,
) -> Result<Response<Full<Bytes>>, Refused> {
    let services = Arc::clone(&worker.borrow().services);
    let Origin { address, tls } = from;
    let (upgrades, transport) = (&services.metrics.handshakes.upgrades, Transport::Polling.as_str());
    let Admitted { grant, client_request } =
        authorize(worker, request, asks(&services, endpoint, address, transport), upgrades).await?;
    let unused = visit.open_session(services.config.load().max_connections).ok_or_else(|| {
        services.metrics.pressures.unused_sessions.refused(1);
        let sentence = "too many sessions were opened here and never used";
        come_back(Box::new(plain_answer(StatusCode::SERVICE_UNAVAILABLE, sentence)))
    })?;
    let seat = seat(&services, address)?;
    let format = WireFormat { dialect: endpoint.dialect(), spelling: 0, framing: Framing::Payload };
    let transport = ClientTransport::Mailbox(Box::new(Mailbox::new(Transport::Polling.as_str(), address, tls)));
    let (target, endpoint) = (request.uri().clone(), Some(Arc::clone(endpoint)));
    let user_agent = AcceptedConnection::user_agent_of(request.headers());
    let accepted = AcceptedConnection { format, grant, seat, target, endpoint, client_request, user_agent };
    services.metrics.socketio.opened_polling.increment(1);
    let task = Worker::adopt(worker, transport, accepted, &[]);
    let name = task.name().ok_or_else(|| refused(EngineError::UnknownSession))?;
    let place = PollingSession { worker: worker.borrow().index, name };
    tokio::task::spawn_local(task);
    let answer = services.poll_session(place).await.map(payload).map_err(refused);
    Worker::expect_use(worker, name, unused);
    answer
}

/// How a client of an endpoint asks to be let in: about one that connects to a namespace, the backend is asked then.
fn asks<'a>(
    services: &'a Services,
    endpoint: &Endpoint,
    from: Option<SocketAddr>,
    transport: &'static str,
) -> Asks<'a> {
    let dialect = services.dialects.name(endpoint.dialect());
    let later = matches!(endpoint.within, Within::SocketIo(_));
    Asks { from, transport, dialect, takes_tokens: true, later }
}

fn seat(services: &Arc<Services>, from: Option<SocketAddr>) -> Result<Seat, Refused> {
    Seat::take(services, from.map(|from| from.ip()), &services.metrics.handshakes.upgrades)
        .map_err(|full| come_back(Box::new(plain_answer(StatusCode::SERVICE_UNAVAILABLE, &full.to_string()))))
}

fn payload(body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The refusal's answer.
fn refusal(error: EngineError) -> Response<String> {
    let mut response = Response::new(error.body());
    *response.status_mut() = error.status();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn refused(error: EngineError) -> Refused {
    Box::new(refusal(error))
}

/// Where the session of that name is.
async fn whereabouts(services: &Services, sid: &str) -> Result<Whereabouts, EngineError> {
    let name = services.session_key.read(sid).ok_or(EngineError::UnknownSession)?;
    let metrics = &services.metrics.socketio;
    if name.pod == services.pod {
        let place = PollingSession { worker: usize::from(name.worker), name: ConnectionId(name.connection) };
        return Ok(Whereabouts::Here(place));
    }
    let pod = format!("{:016x}", name.pod);
    match services.session_pods.find(name.pod, services.control.address(&pod)).await {
        Some(address) => {
            metrics.to_pod.increment(1);
            Ok(Whereabouts::Pod(address))
        }
        None => {
            metrics.to_nowhere.increment(1);
            Err(EngineError::UnknownSession)
        }
    }
}

/// Decides about a WebSocket on an Engine.IO path.
pub(super) async fn upgrade<T>(
    worker: &Rc<RefCell<Worker>>,
    endpoint: &Arc<Endpoint>,
    request: &Request<T>,
    from: Option<SocketAddr>,
) -> Result<Admission, Refused> {
    let services = Arc::clone(&worker.borrow().services);
    let upgrades = &services.metrics.handshakes.upgrades;
    let asked = Asked::parse(request.method(), request.uri().query(), true).map_err(|error| {
        upgrades.malformed.increment(1);
        refused(error)
    })?;
    let (allowed, compress) = {
        let this = worker.borrow();
        let config = this.config();
        let page = PageOrigin::of(request.headers(), None, config);
        (page.may_connect(), endpoint.compress && config.compression.enabled)
    };
    if !allowed {
        upgrades.origin.increment(1);
        return Err(refused(EngineError::Forbidden));
    }
    let accepted = websocket::accept(request, &[], compress).map_err(|refusal| {
        upgrades.malformed.increment(1);
        Box::new(refusal.response())
    })?;
    let window_bits = accepted.deflate.and_then(|d| std::num::NonZeroU8::new(d.server_max_window_bits));
    let framing = Framing::websocket(window_bits).keeping_window(services.windows.reach(accepted.deflate));
    let mut answer = accepted.response;
    // As the reference server does.
    websocket::agree_on(&mut answer, offered(request.headers()).next());
    if let Some(sid) = asked.sid {
        let continues_as = match whereabouts(&services, &sid).await.map_err(refused)? {
            Whereabouts::Here(place) => {
                services.may_upgrade(place).await.map_err(refused)?;
                UpgradeTarget::Probe(place, framing)
            }
            Whereabouts::Pod(address) => {
                let seat = seat(&services, from)?;
                let session = far_sessions::connect(&services, &address, &sid, framing).await.map_err(refused)?;
                UpgradeTarget::FarSession(session, seat)
            }
        };
        return Ok(Admission { answer, continues_as });
    }
    let asks = asks(&services, endpoint, from, Transport::WebSocket.as_str());
    let Admitted { grant, client_request } = authorize(worker, request, asks, upgrades).await?;
    let seat = seat(&services, from)?;
    upgrades.accepted.increment(1);
    services.metrics.socketio.opened_websocket.increment(1);
    let format = WireFormat { dialect: endpoint.dialect(), spelling: 0, framing };
    let (target, endpoint) = (request.uri().clone(), Some(Arc::clone(endpoint)));
    let user_agent = AcceptedConnection::user_agent_of(request.headers());
    let accepted = AcceptedConnection { format, grant, seat, target, endpoint, client_request, user_agent };
    Ok(Admission { answer, continues_as: UpgradeTarget::Connection(accepted) })
}

/// What an upgraded socket goes on as.
pub(super) fn continue_as(
    worker: &Rc<RefCell<Worker>>,
    mut socket: Socket,
    rest: Vec<u8>,
    target: UpgradeTarget,
    visit: Visit,
) {
    match target {
        UpgradeTarget::Connection(accepted) => {
            if socket.settle().is_ok() {
                let transport = ClientTransport::websocket(socket, accepted.format.framing);
                let task = Worker::adopt(worker, transport, accepted, &rest);
                tokio::task::spawn_local(task);
            }
        }
        UpgradeTarget::Probe(place, framing) => {
            if socket.settle().is_ok()
                && let Ok(socket) = socket.detach()
            {
                let services = Arc::clone(&worker.borrow().services);
                let (guest, ended) = oneshot::channel();
                visit.enter(Stage::Probing);
                let kept = visit.clone();
                // The session's worker may be another one: until it has ended there, the socket waits here among the others.
                let task = tokio::task::spawn_local(async move {
                    let _ = ended.await;
                    drop(kept);
                });
                visit.runs(task.abort_handle());
                services.probe(place, Probe { socket, framing, early: rest, guest: Some(guest) });
            }
        }
        UpgradeTarget::FarSession(session, seat) => {
            let io = HttpIo::new(socket, rest);
            visit.enter(Stage::Serving);
            visit.carries(Arc::clone(io.traffic()));
            let carried = visit.clone();
            let task = tokio::task::spawn_local(async move {
                far_sessions::splice(io, session).await;
                drop((seat, carried));
            });
            visit.runs(task.abort_handle());
        }
    }
}
