//! Requests on the public listeners that are no WebSocket: served by hyper on the worker that accepted them.
//!
//! Always holds: an upgrade that comes later on a kept-alive connection takes the socket back from hyper and ends where
//! an upgrade at once ends.

use std::{cell::RefCell, convert::Infallible, future::poll_fn, net::SocketAddr, rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Body, Incoming},
    service::service_fn,
    upgrade::OnUpgrade,
};
use tokio::sync::Semaphore;

use crate::{
    api::{Readiness, is_probe, ops, public_document},
    compat::Routes,
    hub::{Quic, Worker},
    protocol::HttpMount,
    transport::{
        head::{HeadError, asks_for_websocket, names_one_host},
        http_io::HttpIo,
        socket::Socket,
    },
};

use super::{
    admission::{Admission, UpgradeTarget},
    answer_body::{AnswerBody, Content},
    ask,
    client_address::request_of,
    engine,
    entrance::{Stage, Visit},
    event_stream::{self, UnderWay},
    fetching::{self, Fallback, Opened, Origin},
    messages, page,
    page_origin::PageOrigin,
    poll,
    refusal::plain_answer,
    send,
    upgrade::upgrade,
};

/// How many threads make the metrics' text at once.
static RENDERING: Semaphore = Semaphore::const_new(2);

/// Serves a socket of which `received` was read already, in a task of its own.
pub fn serve(worker: Rc<RefCell<Worker>>, socket: Socket, received: Vec<u8>, routes: Routes, visit: Visit) {
    let max_head = worker.borrow().config().limits.max_head;
    let from = Origin { address: socket.client(), tls: socket.is_tls() };
    let under_way = UnderWay::default();
    let stuck = under_way.clone();
    let io = HttpIo::new(socket, received);
    let traffic = Arc::clone(io.traffic());
    visit.carries(Arc::clone(&traffic));
    let named = visit.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (worker, under_way, routes) = (Rc::clone(&worker), under_way.clone(), Arc::clone(&routes));
        let (visit, traffic) = (visit.clone(), Arc::clone(&traffic));
        async move {
            // A request behind others whose answers the client does not read waits for it to read them.
            poll_fn(|cx| traffic.poll_caught_up(cx)).await;
            visit.enter(if request.body().is_end_stream() { Stage::Serving } else { Stage::Body });
            if request.version() == Version::HTTP_11 && !names_one_host(request.headers()) {
                let answer = plain_answer(StatusCode::BAD_REQUEST, &HeadError::Host.to_string());
                return Ok::<_, Infallible>(answer.map(|text| AnswerBody::new(Content::Whole(text.into()), visit)));
            }
            let services = Arc::clone(&worker.borrow().services);
            let from = match request_of(&services, request.headers(), from.address) {
                Ok(address) => Origin { address, ..from },
                Err(refusal) => return Ok(refusal.map(|text| AnswerBody::new(Content::Whole(text.into()), visit))),
            };
            let answer = match routes.iter().find(|route| route.takes(&request)) {
                Some(route) => whole(route.answer(&services, request).await).await,
                None => answer(&worker, request, from, &under_way, &visit).await,
            };
            Ok(answer.map(|content| AnswerBody::new(content, visit)))
        }
    });
    let task = tokio::task::spawn_local(async move {
        // The lobby's clock knows a request's beginning from an idle connection, which hyper's does not.
        let connection = hyper::server::conn::http1::Builder::new()
            .header_read_timeout(None)
            .max_buf_size(max_head.max(8 * 1024))
            .serve_connection(io, service)
            .with_upgrades();
        tokio::select! {
            biased;
            // What a client does to its own connection is not the pod's news.
            _ = connection => {}
            () = poll_fn(|cx| stuck.poll_stuck(cx)) => {}
        }
    });
    named.runs(task.abort_handle());
}

/// The bytes of an answer that are all there.
async fn whole(answer: Response<Full<Bytes>>) -> Response<Content> {
    let (parts, body) = answer.into_parts();
    let Ok(body) = body.collect().await;
    Response::from_parts(parts, Content::Whole(body.to_bytes()))
}

async fn answer(
    worker: &Rc<RefCell<Worker>>,
    mut request: Request<Incoming>,
    from: Origin,
    under_way: &UnderWay,
    visit: &Visit,
) -> Response<Content> {
    if asks_for_websocket(request.headers()) {
        let on_upgrade = hyper::upgrade::on(&mut request);
        return match upgrade(worker, &request, from.address).await {
            Ok(Admission { answer, continues_as }) => {
                let taken = take_back(Rc::clone(worker), on_upgrade, continues_as, visit.clone(), from.address);
                tokio::task::spawn_local(taken);
                answer.map(|()| Content::Whole(Bytes::new()))
            }
            Err(refusal) => refusal.map(|text| Content::Whole(text.into())),
        };
    }
    let endpoint = worker.borrow().services.dialects.endpoint(request.uri().path()).cloned();
    if let Some(endpoint) = endpoint {
        return whole(engine::answer(worker, &endpoint, request, from, visit).await).await;
    }
    let mount = worker.borrow().services.dialects.http_at(request.uri().path()).cloned();
    match mount {
        Some(HttpMount::Send(dialect)) => {
            return whole(send::answer(worker, request, from, visit, dialect).await).await;
        }
        Some(HttpMount::Ask(dialect, at)) => {
            return whole(ask::answer(worker, &request, from, dialect, at).await).await;
        }
        Some(HttpMount::Poll(..)) | None => {}
    }
    if request.uri().path() == messages::PATH
        && let Some(answer) = messages::answer(worker, &request, from).await
    {
        return whole(answer).await;
    }
    match fetching::open(worker, &request, from).await {
        Some(Opened::Answered(answer)) => return whole(answer).await,
        Some(Opened::Connected(fallback, task, headers)) => {
            let (services, config) = {
                let this = worker.borrow();
                (Arc::clone(&this.services), Arc::clone(this.config()))
            };
            return match fallback {
                Fallback::Poll(dialect, _) => {
                    poll::answer(task, dialect, &services, &config, headers).await.map(Content::Whole)
                }
                Fallback::EventStream => event_stream::answer(task, under_way, &config, headers).map(Content::Stream),
            };
        }
        None => {}
    }
    if let Some(answer) = ops(worker, &request).await {
        return whole(answer).await;
    }
    whole(page_or_nothing(worker, &request)).await
}

/// What probes and monitoring ask, where the public listeners answer for it too.
async fn ops(worker: &Rc<RefCell<Worker>>, request: &Request<Incoming>) -> Option<Response<Full<Bytes>>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) && !is_probe(request.method(), request.uri().path()) {
        return None;
    }
    let (config, services) = {
        let this = worker.borrow();
        (Arc::clone(this.config()), Arc::clone(&this.services))
    };
    match request.uri().path() {
        "/health" if config.public_health => Some(ops::health()),
        "/accepting" if config.public_health => Some(ops::accepting(Readiness::of(&services))),
        "/ready" if config.public_health => {
            let needs_redis = config.redis.as_ref().is_some_and(|redis| redis.unready_when_degraded);
            Some(ops::ready(Readiness::of(&services), needs_redis))
        }
        "/metrics" if config.public_metrics => {
            made_in_turn(&RENDERING, move || (services.render_metrics)()).await.map(ops::metrics)
        }
        _ => None,
    }
}

/// Makes a text, not on the worker's thread, whose connections would wait for it, and not on as many threads as there are that ask. A
/// turn lasts as long as the work, which goes on when a client that has asked hangs up.
async fn made_in_turn(turns: &'static Semaphore, make: impl FnOnce() -> String + Send + 'static) -> Option<String> {
    let turn = turns.acquire().await.ok()?;
    let work = move || {
        let _turn = turn;
        make()
    };
    tokio::task::spawn_blocking(work).await.ok()
}

fn page_or_nothing(worker: &Rc<RefCell<Worker>>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    {
        let this = worker.borrow();
        let quic_port = this.services.quic.as_ref().map(|quic| quic.port);
        if let Some(answer) = page::answer_to(this.config(), quic_port, request) {
            return answer;
        }
    }
    if let (&Method::GET | &Method::HEAD, "/certificate-hashes" | "/edges" | "/openapi.json") =
        (request.method(), request.uri().path())
    {
        return for_pages(worker, request);
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

/// What a page needs to know before it connects: the certificate, which is shown in every handshake, too, or where the edges are; and what
/// there is.
fn for_pages(worker: &Rc<RefCell<Worker>>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let this = worker.borrow();
    let (mut response, kept) = match request.uri().path() {
        // The list changes with the configuration, and a client is no worse off with one of a minute ago.
        "/edges" => (ops::edges(&this.config().relay.edges), "max-age=60"),
        "/openapi.json" => (public_document(this.config()), "max-age=60"),
        _ => {
            let body = Quic::certificate_hashes(this.services.quic.as_ref()).to_string();
            let mut response = Response::new(Full::from(body));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            (response, "no-store")
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    // A page of another origin that may connect may know it; a cache must not answer one page with what is for another.
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    if let PageOrigin::Allowed(origin) = PageOrigin::of(request.headers(), None, this.config()) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    response
}

async fn take_back(
    worker: Rc<RefCell<Worker>>,
    on_upgrade: OnUpgrade,
    target: UpgradeTarget,
    visit: Visit,
    from: Option<SocketAddr>,
) {
    let Some(parts) = on_upgrade.await.ok().and_then(|upgraded| upgraded.downcast::<HttpIo>().ok()) else { return };
    let (mut socket, ahead) = parts.io.into_parts();
    from.into_iter().for_each(|from| socket.set_client(from));
    let rest = [&parts.read_buf[..], &ahead].concat();
    engine::continue_as(&worker, socket, rest, target, visit);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    #[tokio::test]
    async fn a_turn_lasts_as_long_as_the_work_though_the_client_is_gone() {
        static TURNS: Semaphore = Semaphore::const_new(1);
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (go_on, goes_on) = mpsc::channel();
        let asked = tokio::spawn(made_in_turn(&TURNS, move || {
            begun.send(()).unwrap();
            goes_on.recv().unwrap();
            String::new()
        }));
        has_begun.await.unwrap();
        asked.abort();
        assert!(asked.await.unwrap_err().is_cancelled() && TURNS.try_acquire().is_err());
        go_on.send(()).unwrap();
        let next = tokio::time::timeout(Duration::from_secs(10), made_in_turn(&TURNS, || "text".to_owned()));
        assert_eq!(next.await.unwrap().as_deref(), Some("text"));
    }
}
