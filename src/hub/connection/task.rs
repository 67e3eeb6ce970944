//! The task of one connection: reads what comes, writes what waits. A fan-out never passes through here.
//!
//! Always holds: whatever ends the task, a panic included, takes its one connection off the worker.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use crate::{
    hub::{
        access::permit::JoinPermit,
        connection::{key::ConnectionKey, state::State, transport::ClientTransport},
        core::clients::Clients,
        fanout::subscription::Standing,
        worker::{Worker, timers::Timed},
    },
    model::{Cursor, Disconnect, SubscribeTo},
    session::ConnectionId,
    transport::socket::Read,
};

/// How often a connection may read before others have their turn.
const READS: usize = 8;

/// Drives one connection to its end.
pub struct ConnectionTask {
    worker: Rc<RefCell<Worker>>,
    key: ConnectionKey,
}

impl ConnectionTask {
    pub(crate) fn new(worker: Rc<RefCell<Worker>>, key: ConnectionKey) -> Self {
        Self { worker, key }
    }

    /// Fetches what waits in a mailbox, about `max` bytes of it, and waits until there is something.
    ///
    /// # Errors
    /// The connection is closed, and why if the pod did it.
    pub async fn next_bytes(&self, max: usize) -> Result<Vec<u8>, Option<Disconnect>> {
        poll_fn(|cx| self.poll_waiting(max, cx)).await
    }

    /// [`ConnectionTask::next_bytes`], for what polls by itself.
    ///
    /// # Errors
    /// The connection is closed, and why if the pod did it.
    pub fn poll_waiting(&self, max: usize, cx: &mut Context<'_>) -> Poll<Result<Vec<u8>, Option<Disconnect>>> {
        self.worker.borrow_mut().poll_waiting(self.key, max, cx)
    }

    /// Takes about `max` bytes of what waits in a mailbox now, which may be nothing.
    #[must_use]
    pub fn take(&self, max: usize) -> Vec<u8> {
        let (mut bytes, mut worker) = (Vec::new(), self.worker.borrow_mut());
        let Clients { connections, encoder, .. } = &mut worker.core.clients;
        if let Some(connection) = connections.get_mut(self.key) {
            connection.collect(max, encoder, &mut bytes);
        }
        bytes
    }

    /// Lets a mailbox's client into the rooms that its request asked for.
    pub fn enter(&self, rooms: Vec<(SubscribeTo, Option<JoinPermit>)>) {
        let mut worker = self.worker.borrow_mut();
        if let Some(connection) = worker.core.clients.connections.get_mut(self.key)
            && let ClientTransport::Mailbox(mailbox) = &mut connection.transport
        {
            mailbox.asked();
        }
        worker.core.subscribe_to_all(self.key, rooms, None);
        worker.settle();
    }

    /// Where a mailbox's client stands once it has read what it fetched.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let worker = self.worker.borrow();
        match worker.core.clients.connections.get(self.key).map(|connection| &connection.transport) {
            Some(ClientTransport::Mailbox(mailbox)) => mailbox.cursor().cloned().unwrap_or_default(),
            _ => Cursor::default(),
        }
    }

    /// The connection's name.
    #[must_use]
    pub fn name(&self) -> Option<ConnectionId> {
        self.worker.borrow().core.clients.connections.get(self.key).map(|connection| connection.session.id)
    }

    /// A mailbox's client has all that it asked for.
    pub fn finish(&self) {
        let mut worker = self.worker.borrow_mut();
        worker.close(self.key, Disconnect::Normal);
        worker.settle();
    }

    /// Ready when a mailbox's connection was closed and no request took that in time: what still carries bytes for it should
    /// be cut off.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut worker = self.worker.borrow_mut();
        match worker.core.clients.connections.get_mut(self.key) {
            Some(connection) if connection.state != State::Gone => {
                connection.polled_by(cx.waker());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

impl Future for ConnectionTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.worker.borrow_mut().poll_task(self.key, cx)
    }
}

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        // Borrowed while the pod is torn down: the worker goes as well.
        if let Ok(mut worker) = self.worker.try_borrow_mut() {
            worker.remove(self.key);
        }
    }
}

impl Worker {
    /// Takes a connection off.
    fn remove(&mut self, key: ConnectionKey) {
        self.engineio.end_records(&mut self.core, key);
        self.core.leave_all(key);
        let now_ms = self.core.clients.timers.now_ms();
        let connections = &mut self.core.clients.connections;
        if let Some(presence) = &self.services.user_presence
            && let Some(user) = connections.get(key).and_then(|connection| connection.session.grant.user())
            && connections.users.has(user, key)
        {
            presence.disconnected(user);
        }
        let removed = connections.remove(key, now_ms);
        self.settle();
        let Some(connection) = removed else { return };
        self.services.places.give_back(&connection.session);
        let metrics = &self.services.metrics;
        metrics.connections.of(connection.transport.name(), connection.format.dialect.index()).decrement(1);
        metrics.disconnected(connection.closed_with);
    }

    /// Writes what waits and reads what came. `Ready`: the connection is over.
    fn poll_task(&mut self, key: ConnectionKey, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(connection) = self.core.clients.connections.get_mut(key) {
            connection.polled_by(cx.waker());
        }
        for _ in 0..READS {
            let Clients { connections, encoder, buffers, settings, timers, .. } = &mut self.core.clients;
            let Some(connection) = connections.get_mut(key) else { return Poll::Ready(()) };
            if connection.state == State::Gone {
                return Poll::Ready(());
            }
            if matches!(connection.transport, ClientTransport::Mailbox(_)) {
                return Poll::Pending;
            }
            let waited = connection.queued_bytes() > 0;
            match connection.poll_drain(cx, encoder, &mut buffers.sealed) {
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) if waited => {
                    self.core.catch_up(key);
                    self.settle();
                    continue;
                }
                Poll::Ready(Ok(())) => {}
                // A client that does not read its replies is not read from.
                Poll::Pending if connection.queued_bytes() > settings.queue_limit / 2 => return Poll::Pending,
                Poll::Pending => {}
            }
            // What is sent behind a decision is left in the kernel, once something waits for it here.
            if connection.has_paused_input() {
                return Poll::Pending;
            }
            // After a flood of signals it is not read from for a while: what it sends waits in the kernel, at the cost of its own.
            if let Some(signals) = &mut connection.session.signals
                && signals.rests(timers.now_ms())
            {
                if let Some(until_ms) = signals.time_rest() {
                    timers.schedule(until_ms, Timed::Rested(key, connection.session.id));
                }
                return Poll::Pending;
            }
            // So it is after messages that inflate far beyond what came.
            if let Some(input) = connection.cold.as_mut().and_then(|cold| cold.inflated_input.as_mut())
                && connection.state == State::Open
                && input.rests(timers.now_ms())
            {
                if let Some(until_ms) = input.time_rest() {
                    timers.schedule(until_ms, Timed::Rested(key, connection.session.id));
                }
                return Poll::Pending;
            }
            let read = match &mut connection.transport {
                ClientTransport::WebSocket { socket, .. } => socket.poll_read(cx, buffers),
                ClientTransport::WebTransport(streams) => streams.poll_read(cx, buffers),
                ClientTransport::Mailbox(_) => return Poll::Pending,
            };
            let Poll::Ready(read) = read else { return Poll::Pending };
            let Ok(read) = read else {
                buffers.plain.clear();
                return Poll::Ready(());
            };
            self.received(key);
            if read == Read::Closed {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    pub(crate) fn poll_waiting(
        &mut self,
        key: ConnectionKey,
        max: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Vec<u8>, Option<Disconnect>>> {
        let now_ms = self.core.clients.timers.now_ms();
        let Clients { connections, encoder, .. } = &mut self.core.clients;
        let Some(connection) = connections.get_mut(key) else { return Poll::Ready(Err(None)) };
        if matches!(connection.transport, ClientTransport::WebSocket { .. }) {
            // It goes on over a WebSocket: a request that still waits gets nothing (`6`).
            return Poll::Ready(Ok(b"6".to_vec()));
        }
        if connection.state == State::Open {
            connection.heard_ms = now_ms;
        }
        let mut bytes = Vec::new();
        let joining = connection.subscriptions.iter().any(|s| s.standing == Standing::Joining);
        if let ClientTransport::Mailbox(mailbox) = &mut connection.transport
            && connection.state == State::Open
            && !mailbox.is_due(joining)
        {
            mailbox.wait_with(cx.waker());
            return Poll::Pending;
        }
        let empty = connection.collect(max, encoder, &mut bytes);
        if empty && connection.state == State::Open {
            self.core.catch_up(key);
            self.settle();
        }
        let Some(connection) = self.core.clients.connections.get_mut(key) else { return Poll::Ready(Err(None)) };
        if empty && connection.state == State::Closing && connection.is_engine() {
            // It has everything that was to be said.
            connection.state = State::Gone;
            connection.wake();
        }
        if !bytes.is_empty() {
            return Poll::Ready(Ok(bytes));
        }
        if connection.state != State::Open {
            return Poll::Ready(Err(connection.closed_with));
        }
        let upgrading = connection.link().is_some_and(|link| link.upgrading);
        match &mut connection.transport {
            ClientTransport::Mailbox(mailbox) if !upgrading => {
                mailbox.wait_with(cx.waker());
                Poll::Pending
            }
            // What is said from now on goes another way: nothing (`6`) is all that this one gets.
            _ => Poll::Ready(Ok(b"6".to_vec())),
        }
    }
}
