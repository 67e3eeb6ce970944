//! A WebSocket that probes for an Engine.IO session that polls, and may take it over.
//!
//! Runs on the worker that has the session. Always holds: it has its time, and a place among the sockets that wait for their clients, until it
//! carries the session; one that comes to nothing leaves the session as it was.

use std::{cell::RefCell, convert::Infallible, future::poll_fn, ops::ControlFlow, rc::Rc, sync::Arc, time::Duration};

use tokio::{select, sync::oneshot, time::timeout};

use super::polling::PollingSession;
use crate::{
    hub::{
        connection::{paused_input::PausedInput, transport::ClientTransport},
        worker::{Worker, queues::ToWorker, services::Services, worker_call::WorkerCall},
    },
    protocol::{Framing, Message, engineio::EngineioPacket},
    session::ConnectionId,
    transport::{
        socket::{Detached, Read, Socket, Written},
        websocket::{self, Incoming, Inflater, Reader, Role},
    },
};

/// A WebSocket that may take over a session, its handshake over.
pub struct Probe {
    /// The socket.
    pub socket: Detached,
    /// What was agreed.
    pub framing: Framing,
    /// What came behind the handshake.
    pub early: Vec<u8>,
    /// Its place among the sockets that wait for their clients: closed, it has none any more. `None`: another pod has that.
    pub guest: Option<oneshot::Sender<Infallible>>,
}

impl Probe {
    /// Until its place is given to another socket.
    async fn loses_place(guest: &mut Option<oneshot::Sender<Infallible>>) {
        match guest {
            Some(guest) => guest.closed().await,
            None => std::future::pending().await,
        }
    }
}

impl Services {
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
    let Probe { socket, framing, mut early, mut guest } = probe;
    let Ok(socket) = socket.attach() else { return };
    let services = Arc::clone(&worker.borrow().services);
    let patience = worker.borrow_mut().core.clients.connections.probe_patience(name);
    let mut prober = Prober { worker, name, socket, answered: false };
    let mut reader = Reader::new(Role::Server, framing.compression().is_some());
    let probed = match patience {
        Some(patience) => select! {
            biased;
            () = Probe::loses_place(&mut guest) => None,
            probed = timeout(patience, converse(&mut prober, &mut reader, &mut early)) => probed.ok().flatten(),
        },
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
    select! {
        biased;
        () = Probe::loses_place(&mut guest) => {}
        // A client that does not close is not waited for.
        _ = timeout(CLOSE_PATIENCE, prober.close()) => {}
    }
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
