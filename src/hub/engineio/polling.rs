//! What requests do to an Engine.IO session, from whichever thread they came: poll what waits, post packets, probe a
//! WebSocket.
//!
//! Runs on the worker that has the session; a request that landed elsewhere is handed over as a [`WorkerCall`]. Always holds:
//! one request at most polls a session; one that goes away while it polls ends the session, because what it got cannot
//! be known.

use std::{cell::RefCell, future::poll_fn, ops::ControlFlow, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{sync::oneshot, time::timeout};

use crate::{
    hub::{
        ConnectionKey, Services, ToWorker, Worker, WorkerCall,
        access::identity::PausedInput,
        connection::{Connection, State, transport::ClientTransport},
    },
    model::Disconnect,
    protocol::{
        Framing, Message,
        engineio::{self, EngineError, EngineioPacket, SEPARATOR},
    },
    session::ConnectionId,
    transport::{
        socket::{Detached, Read, Socket, Written},
        websocket::{self, Incoming, Inflater, Reader, Role},
    },
};

/// About how many bytes one answer holds at most: whole frames until it has so many.
const ANSWER_BYTES: usize = 256 * 1024;

/// A session by the worker that has it and its name.
#[derive(Debug, Clone, Copy)]
pub struct PollingSession {
    /// The worker.
    pub worker: usize,
    /// The name.
    pub name: ConnectionId,
}

/// A WebSocket that may take over a session, its handshake over.
pub struct Probe {
    /// The socket.
    pub socket: Detached,
    /// What was agreed.
    pub framing: Framing,
    /// What came behind the handshake.
    pub early: Vec<u8>,
}

impl Services {
    /// Answers with what waits for a session, when there is something.
    ///
    /// # Errors
    /// [`EngineError`]: there is no such session, or it is not one that is polled.
    pub async fn poll_session(&self, place: PollingSession) -> Result<Bytes, EngineError> {
        self.on_its_worker(place, move |worker| async move { poll(&worker, place.name).await }).await
    }

    /// Hands the packets of a request's body to a session.
    ///
    /// # Errors
    /// [`EngineError`]: there is no such session, or it is not one that takes packets, or the body holds none.
    pub async fn post_packets(&self, place: PollingSession, body: Bytes) -> Result<(), EngineError> {
        self.on_its_worker(place, move |worker| async move { worker.borrow_mut().take_packets(place.name, &body) })
            .await
    }

    /// Whether a WebSocket may take a session over.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn may_upgrade(&self, place: PollingSession) -> Result<(), EngineError> {
        let polled = move |worker: Rc<RefCell<Worker>>| async move {
            worker.borrow_mut().connections.polling_session(place.name).map(drop)
        };
        self.on_its_worker(place, polled).await
    }

    /// Has a WebSocket probe for a session.
    pub fn probe(&self, place: PollingSession, probe: Probe) {
        let question = WorkerCall::new(move |worker| {
            let Some(worker) = worker.me() else { return };
            tokio::task::spawn_local(run_probe(worker, place.name, probe));
        });
        if place.worker < self.queues.workers() {
            // Full: the socket ends, and the client goes on as it was.
            let _ = self.queues.tell_worker(place.worker, ToWorker::Call(question));
        }
    }

    async fn on_its_worker<T, F>(
        &self,
        place: PollingSession,
        call: impl FnOnce(Rc<RefCell<Worker>>) -> F + Send + 'static,
    ) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, EngineError>> + 'static,
    {
        let (mut sender, answer) = oneshot::channel();
        let question = WorkerCall::new(move |worker| {
            let Some(worker) = worker.me() else { return };
            tokio::task::spawn_local(async move {
                let call = call(worker);
                let done = tokio::select! {
                    done = call => done,
                    // The request has gone.
                    () = sender.closed() => return,
                };
                let _ = sender.send(done);
            });
        });
        if place.worker >= self.queues.workers() || !self.queues.tell_worker(place.worker, ToWorker::Call(question)) {
            return Err(EngineError::UnknownSession);
        }
        answer.await.map_err(|_| EngineError::UnknownSession)?
    }
}

impl Worker {
    /// This worker, for a task that comes back to it.
    #[must_use]
    pub fn me(&self) -> Option<Rc<RefCell<Self>>> {
        self.me.upgrade()
    }

    /// Takes the packets of a request's body.
    fn take_packets(&mut self, name: ConnectionId, body: &[u8]) -> Result<(), EngineError> {
        let key = self.connections.polling_session(name)?;
        let now_ms = self.timers.now_ms();
        let connection = self.connections.get_mut(key).ok_or(EngineError::UnknownSession)?;
        if connection.state != State::Open {
            return Err(EngineError::UnknownSession);
        }
        connection.heard_ms = now_ms;
        connection.totals.bytes_in += body.len() as u64;
        let Ok(body) = std::str::from_utf8(body) else {
            self.close(key, Disconnect::InvalidData);
            return Err(EngineError::BadRequest);
        };
        for part in engineio::packets(body) {
            let flow = match &part {
                Ok(part) => self.take_message(key, part.message()),
                Err(_) => self.stop(key, Disconnect::InvalidData),
            };
            if flow.is_break() {
                let closed = self.connections.get(key).and_then(|connection| connection.closed_with);
                // The body was one of packets, whatever became of the session by them. The poll is told.
                return if closed == Some(Disconnect::InvalidData) { Err(EngineError::BadRequest) } else { Ok(()) };
            }
        }
        Ok(())
    }
}

/// A poll under way: one that ends without an answer ends its session.
struct Poll {
    worker: Rc<RefCell<Worker>>,
    key: ConnectionKey,
    name: ConnectionId,
    answered: bool,
}

impl Drop for Poll {
    fn drop(&mut self) {
        let Ok(mut worker) = self.worker.try_borrow_mut() else { return };
        if !worker.connections.is(self.key, self.name) {
            return;
        }
        if let Some(link) = worker.connections.get_mut(self.key).and_then(Connection::link) {
            link.polling = false;
        }
        if !self.answered {
            worker.close(self.key, Disconnect::InternalError);
        }
    }
}

async fn poll(worker: &Rc<RefCell<Worker>>, name: ConnectionId) -> Result<Bytes, EngineError> {
    let mut poll = {
        let mut this = worker.borrow_mut();
        let key = this.connections.polling_session(name)?;
        let link = this.connections.get_mut(key).and_then(Connection::link);
        let link = link.ok_or(EngineError::UnknownSession)?;
        if std::mem::replace(&mut link.polling, true) {
            // The first one gets to hear of it.
            this.close(key, Disconnect::ProtocolError);
            return Err(EngineError::BadRequest);
        }
        Poll { worker: Rc::clone(worker), key, name, answered: false }
    };
    let polled = poll_fn(|cx| {
        let mut worker = worker.borrow_mut();
        if worker.connections.is(poll.key, name) {
            worker.poll_waiting(poll.key, ANSWER_BYTES, cx)
        } else {
            std::task::Poll::Ready(Err(None))
        }
    })
    .await;
    poll.answered = true;
    let mut bytes = polled.map_err(|_| EngineError::UnknownSession)?;
    // It stands between packets, and so not behind the last one.
    if bytes.last() == Some(&SEPARATOR) {
        bytes.pop();
    }
    Ok(bytes.into())
}

/// How a probe ended.
enum Probed {
    /// The socket takes over; what came behind the packet that said so.
    Upgrade(PausedInput),
    /// It does not.
    Not,
}

async fn run_probe(worker: Rc<RefCell<Worker>>, name: ConnectionId, probe: Probe) {
    let Probe { socket, framing, mut early } = probe;
    let Ok(mut socket) = socket.attach() else { return };
    let services = Arc::clone(&worker.borrow().services);
    let patience = {
        let mut this = worker.borrow_mut();
        let Some(key) = this.connections.session_at(name) else { return };
        let link = this.connections.get_mut(key).and_then(Connection::link);
        link.map_or(Duration::ZERO, |link| link.endpoint.timing.upgrade_timeout)
    };
    let mut reader = Reader::new(Role::Server, framing.compression().is_some());
    let probed = timeout(patience, converse(&worker, name, &mut socket, &mut reader, &mut early)).await;
    let mut this = worker.borrow_mut();
    if let Ok(Probed::Upgrade(behind)) = probed
        && this.upgrade(name, ClientTransport::WebSocket { socket, reader }, framing, behind)
    {
        services.metrics.socketio.upgraded.increment(1);
        return;
    }
    services.metrics.socketio.not_upgraded.increment(1);
    this.connections.set_upgrading(name, false);
}

/// Speaks with a WebSocket until it is clear whether it takes over.
async fn converse(
    worker: &Rc<RefCell<Worker>>,
    name: ConnectionId,
    socket: &mut Socket,
    reader: &mut Reader,
    early: &mut Vec<u8>,
) -> Probed {
    let mut inflater = Inflater::default();
    let (mut answered, mut upgrade, mut behind) = (false, false, PausedInput::default());
    loop {
        let mut out = Vec::new();
        let limits = {
            let this = worker.borrow();
            let Some(key) = this.connections.session_at(name) else { return Probed::Not };
            this.connections.get(key).map_or(this.message_limits, |connection| connection.limits(this.message_limits))
        };
        let end = reader.read(early, &mut inflater, &limits, &mut |incoming| {
            let message = match incoming {
                Incoming::Text(text) => Message::Text(text),
                Incoming::Binary(bytes) => Message::Binary(bytes),
                Incoming::Ping(payload) => {
                    websocket::pong_frame(payload, &mut out);
                    return ControlFlow::Continue(());
                }
                Incoming::Pong(_) => return ControlFlow::Continue(()),
                Incoming::Close(_) => return ControlFlow::Break(()),
            };
            if upgrade {
                return if behind.keep(message) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
            }
            match EngineioPacket::parse(message) {
                Ok(EngineioPacket::Ping("probe"))
                    if !answered && worker.borrow_mut().connections.set_upgrading(name, true) =>
                {
                    websocket::Frame::new(websocket::Opcode::Text, b"3probe").write_server(&mut out);
                    answered = true;
                }
                Ok(EngineioPacket::Upgrade) if answered => upgrade = true,
                _ => return ControlFlow::Break(()),
            }
            ControlFlow::Continue(())
        });
        early.clear();
        if end.is_err() || reader.is_closed() {
            return Probed::Not;
        }
        if upgrade {
            return Probed::Upgrade(behind);
        }
        if !out.is_empty() && write(worker, socket, &out).await.is_err() {
            return Probed::Not;
        }
        let read = poll_fn(|cx| {
            let mut worker = worker.borrow_mut();
            let read = socket.poll_read(cx, &mut worker.buffers);
            early.append(&mut worker.buffers.plain);
            read
        });
        match read.await {
            Ok(Read::Closed) | Err(_) => return Probed::Not,
            Ok(Read::Some | Read::Handshaking) => {}
        }
    }
}

async fn write(worker: &Rc<RefCell<Worker>>, socket: &mut Socket, bytes: &[u8]) -> std::io::Result<()> {
    let mut written = socket.write(bytes, &mut worker.borrow_mut().buffers.sealed)?;
    while let Written::Rest(rest) = written {
        poll_fn(|cx| socket.poll_writable(cx)).await?;
        written = socket.write_sealed(&rest)?;
    }
    Ok(())
}
