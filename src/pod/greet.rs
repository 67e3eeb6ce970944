//! From an accepted socket to a WebSocket or an HTTP connection.
//!
//! TLS, then the request's head, each with its time. Always holds: nothing is upgraded that the pod has no room for or
//! whose page is not allowed, and what does not end in time is ended by the worker's timer.

use std::{cell::RefCell, future::poll_fn, io, rc::Rc, sync::Arc, time::Duration};

use ::http::{Request, Response, StatusCode, header};
use tokio::net::TcpStream;

use crate::{
    auth::Grant,
    hub::{Deadline, Drive, Full, Worker},
    protocol::{DialectId, WireFormat},
    transport::{
        head::{Head, HeadError},
        socket::{Read, Socket, Written},
        tls::Tls,
        websocket,
    },
};

use super::http;

/// The native protocol's name on the wire (RFC 6455 section 1.9).
const SUBPROTOCOL: &str = "roomcast.v1";

/// How a socket is spoken to.
#[derive(Clone)]
pub enum Door {
    /// TLS first.
    Tls(Arc<rustls::ServerConfig>),
    /// Not.
    Plain,
}

/// Greets a socket in a task of its own, watched by the worker's timer.
pub fn greet(worker: &Rc<RefCell<Worker>>, stream: TcpStream, door: &Door) {
    let mut this = worker.borrow_mut();
    this.services.metrics.handshakes.accepted.increment(1);
    let socket = match door {
        Door::Plain => Socket::plain(stream),
        Door::Tls(config) => match Tls::accept(Arc::clone(config)) {
            Ok(tls) => Socket::tls(stream, tls),
            Err(error) => {
                tracing::error!(%error, "TLS cannot start on a connection");
                return;
            }
        },
    };
    let timeouts = &this.config().timeouts;
    let first = if socket.is_tls() { timeouts.tls } else { timeouts.head };
    let deadline = Deadline::new(this.now_ms() + millis(first));
    // The large future of the handshake goes when it is over; only the small one of the connection stays.
    let task = tokio::task::spawn_local(converse(Rc::clone(worker), socket, deadline.clone()));
    deadline.ends(task.abort_handle());
    this.watch(deadline);
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn converse(worker: Rc<RefCell<Worker>>, mut socket: Socket, deadline: Deadline) {
    let mut received = Vec::new();
    let services = Arc::clone(&worker.borrow().services);
    let handshakes = &services.metrics.handshakes;
    let failed = Failed { tls: socket.is_tls(), handshakes, done: false };
    match read_head(&worker, &mut socket, &mut received, &deadline, failed).await {
        Ok(head) if head.is_websocket() => {
            let rest = received.split_off(head.len);
            let request = head.into_request();
            match upgrade(&worker, &request) {
                Ok((answer, format)) => {
                    let mut bytes = Vec::new();
                    websocket::write_head(&answer, &mut bytes);
                    if write(&worker, &mut socket, &bytes).await.is_ok() && socket.settle().is_ok() {
                        let drive = Worker::adopt(&worker, socket, format, Grant::default(), &rest);
                        tokio::task::spawn_local(drive);
                    } else {
                        services.gate.leave();
                    }
                }
                Err(refusal) => refuse(&worker, &mut socket, *refusal).await,
            }
        }
        Ok(_) => http::serve(worker, socket, received),
        Err(Some(error)) => {
            let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
            refuse(&worker, &mut socket, plain_answer(status, &error.to_string())).await;
        }
        Err(None) => {}
    }
}

/// Counts a handshake that ends without a head, however it ends.
struct Failed<'a> {
    tls: bool,
    handshakes: &'a crate::metrics::Handshakes,
    done: bool,
}

impl Drop for Failed<'_> {
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
    deadline: &Deadline,
    mut failed: Failed<'_>,
) -> Result<Head, Option<HeadError>> {
    let limit = worker.borrow().config().limits.max_head;
    loop {
        let read = poll_fn(|cx| {
            let mut worker = worker.borrow_mut();
            let read = socket.poll_read(cx, &mut worker.buffers);
            received.append(&mut worker.buffers.plain);
            read
        });
        let read = read.await.map_err(|_| None)?;
        if failed.tls && read == Read::Some {
            failed.tls = false;
            if socket.resumed() {
                failed.handshakes.resumed.increment(1);
            }
            let this = worker.borrow();
            deadline.set(this.now_ms() + millis(this.config().timeouts.head));
        }
        if !received.is_empty()
            && let Some(head) = Head::parse(received, limit)?
        {
            failed.done = true;
            return Ok(head);
        }
        if read == Read::Closed {
            return Err(None);
        }
    }
}

/// Decides about a WebSocket: the answer to send, and what the connection will speak. The gate was entered.
///
/// # Errors
/// The HTTP answer that refuses it.
pub fn upgrade<T>(
    worker: &Rc<RefCell<Worker>>,
    request: &Request<T>,
) -> Result<(Response<()>, WireFormat), Box<Response<String>>> {
    let this = worker.borrow();
    let config = this.config();
    let accepted = websocket::accept(request, &[SUBPROTOCOL], config.compression.enabled);
    let accepted = accepted.map_err(|refusal| Box::new(refusal.response()))?;
    if request.uri().path() != "/ws" && accepted.protocol.is_none() {
        return Err(Box::new(plain_answer(StatusCode::NOT_FOUND, "there is no WebSocket here: connect to /ws")));
    }
    // A request without an origin does not come from a browser.
    let origin = request.headers().get(header::ORIGIN);
    if origin.is_some_and(|origin| !config.origins.allow(origin.as_bytes())) {
        return Err(Box::new(plain_answer(StatusCode::FORBIDDEN, "pages of this origin may not connect here")));
    }
    if !config.anonymous {
        return Err(Box::new(plain_answer(StatusCode::UNAUTHORIZED, "nobody may connect without a token here")));
    }
    this.services.gate.enter(config.max_connections, &this.services.budget).map_err(full)?;
    this.services.metrics.handshakes.upgraded.increment(1);
    let window_bits = accepted.deflate.and_then(|d| std::num::NonZeroU8::new(d.server_max_window_bits));
    Ok((accepted.response, WireFormat { dialect: DialectId::NATIVE, window_bits }))
}

/// Hands a socket over that hyper has upgraded; `None`: its TLS connection is lost.
pub fn adopt_upgraded(
    worker: &Rc<RefCell<Worker>>,
    mut socket: Socket,
    format: WireFormat,
    rest: &[u8],
) -> Option<Drive> {
    socket.settle().ok()?;
    Some(Worker::adopt(worker, socket, format, Grant::default(), rest))
}

fn full(full: Full) -> Box<Response<String>> {
    let mut response = plain_answer(StatusCode::SERVICE_UNAVAILABLE, &full.to_string());
    // Long enough for a balancer to have noticed, spread by the clients' own jitter.
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
    Box::new(response)
}

/// An answer in a sentence.
pub fn plain_answer(status: StatusCode, sentence: &str) -> Response<String> {
    let mut response = Response::new(format!("{sentence}\n"));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Answers and ends.
async fn refuse(worker: &Rc<RefCell<Worker>>, socket: &mut Socket, mut response: Response<String>) {
    worker.borrow().services.metrics.handshakes.refused.increment(1);
    let length = response.body().len();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    let mut bytes = Vec::new();
    websocket::write_head(&response, &mut bytes);
    bytes.extend_from_slice(response.body().as_bytes());
    if write(worker, socket, &bytes).await.is_ok() {
        socket.shut_down(&mut worker.borrow_mut().buffers.sealed);
        // The client may still be sending: closing now would take the answer away from it. The deadline bounds this.
        let mut ended = false;
        while !ended {
            ended = poll_fn(|cx| {
                let mut worker = worker.borrow_mut();
                let read = socket.poll_read(cx, &mut worker.buffers);
                worker.buffers.plain.clear();
                read
            })
            .await
            .map_or(true, |read| read == Read::Closed);
        }
    }
}

async fn write(worker: &Rc<RefCell<Worker>>, socket: &mut Socket, bytes: &[u8]) -> io::Result<()> {
    let mut written = socket.write(bytes, &mut worker.borrow_mut().buffers.sealed)?;
    while let Written::Rest(rest) = written {
        poll_fn(|cx| socket.poll_writable(cx)).await?;
        written = socket.write_sealed(&rest)?;
    }
    Ok(())
}
