//! Requests on the public listeners that are no WebSocket: served by hyper on the worker that accepted them.
//!
//! Always holds: an upgrade that comes later on a kept-alive connection takes the socket back from hyper and ends where
//! an upgrade at once ends.

use std::{cell::RefCell, convert::Infallible, rc::Rc};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::TokioTimer;

use crate::{
    auth::Grant,
    hub::{Carrier, Quic, Seat, Worker},
    protocol::WireFormat,
    transport::{head::asks_for_websocket, http_io::HttpIo, socket::Socket},
};

use super::{
    page,
    upgrade::{Admission, plain_answer, upgrade},
};

/// Serves a socket of which `received` was read already, in a task of its own.
pub fn serve(worker: Rc<RefCell<Worker>>, socket: Socket, received: Vec<u8>) {
    let (idle, max_head) = {
        let this = worker.borrow();
        let config = this.config();
        (config.timeouts.idle.max(config.timeouts.head), config.limits.max_head)
    };
    let service = service_fn(move |request| {
        let worker = Rc::clone(&worker);
        async move { Ok::<_, Infallible>(answer(&worker, request).await) }
    });
    let io = HttpIo::new(socket, received);
    tokio::task::spawn_local(async move {
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(idle)
            .max_buf_size(max_head.max(8 * 1024))
            .serve_connection(io, service)
            .with_upgrades();
        // What a client does to its own connection is not the pod's news.
        let _ = connection.await;
    });
}

async fn answer(worker: &Rc<RefCell<Worker>>, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    if asks_for_websocket(request.headers()) {
        let on_upgrade = hyper::upgrade::on(&mut request);
        return match upgrade(worker, &request).await {
            Ok(Admission { answer, format, grant, seat }) => {
                tokio::task::spawn_local(take_back(Rc::clone(worker), on_upgrade, format, grant, seat));
                answer.map(|()| Full::default())
            }
            Err(refusal) => refusal.map(Full::from),
        };
    }
    {
        let this = worker.borrow();
        let quic_port = this.services.quic.as_ref().map(|quic| quic.port);
        if let Some(answer) = page::answer_to(this.config(), quic_port, &request) {
            return answer;
        }
    }
    if let (&Method::GET | &Method::HEAD, "/certificate-hashes") = (request.method(), request.uri().path()) {
        return certificate_hashes(worker, &request);
    }
    let answer = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/") => plain_answer(
            StatusCode::OK,
            "roomcast: connect a WebSocket to /ws (subprotocol roomcast.v1) and send {\"type\":\"subscribe\",\"room\":\"…\"}",
        ),
        (_, "/ws") => plain_answer(StatusCode::UPGRADE_REQUIRED, "this is a WebSocket endpoint: ask for an upgrade"),
        _ => plain_answer(StatusCode::NOT_FOUND, "there is nothing here"),
    };
    answer.map(Full::from)
}

/// What a page needs for WebTransport. Public: the certificate is shown in every handshake, too.
fn certificate_hashes(worker: &Rc<RefCell<Worker>>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let this = worker.borrow();
    let body = Quic::certificate_hashes(this.services.quic.as_ref()).to_string();
    let mut response = Response::new(Full::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A page of another origin that may connect may know how.
    if let Some(origin) = request.headers().get(header::ORIGIN)
        && this.config().origins.allow(origin.as_bytes())
    {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}

async fn take_back(
    worker: Rc<RefCell<Worker>>,
    on_upgrade: OnUpgrade,
    format: WireFormat,
    grant: Option<Grant>,
    seat: Seat,
) {
    let Some(parts) = on_upgrade.await.ok().and_then(|upgraded| upgraded.downcast::<HttpIo>().ok()) else { return };
    let (mut socket, ahead) = parts.io.into_parts();
    if socket.settle().is_ok() {
        let rest = [&parts.read_buf[..], &ahead].concat();
        let carrier = Carrier::websocket(socket, format.framing);
        let drive = Worker::adopt(&worker, carrier, format, grant, seat, &rest);
        drive.await;
    }
}
