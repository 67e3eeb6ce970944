//! Engine.IO sessions on a worker: packets in, the heartbeat, who is in which namespace.
//!
//! Never looks into an event: that is its dialect's. Always holds: an event reaches its dialect only from a namespace that
//! the client is connected to; whoever breaks the protocol is closed.

use std::{ops::ControlFlow, sync::Arc, task::Poll, time::SystemTime};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use smallvec::SmallVec;

use super::{
    Key, Worker,
    connection::{Connection, State},
    identity::poll_once,
    timers::Timed,
};
use crate::{
    auth::{Grant, TokenError},
    model::{CommandId, Disconnect, Reconnect, Token},
    protocol::{
        DialectId, Framing, Message, MessageKind, Messages, Opening,
        engineio::{self, Packet, Transport, Within},
        socketio::{self, Envelope, Heard, Kind, StreamOffset},
    },
    session::{Beat, ConnectionId, Keeping, Link, Space, Verdict},
    transport::websocket::{Frame, Opcode, frame_messages},
};

/// What a client says of itself when it connects to a namespace. Anything else in it is the application's own.
struct Auth {
    /// As it was sent; empty: nothing.
    json: Box<str>,
    token: Option<Token>,
    /// The session that it had, and the last event that it got.
    comes_back: Option<(Box<str>, StreamOffset)>,
}

impl Auth {
    fn parse(json: &str) -> Self {
        let fields = serde_json::from_str::<serde_json::Value>(json).unwrap_or_default();
        let text = |name: &str| fields.get(name).and_then(serde_json::Value::as_str);
        let offset = text("offset").and_then(StreamOffset::parse);
        let comes_back = text("pid").map(Into::into).zip(offset);
        Self { json: json.into(), token: text("token").map(Token::new), comes_back }
    }
}

/// A name that cannot be guessed: 120 bits in base64url.
fn secret_name() -> Option<Box<str>> {
    let mut bytes = [0; 15];
    getrandom::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes).into())
}

impl Connection {
    /// Whether a session that polls ends without a word: for what its client did, with no request that waits.
    pub(super) fn ends_unheard(&mut self, disconnect: Disconnect) -> bool {
        let clients_own = matches!(disconnect, Disconnect::Normal | Disconnect::InvalidData | Disconnect::PingTimeout);
        clients_own && self.link().is_some_and(|link| !link.fetching)
    }

    /// What tells a client of Engine.IO that it is closed: it comes back by itself unless it is told to leave first.
    pub(super) fn engine_goodbye(&mut self, disconnect: Disconnect) -> Option<Vec<u8>> {
        let (format, link) = (self.format, self.link()?);
        let stays_away = matches!(disconnect.reconnect(), Reconnect::Never | Reconnect::WithNewToken)
            && !matches!(disconnect, Disconnect::Normal | Disconnect::ProtocolError | Disconnect::InvalidData);
        let mut messages = Messages::default();
        if stays_away && let Within::SocketIo(namespaces) = &link.endpoint.within {
            for (name, dialect) in namespaces.iter() {
                if link.spaces.iter().any(|space| space.dialect == *dialect) {
                    socketio::disconnect(name, &mut messages);
                }
            }
        }
        let mut out = Vec::new();
        match format.framing {
            Framing::WebSocket { .. } => {
                frame_messages(&messages, None, &mut out);
                // Without a status, as the protocol's own servers close.
                Frame::new(Opcode::Close, &[]).write_server(&mut out);
            }
            Framing::Payload | Framing::Elements | Framing::EventStream => {
                let last = if disconnect == Disconnect::Normal { b'6' } else { b'1' };
                messages.push(MessageKind::Text, |out| out.push(last));
                engineio::write_payload(&messages, &mut out);
            }
        }
        Some(out)
    }
}

impl Worker {
    /// The place of the open session of that name.
    #[must_use]
    pub fn session_at(&self, name: ConnectionId) -> Option<Key> {
        let key = self.names_given.place(name);
        let connection = self.connections.get(key as usize)?;
        (connection.session.id == name && connection.is_engine()).then_some(key)
    }

    /// Says packets that no dialect writes.
    pub(super) fn say_packets(&mut self, key: Key, write: impl FnOnce(&mut Messages)) {
        let Some(connection) = self.connections.get_mut(key as usize) else { return };
        if connection.state != State::Open {
            return;
        }
        let mut bytes = Vec::new();
        self.encoder.packets(connection.format, write, &mut bytes);
        if connection.say(&bytes, &mut self.buffers.sealed, &self.services.budget).is_err() {
            connection.wake();
        }
    }

    /// Opens a session: its first packet, and what a dialect without namespaces says first.
    pub(super) fn open_session(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key as usize) else { return };
        let (id, framing) = (connection.session.id, connection.format.framing);
        let Some(link) = connection.link() else { return };
        let (endpoint, target) = (Arc::clone(&link.endpoint), link.target.clone());
        let transport = match framing {
            Framing::WebSocket { .. } => Transport::WebSocket,
            Framing::Payload | Framing::Elements | Framing::EventStream => Transport::Polling,
        };
        let services = Arc::clone(&self.services);
        // There are far fewer workers than 65,536.
        let sid = services.session_key.name(services.pod, self.index as u16, id.0);
        self.say_packets(key, |out| engineio::open(&endpoint, sid, transport, out));
        if let Within::Messages(_) = endpoint.within {
            self.open(key, &target);
        }
    }

    /// Takes one packet.
    pub(super) fn packet(&mut self, key: Key, message: Message<'_>) -> ControlFlow<()> {
        let now_ms = self.now_ms();
        let limits = self.limits;
        let Some(connection) = self.connections.get_mut(key as usize) else { return ControlFlow::Break(()) };
        let Ok(packet) = Packet::parse(message) else { return self.stop(key, Disconnect::InvalidData) };
        match packet {
            Packet::Text(text) => self.data(key, Message::Text(text)),
            Packet::Binary(bytes) => self.data(key, Message::Binary(bytes)),
            Packet::Close => self.stop(key, Disconnect::Normal),
            // Only the server pings, but for a probe, which is not a session's own.
            Packet::Ping(_) => self.stop(key, Disconnect::InvalidData),
            Packet::Pong | Packet::Open | Packet::Upgrade | Packet::Noop => {
                if connection.session.control_frame(&limits, now_ms) == Verdict::Flood {
                    return self.stop(key, Disconnect::Flood);
                }
                if let (Packet::Pong, Some(link)) = (packet, connection.link()) {
                    link.pong(now_ms);
                }
                ControlFlow::Continue(())
            }
        }
    }

    /// Takes what a packet of type `message` holds.
    fn data(&mut self, key: Key, message: Message<'_>) -> ControlFlow<()> {
        self.services.metrics.messages_in.increment(1);
        let Some(connection) = self.connections.get_mut(key as usize) else { return ControlFlow::Break(()) };
        connection.totals.messages_in = connection.totals.messages_in.wrapping_add(1);
        let Some(link) = connection.link() else { return ControlFlow::Break(()) };
        if let Within::Messages(dialect) = link.endpoint.within {
            return self.command(key, dialect, None, message, &[]);
        }
        let max = link.endpoint.max_payload;
        let mut assembly = std::mem::take(&mut link.assembly);
        let taken = assembly.take(message, max, |heard| self.heard(key, heard));
        if let Some(link) = self.connections.get_mut(key as usize).and_then(Connection::link) {
            link.assembly = assembly;
        }
        match taken {
            Ok(flow) => flow.unwrap_or(ControlFlow::Continue(())),
            Err(_) => self.stop(key, Disconnect::ProtocolError),
        }
    }

    /// Takes a Socket.IO packet that is whole.
    fn heard(&mut self, key: Key, heard: Heard<'_>) -> ControlFlow<()> {
        let Heard { packet, parts } = heard;
        let Some(link) = self.connections.get_mut(key as usize).and_then(Connection::link) else {
            return ControlFlow::Break(());
        };
        let known = link.endpoint.namespace(packet.namespace);
        let inside = known.filter(|dialect| link.spaces.iter().any(|space| space.dialect == *dialect));
        match (packet.kind, inside) {
            (Kind::Connect, None) => self.connect(key, packet.namespace, known, packet.data),
            (Kind::Event, Some(_)) if packet.data.is_empty() => ControlFlow::Continue(()),
            (Kind::Event, Some(dialect)) => {
                let id = Envelope::command_id(packet.namespace, packet.id);
                self.command(key, dialect, Some(id), Message::Text(packet.data), &parts)
            }
            // Nothing that we say asks for an acknowledgement.
            (Kind::Ack, Some(_)) => ControlFlow::Continue(()),
            (Kind::Disconnect, Some(dialect)) => {
                self.leave_namespace(key, dialect);
                ControlFlow::Continue(())
            }
            _ => self.stop(key, Disconnect::ProtocolError),
        }
    }

    /// Has a dialect read a message, and does what that asks for.
    fn command(
        &mut self,
        key: Key,
        dialect: DialectId,
        id: Option<CommandId>,
        message: Message<'_>,
        parts: &[bytes::Bytes],
    ) -> ControlFlow<()> {
        let now_ms = self.now_ms();
        let services = Arc::clone(&self.services);
        let Some(connection) = self.connections.get_mut(key as usize) else { return ControlFlow::Break(()) };
        let decode = || match services.dialects.get(dialect).decode_parts(message, parts) {
            Ok(mut request) => {
                request.id = id.or(request.id);
                Ok(request)
            }
            Err(mut error) => {
                error.id = id.or(error.id);
                Err(error)
            }
        };
        let policy = |room: &crate::model::Room| services.policy(room);
        let (id, action) = connection.session.receive_with(decode, policy, &self.limits, now_ms);
        if let crate::session::Action::Close(disconnect) = action {
            return self.stop(key, disconnect);
        }
        self.act(key, id, action);
        ControlFlow::Continue(())
    }

    /// A client wants into a namespace. Its token, if it has one, is verified first.
    fn connect(&mut self, key: Key, namespace: &str, dialect: Option<DialectId>, data: &str) -> ControlFlow<()> {
        let (now_ms, limits) = (self.now_ms(), self.limits);
        let Some(connection) = self.connections.get_mut(key as usize) else { return ControlFlow::Break(()) };
        match connection.session.command(&limits, now_ms) {
            Verdict::Flood => return self.stop(key, Disconnect::Flood),
            Verdict::Limited => {
                let message = "too many commands: slow down, or be closed";
                self.say_packets(key, |out| socketio::connect_error(namespace, message, Some("rate_limited"), out));
                return ControlFlow::Continue(());
            }
            Verdict::Fine => {}
        }
        let Some(dialect) = dialect else {
            self.say_packets(key, |out| socketio::connect_error(namespace, "Invalid namespace", None, out));
            return ControlFlow::Continue(());
        };
        let auth = Auth::parse(data);
        let authority = Arc::clone(&self.services.authority);
        match &auth.token {
            // Where nobody judges tokens, it is the application's own affair.
            Some(token) if authority.is_enabled() => {
                let (me, name, token) = (self.me.clone(), connection.session.id, token.clone());
                let mut verified = Box::pin(async move { authority.verify(&token, SystemTime::now()).await });
                if let Poll::Ready(result) = poll_once(verified.as_mut()) {
                    self.connect_verified(key, dialect, &auth, result);
                    return ControlFlow::Continue(());
                }
                connection.stop_hearing();
                tokio::task::spawn_local(async move {
                    let result = verified.await;
                    let Some(worker) = me.upgrade() else { return };
                    let mut worker = worker.borrow_mut();
                    if worker.is(key, name) {
                        worker.connect_verified(key, dialect, &auth, result);
                        worker.hear(key);
                    }
                });
            }
            _ if connection.session.awaits_token => self.refuse(key, dialect, "not authorized", "unauthorized"),
            _ => self.connect_granted(key, dialect, &auth),
        }
        ControlFlow::Continue(())
    }

    fn connect_verified(&mut self, key: Key, dialect: DialectId, auth: &Auth, result: Result<Grant, TokenError>) {
        match result {
            Ok(grant) => match self.replace(key, grant.clone()) {
                Ok(_) => {
                    self.review(key, &grant);
                    self.connect_granted(key, dialect, auth);
                }
                Err(message) => self.refuse(key, dialect, &message, "unauthorized"),
            },
            Err(error) if error.is_outage() => self.refuse(key, dialect, &error.to_string(), "unavailable"),
            Err(error) => self.refuse(key, dialect, &error.to_string(), "unauthorized"),
        }
    }

    fn refuse(&mut self, key: Key, dialect: DialectId, message: &str, code: &str) {
        let Some(name) = self.namespace_name(key, dialect) else { return };
        self.say_packets(key, |out| socketio::connect_error(&name, message, Some(code), out));
    }

    /// Lets a client into a namespace, as the one that it was if it comes back.
    fn connect_granted(&mut self, key: Key, dialect: DialectId, auth: &Auth) {
        let Some(link) = self.connections.get_mut(key as usize).and_then(Connection::link) else { return };
        match (&auth.comes_back, link.endpoint.timing.recovery) {
            (Some((pid, offset)), Some(_)) => self.come_back(key, dialect, pid.clone(), offset.clone(), &auth.json),
            _ => self.begin_session(key, dialect, &auth.json),
        }
    }

    /// Begins a new session in a namespace.
    pub(super) fn begin_session(&mut self, key: Key, dialect: DialectId, auth: &str) {
        let Some(name) = self.namespace_name(key, dialect) else { return };
        let Some(connection) = self.connections.get_mut(key as usize) else { return };
        let Some(link) = connection.link() else { return };
        let (timing, target) = (link.endpoint.timing, link.target.clone());
        let pid = if timing.recovery.is_some() { secret_name() } else { None };
        let Some(sid) = secret_name() else {
            self.close(key, Disconnect::InternalError);
            return;
        };
        self.say_packets(key, |out| socketio::connected(&name, &sid, pid.as_deref(), out));
        self.enter(key, dialect, sid, pid);
        let Some(connection) = self.connections.get_mut(key as usize) else { return };
        let (id, grant) = (connection.session.id.to_string(), connection.session.grant.clone());
        let opening = Opening {
            connection: &id,
            target: &target,
            grant: &grant,
            auth: (!auth.is_empty()).then_some(auth),
            ping_interval_ms: super::clock::millis(timing.ping_interval),
            limits: self.limits.told,
        };
        let mut bytes = Vec::new();
        let format = crate::protocol::WireFormat { dialect, ..connection.format };
        let opened = self.encoder.open(format, &opening, &mut bytes);
        if !bytes.is_empty() && connection.say(&bytes, &mut self.buffers.sealed, &self.services.budget).is_err() {
            connection.wake();
        }
        match opened {
            Ok(rooms) => {
                self.identify(key);
                self.subscribe(key, rooms, Some(&Envelope::command_id(&name, None)));
                self.keep(key, dialect);
            }
            Err(disconnect) => self.close_after(key, disconnect),
        }
    }

    /// Puts a client into a namespace.
    pub(super) fn enter(&mut self, key: Key, dialect: DialectId, sid: Box<str>, pid: Option<Box<str>>) {
        let Some(link) = self.connections.get_mut(key as usize).and_then(Connection::link) else { return };
        let (keeping, joined) = (Keeping::default(), SmallVec::new());
        link.enter(Space { dialect, sid, pid, recovering: None, keeping, joined });
    }

    /// A client leaves a namespace of its own will: it is in none of its rooms any more, and does not come back.
    pub(super) fn leave_namespace(&mut self, key: Key, dialect: DialectId) {
        self.forget(key, dialect);
        let Some(connection) = self.connections.get_mut(key as usize) else { return };
        let subscriptions = std::mem::take(&mut connection.subscriptions);
        let (left, kept) = subscriptions.into_iter().partition(|s| s.dialect == dialect);
        connection.subscriptions = kept;
        let left: SmallVec<[super::connection::Subscription; 1]> = left;
        if let Some(link) = connection.link() {
            link.spaces.retain(|space| space.dialect != dialect);
        }
        for subscription in left {
            self.leave(key, subscription);
        }
    }

    /// The name of the namespace in which a dialect is spoken.
    pub(super) fn namespace_name(&mut self, key: Key, dialect: DialectId) -> Option<Box<str>> {
        self.connections.get_mut(key as usize)?.link()?.name_of(dialect)
    }

    /// The dialect of the namespace that a command came from; `None`: there are no namespaces.
    pub(super) fn namespace_of(&mut self, key: Key, id: Option<&CommandId>) -> Option<DialectId> {
        self.connections.get_mut(key as usize)?.link()?.answers(id)
    }

    /// As whose answer something is told of a room, so that it reaches the namespace that is in it.
    pub(super) fn namespace_id(&mut self, key: Key, number: u32) -> Option<CommandId> {
        let connection = self.connections.get_mut(key as usize)?;
        let dialect = connection.subscriptions.iter().find(|s| s.room == number)?.dialect;
        let name = connection.link()?.name_of(dialect)?;
        Some(Envelope::command_id(&name, None))
    }

    /// What is due by a session's heartbeat.
    pub(super) fn beat(&mut self, key: Key, id: ConnectionId, now_ms: u64) {
        let Some(link) = self.connections.get_mut(key as usize).and_then(Connection::link) else { return };
        let next = match link.look(now_ms) {
            Beat::Wait(next) => next,
            Beat::Ping(next) => {
                self.say_packets(key, engineio::ping);
                next
            }
            Beat::Dead => return self.close(key, Disconnect::PingTimeout),
            Beat::Unconnected => return self.close(key, Disconnect::Normal),
        };
        self.keep_alive(key, now_ms);
        self.wheel.schedule(next, Timed::Connection(key, id));
    }
}

impl Link {
    /// The name of a dialect's namespace.
    pub(super) fn name_of(&self, dialect: DialectId) -> Option<Box<str>> {
        let Within::SocketIo(namespaces) = &self.endpoint.within else { return None };
        namespaces.iter().find(|(_, known)| *known == dialect).map(|(name, _)| name.clone())
    }

    /// The dialect in which a command is answered, if the client is there.
    pub(super) fn answers(&self, id: Option<&CommandId>) -> Option<DialectId> {
        if let Within::Messages(dialect) = self.endpoint.within {
            return Some(dialect);
        }
        let dialect = match id {
            Some(id) => self.endpoint.namespace(Envelope::read_id(id).0)?,
            None => self.spaces.first()?.dialect,
        };
        self.spaces.iter().any(|space| space.dialect == dialect).then_some(dialect)
    }
}
