//! The task of one connection: reads what comes, writes what waits. A fan-out never passes through here.
//!
//! Always holds: whatever ends the task, a panic included, takes its one connection off the worker.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    ops::ControlFlow,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use super::{
    Key, Worker,
    asking::Leave,
    carrier::Carrier,
    connection::{Connection, Standing, State},
};
use crate::{
    broker::{BrokerError, HistoryQuery},
    metrics::Metrics,
    model::{CommandId, Cursor, Disconnect, ErrorCode, Reply, Room, Stats, SubscribeTo},
    protocol::Message,
    session::{Action, ConnectionId, Verdict},
    transport::{
        socket::Read,
        websocket::{self, Incoming, MessageLimits, Reader, Role},
    },
};

/// The most members of one presence answer.
const PRESENCE_LIMIT: usize = 1_000;

/// The most bytes of one history answer.
const HISTORY_BYTES: usize = 1024 * 1024;

/// How often a connection may read before others have their turn.
const READS: usize = 8;

/// Drives one connection to its end.
pub struct Drive {
    worker: Rc<RefCell<Worker>>,
    key: Key,
}

impl Drive {
    pub(super) fn new(worker: Rc<RefCell<Worker>>, key: Key) -> Self {
        Self { worker, key }
    }

    /// Fetches what waits in a mailbox, about `max` bytes of it, and waits until there is something.
    ///
    /// # Errors
    /// The connection is closed, and why if the pod did it.
    pub async fn fetch(&self, max: usize) -> Result<Vec<u8>, Option<Disconnect>> {
        poll_fn(|cx| self.poll_fetch(max, cx)).await
    }

    /// [`Drive::fetch`], for what polls by itself.
    ///
    /// # Errors
    /// The connection is closed, and why if the pod did it.
    pub fn poll_fetch(&self, max: usize, cx: &mut Context<'_>) -> Poll<Result<Vec<u8>, Option<Disconnect>>> {
        self.worker.borrow_mut().poll_fetch(self.key, max, cx)
    }

    /// Takes about `max` bytes of what waits in a mailbox now, which may be nothing.
    #[must_use]
    pub fn take(&self, max: usize) -> Vec<u8> {
        let (mut bytes, mut worker) = (Vec::new(), self.worker.borrow_mut());
        let worker = &mut *worker;
        if let Some(connection) = worker.connections.get_mut(self.key as usize) {
            connection.collect(max, &mut worker.encoder, &mut bytes);
        }
        bytes
    }

    /// Lets a mailbox's client into the rooms that its request asked for.
    pub fn enter(&self, rooms: Vec<(SubscribeTo, Option<Leave>)>) {
        let mut worker = self.worker.borrow_mut();
        if let Some(connection) = worker.connections.get_mut(self.key as usize)
            && let Carrier::Mailbox(mailbox) = &mut connection.carrier
        {
            mailbox.asked();
        }
        worker.enter_rooms(self.key, rooms, None);
    }

    /// Where a mailbox's client stands once it has read what it fetched.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let worker = self.worker.borrow();
        match worker.connections.get(self.key as usize).map(|connection| &connection.carrier) {
            Some(Carrier::Mailbox(mailbox)) => mailbox.cursor().cloned().unwrap_or_default(),
            _ => Cursor::default(),
        }
    }

    /// The connection's name.
    #[must_use]
    pub fn name(&self) -> Option<ConnectionId> {
        self.worker.borrow().connections.get(self.key as usize).map(|connection| connection.session.id)
    }

    /// A mailbox's client has all that it asked for.
    pub fn finish(&self) {
        self.worker.borrow_mut().close(self.key, Disconnect::Normal);
    }

    /// Whether a mailbox's connection was closed and nobody fetched that in time: what still carries bytes for it should
    /// be cut off.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut worker = self.worker.borrow_mut();
        match worker.connections.get_mut(self.key as usize) {
            Some(connection) if connection.state != State::Gone => {
                connection.driven_by(cx.waker());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

impl Future for Drive {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.worker.borrow_mut().drive(self.key, cx)
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        // Taken while the pod is torn down: nobody is left to care.
        if let Ok(mut worker) = self.worker.try_borrow_mut() {
            worker.remove(self.key);
        }
    }
}

impl Worker {
    /// Takes a connection off.
    fn remove(&mut self, key: Key) {
        self.part(key);
        let Some(connection) = self.connections.get_mut(key as usize) else { return };
        for subscription in std::mem::take(&mut connection.subscriptions) {
            self.leave(key, subscription);
        }
        let connection = self.connections.remove(key as usize);
        let Metrics { connections, .. } = &self.services.metrics;
        connections.of(connection.carrier.name(), connection.format.dialect.index()).decrement(1);
        if let Some(user) = connection.session.grant.user() {
            self.directory.leave(user, key);
        }
        self.services.metrics.disconnected(connection.closed_with);
        self.journal.ended(&connection, self.now_ms());
    }

    /// Writes what waits and reads what came. `Ready`: the connection is over.
    fn drive(&mut self, key: Key, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(connection) = self.connections.get_mut(key as usize) {
            connection.driven_by(cx.waker());
        }
        for _ in 0..READS {
            let Some(connection) = self.connections.get_mut(key as usize) else { return Poll::Ready(()) };
            if connection.state == State::Gone {
                return Poll::Ready(());
            }
            if matches!(connection.carrier, Carrier::Mailbox(_)) {
                return Poll::Pending;
            }
            let waited = connection.owed() > 0;
            match connection.poll_drain(cx, &mut self.encoder, &mut self.buffers.sealed) {
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) if waited => {
                    self.catch_up(key);
                    continue;
                }
                Poll::Ready(Ok(())) => {}
                // Who does not read its replies is not asked for more commands.
                Poll::Pending if connection.owed() > self.owed_limit / 2 => return Poll::Pending,
                Poll::Pending => {}
            }
            // What is sent behind a decision is left in the kernel, once something waits for it here.
            if connection.is_deaf() {
                return Poll::Pending;
            }
            let read = match &mut connection.carrier {
                Carrier::WebSocket { socket, .. } => socket.poll_read(cx, &mut self.buffers),
                Carrier::WebTransport(streams) => streams.poll_read(cx, &mut self.buffers),
                Carrier::Mailbox(_) => return Poll::Pending,
            };
            let Poll::Ready(read) = read else { return Poll::Pending };
            let Ok(read) = read else {
                self.buffers.plain.clear();
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

    pub(super) fn poll_fetch(
        &mut self,
        key: Key,
        max: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Vec<u8>, Option<Disconnect>>> {
        let now_ms = self.now_ms();
        let Some(connection) = self.connections.get_mut(key as usize) else { return Poll::Ready(Err(None)) };
        if matches!(connection.carrier, Carrier::WebSocket { .. }) {
            // It goes on over a WebSocket: a request that still waits gets nothing (`6`).
            return Poll::Ready(Ok(b"6".to_vec()));
        }
        if connection.state == State::Open {
            connection.heard_ms = now_ms;
        }
        let mut bytes = Vec::new();
        let joining = connection.subscriptions.iter().any(|s| s.standing == Standing::Joining);
        if let Carrier::Mailbox(mailbox) = &mut connection.carrier
            && connection.state == State::Open
            && !mailbox.is_due(joining)
        {
            mailbox.fetched_by(cx.waker());
            return Poll::Pending;
        }
        let empty = connection.collect(max, &mut self.encoder, &mut bytes);
        if empty && connection.state == State::Open {
            self.catch_up(key);
        }
        let Some(connection) = self.connections.get_mut(key as usize) else { return Poll::Ready(Err(None)) };
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
        match &mut connection.carrier {
            Carrier::Mailbox(mailbox) if !upgrading => {
                mailbox.fetched_by(cx.waker());
                Poll::Pending
            }
            // What is said from now on goes another way: nothing (`6`) is all that this one gets.
            _ => Poll::Ready(Ok(b"6".to_vec())),
        }
    }

    /// Takes what was read and opened to the session.
    pub(super) fn received(&mut self, key: Key) {
        if self.connections.get(key as usize).is_some_and(|c| matches!(c.carrier, Carrier::WebTransport(_))) {
            return self.received_on_stream(key);
        }
        let mut plain = std::mem::take(&mut self.buffers.plain);
        let now_ms = self.now_ms();
        if let Some(connection) = self.connections.get_mut(key as usize)
            && connection.state == State::Open
            && !plain.is_empty()
        {
            connection.heard_ms = now_ms;
            connection.totals.bytes_in += plain.len() as u64;
            let mut reader = match &mut connection.carrier {
                Carrier::WebSocket { reader, .. } => std::mem::replace(reader, Reader::new(Role::Server, false)),
                Carrier::WebTransport(_) | Carrier::Mailbox(_) => return,
            };
            let mut inflater = self.inflater.take().unwrap_or_default();
            let limits = self.limits_of(key);
            let end = reader.read(&mut plain, &mut inflater, &limits, &mut |incoming| self.incoming(key, incoming));
            inflater.shrink();
            self.inflater = Some(inflater);
            if let Some(connection) = self.connections.get_mut(key as usize)
                && let Carrier::WebSocket { reader: place, .. } = &mut connection.carrier
            {
                *place = reader;
            }
            if let Err(disconnect) = end {
                self.close(key, disconnect);
            }
        }
        plain.clear();
        plain.shrink_to(64 * 1024);
        self.buffers.plain = plain;
    }

    /// As [`Worker::received`], for a session's stream of commands.
    fn received_on_stream(&mut self, key: Key) {
        let plain = std::mem::take(&mut self.buffers.plain);
        let (now_ms, max) = (self.now_ms(), self.message_limits.max_message);
        if let Some(connection) = self.connections.get_mut(key as usize)
            && connection.state == State::Open
            && let Carrier::WebTransport(streams) = &mut connection.carrier
        {
            connection.heard_ms = now_ms;
            connection.totals.bytes_in += plain.len() as u64;
            let mut reader = std::mem::take(&mut streams.reader);
            let mut invalid = false;
            let end = reader.read(&plain, max, &mut |message| match simdutf8::basic::from_utf8(message) {
                Ok(text) => self.incoming(key, Incoming::Text(text)),
                Err(_) => {
                    invalid = true;
                    ControlFlow::Break(())
                }
            });
            if let Some(connection) = self.connections.get_mut(key as usize)
                && let Carrier::WebTransport(streams) = &mut connection.carrier
            {
                streams.reader = reader;
            }
            if invalid {
                self.close(key, Disconnect::InvalidData);
            } else if end.is_err() {
                self.close(key, Disconnect::TooBig);
            }
        }
        self.buffers.plain = plain;
        self.buffers.plain.clear();
    }

    /// How large a connection's messages may be: an Engine.IO client is told a limit of its own.
    pub(super) fn limits_of(&mut self, key: Key) -> MessageLimits {
        let limits = self.message_limits;
        let link = self.connections.get_mut(key as usize).and_then(Connection::link);
        link.map_or(limits, |link| MessageLimits { max_message: link.endpoint.max_payload, ..limits })
    }

    fn incoming(&mut self, key: Key, incoming: Incoming<'_>) -> ControlFlow<()> {
        let now_ms = self.now_ms();
        let Some(connection) = self.connections.get_mut(key as usize) else { return ControlFlow::Break(()) };
        let message = match incoming {
            Incoming::Text(text) => Message::Text(text),
            Incoming::Binary(bytes) => Message::Binary(bytes),
            Incoming::Ping(payload) => {
                return match connection.session.control_frame(&self.limits, now_ms) {
                    Verdict::Fine => {
                        let mut pong = Vec::new();
                        websocket::pong_frame(payload, &mut pong);
                        match connection.say_urgent(&pong, &mut self.buffers.sealed, &self.services.budget) {
                            Ok(()) => ControlFlow::Continue(()),
                            Err(_) => ControlFlow::Break(()),
                        }
                    }
                    Verdict::Limited => ControlFlow::Continue(()),
                    Verdict::Flood => self.stop(key, Disconnect::Flood),
                };
            }
            Incoming::Pong(_) => {
                return match connection.session.control_frame(&self.limits, now_ms) {
                    Verdict::Flood => self.stop(key, Disconnect::Flood),
                    Verdict::Fine | Verdict::Limited => ControlFlow::Continue(()),
                };
            }
            Incoming::Close(_) => return self.stop(key, Disconnect::Normal),
        };
        self.take_message(key, message)
    }

    /// Takes a message, or keeps it while a token is verified.
    pub(super) fn take_message(&mut self, key: Key, message: Message<'_>) -> ControlFlow<()> {
        let Some(connection) = self.connections.get_mut(key as usize) else { return ControlFlow::Break(()) };
        if connection.state != State::Open {
            return ControlFlow::Break(());
        }
        let Some(aside) = &mut connection.aside else { return self.message(key, message) };
        let kept = aside.unheard.as_mut().map(|unheard| unheard.keep(message));
        match kept {
            Some(true) => ControlFlow::Continue(()),
            Some(false) => self.stop(key, Disconnect::Flood),
            None if aside.link.is_some() => self.packet(key, message),
            None => self.message(key, message),
        }
    }

    /// Takes a message to the session, and does what that asks for.
    pub(super) fn message(&mut self, key: Key, message: Message<'_>) -> ControlFlow<()> {
        let now_ms = self.now_ms();
        let Some(connection) = self.connections.get_mut(key as usize) else { return ControlFlow::Break(()) };
        connection.totals.messages_in = connection.totals.messages_in.wrapping_add(1);
        self.services.metrics.messages_in.increment(1);
        let services = std::sync::Arc::clone(&self.services);
        let dialect = services.dialects.get(connection.format.dialect);
        let policy = |room: &Room| services.policy(room);
        let (id, action) = connection.session.receive(message, dialect, policy, &self.limits, now_ms);
        if let Some(realtime) = &services.metrics.realtime {
            realtime.received(match &action {
                Action::Reply(Reply::Pong) => "system:ping",
                Action::Subscribe(_) => "room:join",
                Action::Unsubscribe(_) => "room:leave",
                _ => "other",
            });
        }
        if let Action::Close(disconnect) = action {
            return self.stop(key, disconnect);
        }
        self.act(key, id, action);
        ControlFlow::Continue(())
    }

    pub(super) fn stop(&mut self, key: Key, disconnect: Disconnect) -> ControlFlow<()> {
        self.close(key, disconnect);
        ControlFlow::Break(())
    }

    /// Does what a session asks for.
    pub(super) fn act(&mut self, key: Key, id: Option<CommandId>, action: Action) {
        match action {
            Action::Nothing | Action::Close(_) => {}
            Action::Reply(reply) => self.reply(key, &reply, id.as_ref()),
            Action::Authenticate(token) => self.authenticate(key, token, id),
            Action::Stats => self.tell_stats(key, id.as_ref()),
            Action::Subscribe(rooms) => self.subscribe(key, rooms, id.as_ref()),
            Action::Unsubscribe(room) => self.unsubscribe(key, room, id.as_ref()),
            Action::Publish(room, publication) => self.publish(key, id, room, publication),
            Action::Presence(room) | Action::History { room, .. } if !self.may_ask_of(key, &room) => {
                let message = format!("the backend decides who may join {room}: join it first");
                self.reply(
                    key,
                    &Reply::Error { code: ErrorCode::NotSubscribed, message, room: Some(room) },
                    id.as_ref(),
                );
            }
            Action::Presence(room) => {
                let presence = std::sync::Arc::clone(&self.services.presence);
                self.answer_later(key, id, async move {
                    let list = presence.list(&room, PRESENCE_LIMIT).await;
                    list.map(|list| Reply::Presence { room, list })
                });
            }
            Action::History { room, since, limit } => {
                let broker = std::sync::Arc::clone(&self.services.broker);
                self.answer_later(key, id, async move {
                    let query = HistoryQuery { since, until: None, max_events: limit, max_bytes: HISTORY_BYTES };
                    let history = broker.history(&room, query).await?;
                    let crate::broker::History { epoch, after, offset, complete, mut events, .. } = history;
                    // Of a log that rooms share nobody gets what was for those rooms.
                    events.retain(|event| event.is_of(&room));
                    Ok(Reply::History { room, epoch, after, offset, complete, events })
                });
            }
        }
    }

    fn tell_stats(&mut self, key: Key, id: Option<&CommandId>) {
        let Some(connection) = self.connections.get(key as usize) else { return };
        let totals = connection.totals;
        let stats = Stats {
            transport: connection.carrier.name(),
            dialect: std::sync::Arc::clone(self.services.dialects.name(connection.format.dialect)),
            tls: connection.carrier.is_tls(),
            compression: connection.format.framing.compression(),
            connected_ms: self.now_ms().saturating_sub(connection.since_ms),
            rooms: connection.subscriptions.len(),
            messages_in: totals.messages_in,
            bytes_in: totals.bytes_in,
            frames_out: totals.frames_out,
            bytes_out: totals.bytes_out,
            bytes_plain: totals.bytes_plain,
        };
        self.reply(key, &Reply::Stats(stats), id);
    }

    /// Answers when the broker has.
    fn answer_later(
        &self,
        key: Key,
        id: Option<CommandId>,
        answer: impl Future<Output = Result<Reply, BrokerError>> + 'static,
    ) {
        let Some(connection) = self.connections.get(key as usize) else { return };
        let (me, name) = (self.me.clone(), connection.session.id);
        tokio::task::spawn_local(async move {
            let reply = answer.await.unwrap_or_else(|error| refusal(&error));
            if let Some(worker) = me.upgrade() {
                worker.borrow_mut().reply_to(key, name, &reply, id.as_ref());
            }
        });
    }

    pub(super) fn reply_to(&mut self, key: Key, name: ConnectionId, reply: &Reply, id: Option<&CommandId>) {
        if self.connections.get(key as usize).is_some_and(|c| c.session.id == name) {
            self.reply(key, reply, id);
        }
    }
}

/// What a client is told of a broker's failure.
pub(super) fn refusal(error: &BrokerError) -> Reply {
    let code = match error {
        BrokerError::Unavailable(_) => ErrorCode::Unavailable,
        BrokerError::Unknown => ErrorCode::Unknown,
        BrokerError::TooLarge { .. } => ErrorCode::LimitExceeded,
        BrokerError::UnknownTopic => ErrorCode::BadRequest,
    };
    Reply::Error { code, message: error.to_string(), room: None }
}
