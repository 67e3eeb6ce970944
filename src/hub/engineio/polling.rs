//! What requests do to an Engine.IO session, from whichever thread they came: poll what waits, post packets.
//!
//! Runs on the worker that has the session; a request that landed elsewhere is handed over as a [`WorkerCall`]. Always holds:
//! one request at most polls a session; one that goes away while it polls ends the session, because what it got cannot
//! be known. Its client is told so by the next request.

use std::{cell::RefCell, future::poll_fn, ops::ControlFlow, rc::Rc};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    hub::{
        connection::{Connection, key::ConnectionKey, state::State},
        worker::{Worker, queues::ToWorker, services::Services, worker_call::WorkerCall},
    },
    model::Disconnect,
    protocol::engineio::{self, EngineError, SEPARATOR},
    session::ConnectionId,
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
    // What is no UTF-8 is U+FFFD, as the reference server reads a request's body.
    for part in engineio::packets(&String::from_utf8_lossy(body)) {
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
