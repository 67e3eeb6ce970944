//! From an accepted socket to a WebSocket or an HTTP connection.
//!
//! TLS, then the request's head, each with its time. Always holds: what does not end in time is ended by the lobby's
//! clock.

use std::{cell::RefCell, future::poll_fn, io, net::SocketAddr, rc::Rc, sync::Arc, time::Instant};

use ::http::{Response, StatusCode, header};
use tokio::net::TcpStream;

use crate::{
    compat::Routes,
    config::{RecordLayer, counted_by},
    hub::{Services, Worker},
    metrics::RareWarning,
    transport::{
        head::{Head, HeadError},
        places::SocketPlace,
        proxy_protocol::ProxyHeader,
        socket::{Read, Socket, Written},
        tls::Tls,
        websocket,
    },
};

use super::{
    admission::Admission,
    client_address::request_of,
    engine::continue_as,
    entrance::{Guest, Stage, Turns, Visit},
    http,
    refusal::plain_answer,
    upgrade::upgrade,
};

/// It would be so of each connection.
static WITHOUT_TLS: RareWarning = RareWarning::new();

/// How the sockets of a listener are spoken to.
#[derive(Clone)]
pub struct Listener {
    /// With TLS first, and what seals its records; `None`: without.
    pub tls: Option<(Arc<rustls::ServerConfig>, RecordLayer)>,
    /// What customers' modules answer.
    pub routes: Routes,
}

impl Listener {
    /// What a visit begins with.
    pub fn first_stage(&self) -> Stage {
        if self.tls.is_some() { Stage::Tls } else { Stage::Head }
    }
}

/// Shakes hands over a guest's socket in a task of its own, which has its turns, watched by the lobby's clock.
pub fn shake_hands(
    worker: &Rc<RefCell<Worker>>,
    turns: &Rc<Turns>,
    guest: Guest,
    stream: TcpStream,
    peer: SocketAddr,
    listener: &Listener,
) {
    let Guest { visit, place, others_end: _ } = guest;
    worker.borrow().services.metrics.handshakes.accepted.increment(1);
    let (worker, listener) = (Rc::clone(worker), listener.clone());
    let arrived = Arrival { stream, peer, place, listener };
    visit.queue();
    // The large future of the handshake goes when it is over; only the small one of the connection stays.
    let task = tokio::task::spawn_local(Rc::clone(turns).pace(converse(worker, arrived, visit.clone())));
    visit.runs(task.abort_handle());
}

/// A socket of which nothing was read.
struct Arrival {
    stream: TcpStream,
    peer: SocketAddr,
    place: SocketPlace,
    listener: Listener,
}

impl Arrival {
    /// Where its client is, and the socket without what a proxy said of that. `None`: it may not come, or the proxy says nothing.
    async fn enter(self, services: &Services) -> Option<(Socket, Routes)> {
        let Self { mut stream, peer, place, listener: Listener { tls, routes } } = self;
        let mut client = peer;
        let config = services.config.load_full();
        let addresses = &config.addresses;
        if addresses.proxy_protocol && addresses.trusts(peer.ip()) {
            match ProxyHeader::read(&mut stream).await {
                Ok(header) => client = header.client.unwrap_or(peer),
                Err(error) => {
                    tracing::debug!(%error, %peer, "a trusted proxy's connection is closed");
                    services.metrics.handshakes.proxy_failed.increment(1);
                    return None;
                }
            }
            if client != peer && !services.addresses.may_shake_hands(client.ip(), addresses) {
                services.metrics.pressures.addresses.refused_one(&counted_by(client.ip()));
                return None;
            }
        }
        let socket = match &tls {
            None => Socket::plain(stream),
            Some((config, records)) => match Tls::accept(Arc::clone(config), *records) {
                Ok(tls) => Socket::tls(stream, tls),
                Err(error) => {
                    if let Some(count) = WITHOUT_TLS.due(Instant::now()) {
                        tracing::error!(%error, count, "TLS cannot start on connections");
                    }
                    return None;
                }
            },
        };
        let mut socket = socket.at(place);
        socket.set_client(client);
        Some((socket, routes))
    }
}

async fn converse(worker: Rc<RefCell<Worker>>, arrived: Arrival, visit: Visit) {
    visit.turn();
    let services = Arc::clone(&worker.borrow().services);
    let Some((mut socket, routes)) = arrived.enter(&services).await else { return };
    let mut received = Vec::new();
    let handshakes = &services.metrics.handshakes;
    let failed = FailedHandshake { tls: socket.is_tls(), handshakes, done: false };
    match read_head(&worker, &mut socket, &mut received, &visit, failed).await {
        Ok(head) if head.is_websocket() => {
            let rest = received.split_off(head.len);
            let request = head.into_request();
            // The backend and the issuer of tokens have times of their own.
            visit.enter(Stage::Serving);
            let admitted = match request_of(&services, request.headers(), socket.client()) {
                Ok(from) => {
                    from.into_iter().for_each(|from| socket.set_client(from));
                    upgrade(&worker, &request, from).await
                }
                Err(refusal) => Err(refusal),
            };
            match admitted {
                Ok(Admission { answer, continues_as }) => {
                    let mut bytes = Vec::new();
                    websocket::write_head(&answer, &mut bytes);
                    visit.enter(Stage::Closing);
                    if write(&worker, &mut socket, &bytes).await.is_ok() {
                        continue_as(&worker, socket, rest, continues_as, visit);
                    }
                }
                Err(refusal) => {
                    visit.enter(Stage::Closing);
                    refuse(&worker, &mut socket, *refusal).await;
                }
            }
        }
        Ok(_) => {
            http::serve(worker, socket, received, routes, visit);
        }
        Err(Some(error)) => {
            let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
            visit.enter(Stage::Closing);
            refuse(&worker, &mut socket, plain_answer(status, &error.to_string())).await;
        }
        Err(None) => {}
    }
}

/// Counts a handshake that ends without a head, however it ends.
struct FailedHandshake<'a> {
    tls: bool,
    handshakes: &'a crate::metrics::Handshakes,
    done: bool,
}

impl Drop for FailedHandshake<'_> {
    fn drop(&mut self) {
        match (self.done, self.tls) {
            (true, _) => {}
            (false, true) => self.handshakes.tls_failed.increment(1),
            (false, false) => self.handshakes.head_failed.increment(1),
        }
    }
}

/// Reads until a head is whole. `Err(None)`: the socket is gone.
async fn read_head(
    worker: &Rc<RefCell<Worker>>,
    socket: &mut Socket,
    received: &mut Vec<u8>,
    visit: &Visit,
    mut failed: FailedHandshake<'_>,
) -> Result<Head, Option<HeadError>> {
    let limit = worker.borrow().config().limits.max_head;
    loop {
        let read = poll_fn(|cx| {
            let mut worker = worker.borrow_mut();
            let read = socket.poll_read(cx, worker.buffers());
            received.append(&mut worker.buffers().plain);
            read
        });
        let read = read.await.map_err(|_| None)?;
        if failed.tls && read == Read::Some {
            failed.tls = false;
            let made = if socket.resumed() { &failed.handshakes.tls_resumed } else { &failed.handshakes.tls_full };
            made.increment(1);
            visit.enter(Stage::Head);
        }
        if !received.is_empty()
            && let Some(head) = Head::parse(received, limit)?
        {
            failed.done = true;
            failed.handshakes.head.increment(1);
            return Ok(head);
        }
        if read == Read::Closed {
            return Err(None);
        }
    }
}

/// Answers and ends.
async fn refuse(worker: &Rc<RefCell<Worker>>, socket: &mut Socket, mut response: Response<String>) {
    let length = response.body().len();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    let mut bytes = Vec::new();
    websocket::write_head(&response, &mut bytes);
    bytes.extend_from_slice(response.body().as_bytes());
    if write(worker, socket, &bytes).await.is_ok() {
        socket.shut_down(&mut worker.borrow_mut().buffers().sealed);
        // The client may still be sending: closing now would take the answer away from it. The clock bounds this.
        let mut ended = false;
        while !ended {
            ended = poll_fn(|cx| {
                let mut worker = worker.borrow_mut();
                let read = socket.poll_read(cx, worker.buffers());
                worker.buffers().plain.clear();
                read
            })
            .await
            .map_or(true, |read| read == Read::Closed);
        }
    }
}

async fn write(worker: &Rc<RefCell<Worker>>, socket: &mut Socket, bytes: &[u8]) -> io::Result<()> {
    let mut written = socket.write(bytes, &mut worker.borrow_mut().buffers().sealed)?;
    while let Written::Rest(rest) = written {
        poll_fn(|cx| socket.poll_writable(cx)).await?;
        written = socket.write_sealed(&rest)?;
    }
    Ok(())
}
