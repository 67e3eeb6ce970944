//! What requests do to an Engine.IO session, from whichever thread they came: poll what waits, post packets, probe a
//! WebSocket.
//!
//! Runs on the worker that has the session; a request that landed elsewhere is handed over as a [`WorkerCall`]. Always holds:
//! one request at most polls a session; one that goes away while it polls ends the session, because what it got cannot
//! be known. Its client is told so by the next request.

use std::{cell::RefCell, future::poll_fn, ops::ControlFlow, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{sync::oneshot, time::timeout};

use crate::{
    hub::{
        connection::{
            Connection, key::ConnectionKey, paused_input::PausedInput, state::State, transport::ClientTransport,
        },
        worker::{Worker, queues::ToWorker, services::Services, worker_call::WorkerCall},
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
        self.on_its_worker(
            place,
            move |worker| async move { take_packets(&mut worker.borrow_mut(), place.name, &body) },
        )
        .await
    }

    /// Whether a WebSocket may probe for a session. One for a session that has a WebSocket already is accepted and closed.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn may_upgrade(&self, place: PollingSession) -> Result<(), EngineError> {
        let known = move |worker: Rc<RefCell<Worker>>| async move {
            match worker.borrow_mut().core.clients.connections.polling_session(place.name) {
                Ok(_) | Err(EngineError::BadRequest) => Ok(()),
                Err(error) => Err(error),
            }
        };
        self.on_its_worker(place, known).await
    }

    /// Has a WebSocket probe for a session.
    pub fn probe(&self, place: PollingSession, probe: Probe) {
        let worker_call = WorkerCall::new(move |worker: &mut Worker| {
            let Some(worker) = worker.me() else { return };
            tokio::task::spawn_local(run_probe(worker, place.name, probe));
        });
        if place.worker < self.queues.workers() {
            // Full: the socket ends, and the client goes on as it was.
            let _ = self.queues.tell_worker(place.worker, ToWorker::Call(worker_call));
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
        let worker_call = WorkerCall::new(move |worker: &mut Worker| {
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
        if place.worker >= self.queues.workers() || !self.queues.tell_worker(place.worker, ToWorker::Call(worker_call))
        {
            return Err(EngineError::UnknownSession);
        }
        answer.await.map_err(|_| EngineError::UnknownSession)?
    }
}

/// Ends a session whose client did not answer a ping in time, before the clock's next tick does.
fn expire(worker: &mut Worker, key: ConnectionKey) {
    let now_ms = worker.core.clients.timers.now_ms();
    let link =
        worker.core.clients.connections.get_mut(key).filter(|it| it.state == State::Open).and_then(Connection::link);
    if link.is_some_and(|link| link.is_overdue(now_ms)) {
        worker.close(key, Disconnect::PingTimeout);
    }
}

/// Lets a probed WebSocket carry a session from now on. `behind` came behind the packet that asked for it. `false`: there
/// is no such session any more, or it has a WebSocket.
fn upgrade(
    worker: &mut Worker,
    name: ConnectionId,
    transport: ClientTransport,
    framing: Framing,
    behind: PausedInput,
) -> bool {
    let Some(key) = worker.engineio.upgrade(&mut worker.core, name, transport, framing) else { return false };
    // One that ends takes nothing more.
    worker.replay_input(key, behind);
    true
}

/// Takes the packets of a request's body.
fn take_packets(worker: &mut Worker, name: ConnectionId, body: &[u8]) -> Result<(), EngineError> {
    let key = worker.core.clients.connections.polling_session(name)?;
    let now_ms = worker.core.clients.timers.now_ms();
    let connection = worker.core.clients.connections.get_mut(key).ok_or(EngineError::UnknownSession)?;
    if connection.state != State::Open {
        return Err(EngineError::UnknownSession);
    }
    connection.heard_ms = now_ms;
    connection.totals.bytes_in += body.len() as u64;
    let Ok(body) = std::str::from_utf8(body) else {
        worker.close(key, Disconnect::InvalidData);
        return Err(EngineError::BadRequest);
    };
    for part in engineio::packets(body) {
        let flow = match &part {
            Ok(part) => worker.take_message(key, part.message()),
            Err(_) => {
                worker.close(key, Disconnect::InvalidData);
                ControlFlow::Break(())
            }
        };
        if flow.is_break() {
            let closed = worker.core.clients.connections.get(key).and_then(|connection| connection.closed_with);
            // The body was one of packets, whatever became of the session by them. The poll is told.
            return if closed == Some(Disconnect::InvalidData) { Err(EngineError::BadRequest) } else { Ok(()) };
        }
    }
    worker.core.clients.note_incomplete(key, now_ms);
    Ok(())
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
        if !worker.core.clients.connections.is(self.key, self.name) {
            return;
        }
        if let Some(link) = worker.core.clients.connections.get_mut(self.key).and_then(Connection::link) {
            link.polling = false;
        }
        if !self.answered {
            // The client went away: nothing waits for it, not even a farewell.
            worker.close(self.key, Disconnect::Normal);
        }
    }
}

async fn poll(worker: &Rc<RefCell<Worker>>, name: ConnectionId) -> Result<Bytes, EngineError> {
    let mut poll = {
        let mut this = worker.borrow_mut();
        let key = this.core.clients.connections.polling_session(name)?;
        expire(&mut this, key);
        let key = this.core.clients.connections.polling_session(name)?;
        let link = this.core.clients.connections.get_mut(key).and_then(Connection::link);
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
        if worker.core.clients.connections.is(poll.key, name) {
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

/// How long a WebSocket that does not take over may take to close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// The most that is read of a WebSocket that was told to close: one that goes on is reset instead.
const MOST_IGNORED: usize = 256 * 1024;

/// The most pings and pongs of a WebSocket that probes: it is about to say one thing.
const MAX_CONTROL_FRAMES: u32 = 64;

/// A WebSocket that probes for a session.
struct Prober {
    worker: Rc<RefCell<Worker>>,
    name: ConnectionId,
    socket: Socket,
    /// Its probe was answered, and the session's requests are held off.
    answered: bool,
}

impl Prober {
    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let mut written = self.socket.write(bytes, &mut self.worker.borrow_mut().buffers().sealed)?;
        while let Written::Rest(rest) = written {
            poll_fn(|cx| self.socket.poll_writable(cx)).await?;
            written = self.socket.write_sealed(&rest)?;
        }
        Ok(())
    }

    /// Appends what comes next to `early`; `false`: nothing more.
    async fn read(&mut self, early: &mut Vec<u8>) -> bool {
        let Self { worker, socket, .. } = self;
        let read = poll_fn(|cx| {
            let mut worker = worker.borrow_mut();
            let read = socket.poll_read(cx, worker.buffers());
            early.append(&mut worker.buffers().plain);
            read
        });
        matches!(read.await, Ok(Read::Some | Read::Handshaking))
    }

    /// Closes the socket as the reference does: without a status.
    async fn close(mut self) {
        let mut close = Vec::new();
        websocket::Frame::new(websocket::Opcode::Close, &[]).write_server(&mut close);
        if self.write(&close).await.is_err() {
            return;
        }
        self.socket.shut_down(&mut self.worker.borrow_mut().buffers().sealed);
        // What comes is read: unread bytes would have the kernel reset the connection before the client has read the close.
        let (mut ignored, mut left) = (Vec::new(), MOST_IGNORED);
        while left > 0 && self.read(&mut ignored).await {
            left = left.saturating_sub(ignored.len());
            ignored.clear();
        }
    }
}

async fn run_probe(worker: Rc<RefCell<Worker>>, name: ConnectionId, probe: Probe) {
    let Probe { socket, framing, mut early } = probe;
    let Ok(socket) = socket.attach() else { return };
    let services = Arc::clone(&worker.borrow().services);
    let patience = worker.borrow_mut().core.clients.connections.probe_patience(name);
    let mut prober = Prober { worker, name, socket, answered: false };
    let mut reader = Reader::new(Role::Server, framing.compression().is_some());
    let probed = match patience {
        Some(patience) => timeout(patience, converse(&mut prober, &mut reader, &mut early)).await.ok().flatten(),
        None => None,
    };
    if let Some(behind) = probed {
        let Prober { worker, name, socket, .. } = prober;
        let mut this = worker.borrow_mut();
        if upgrade(&mut this, name, ClientTransport::WebSocket { socket, reader }, framing, behind) {
            services.metrics.socketio.upgraded.increment(1);
        } else {
            services.metrics.socketio.not_upgraded.increment(1);
            this.core.clients.connections.set_upgrading(name, false);
        }
        return;
    }
    services.metrics.socketio.not_upgraded.increment(1);
    if prober.answered {
        prober.worker.borrow_mut().core.clients.connections.set_upgrading(name, false);
    }
    // A client that does not close is not waited for.
    let _ = timeout(CLOSE_PATIENCE, prober.close()).await;
}

/// Speaks with a WebSocket until it is clear whether it takes over: then with what came behind the packet that said so.
async fn converse(prober: &mut Prober, reader: &mut Reader, early: &mut Vec<u8>) -> Option<PausedInput> {
    let mut inflater = Inflater::default();
    let (mut upgrade, mut behind, mut control_frames) = (false, PausedInput::default(), 0);
    loop {
        let mut out = Vec::new();
        let (worker, name) = (Rc::clone(&prober.worker), prober.name);
        let limits = {
            let this = worker.borrow();
            let key = this.core.clients.connections.session_at(name)?;
            this.core.clients.connections.get(key).map_or(this.core.clients.settings.message_limits, |connection| {
                connection.limits(this.core.clients.settings.message_limits)
            })
        };
        let budget = Arc::clone(&worker.borrow().services.budget);
        let answered = &mut prober.answered;
        let end = reader.read(early, &mut inflater, &limits, &mut |incoming| {
            let message = match incoming {
                Incoming::Text(text) => Message::Text(text),
                Incoming::Binary(bytes) => Message::Binary(bytes),
                Incoming::Ping(_) | Incoming::Pong(_) if control_frames >= MAX_CONTROL_FRAMES => {
                    return ControlFlow::Break(());
                }
                Incoming::Ping(payload) => {
                    control_frames += 1;
                    websocket::pong_frame(payload, &mut out);
                    return ControlFlow::Continue(());
                }
                Incoming::Pong(_) => {
                    control_frames += 1;
                    return ControlFlow::Continue(());
                }
                Incoming::Close(_) => return ControlFlow::Break(()),
            };
            if upgrade {
                return match behind.keep(message, &budget) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                };
            }
            match EngineioPacket::parse(message) {
                Ok(EngineioPacket::Ping("probe"))
                    if !*answered && worker.borrow_mut().core.clients.connections.set_upgrading(name, true) =>
                {
                    websocket::Frame::new(websocket::Opcode::Text, b"3probe").write_server(&mut out);
                    *answered = true;
                }
                Ok(EngineioPacket::Upgrade) if *answered => upgrade = true,
                _ => return ControlFlow::Break(()),
            }
            ControlFlow::Continue(())
        });
        early.clear();
        if end.is_err() || reader.is_closed() {
            return None;
        }
        if upgrade {
            return Some(behind);
        }
        if !out.is_empty() && prober.write(&out).await.is_err() {
            return None;
        }
        if !prober.read(early).await {
            return None;
        }
    }
}
