//! How a connection begins once it is let in: what its dialect says first, the rooms that it enters unasked, the greeting
//! that waits for the first of them, the signs of life that follow.
//!
//! Never decides whether a room may be entered. Always holds: a connection that is greeted in a room hears of that before anything
//! that comes there, or is refused and closed.

use std::sync::Arc;

use http::Uri;

use crate::{
    broker::BrokerError,
    hub::{
        ConnectionKey, Worker,
        connection::State,
        membership::pending_join::JoinPurpose,
        membership::subscribe::{SubscribeOutcome, SubscribeRequest},
        worker::{clock::millis, timers::Timed},
    },
    model::{CommandId, Disconnect, ErrorCode, Reply, Room, Since, SubscribeTo},
    protocol::{DialectId, OpenOutcome, Opening, ServerPush, WireFormat},
    session::ConnectionId,
};

/// What a connection asked for when it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpeningRequest {
    /// In which dialect.
    pub dialect: DialectId,
    /// Path and query.
    pub target: Uri,
    /// What it said of itself, as JSON; empty: nothing.
    pub auth: Box<str>,
    /// As whose answer it is told of its rooms.
    pub id: Option<CommandId>,
}

/// The first room of a connection, and what waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstRoom {
    asked: OpeningRequest,
    /// Whether it is greeted there.
    greets: bool,
    /// The other rooms.
    pub rest: Vec<SubscribeTo>,
    /// As whose answer it is told of them.
    pub id: Option<CommandId>,
}

impl Worker {
    /// Begins a connection as its dialect does; whether it was not refused.
    pub(crate) fn begin_connection(&mut self, key: ConnectionKey, asked: OpeningRequest) -> bool {
        let mut bytes = Vec::new();
        let opened =
            self.with_opening(key, &asked, |worker, format, opening| worker.encoder.open(format, opening, &mut bytes));
        if let Some(observer) = self.services.metrics.observer.as_ref().filter(|_| !bytes.is_empty()) {
            observer.connection_greeted();
        }
        self.tell_bytes(key, &bytes);
        let Some(opened) = opened else { return false };
        let OpenOutcome { mut rooms, greets_in_room: greets, after } = match opened {
            Ok(beginning) => beginning,
            Err(disconnect) => {
                self.close_after(key, disconnect);
                return false;
            }
        };
        self.identify(key);
        self.begin_heartbeat(key, asked.dialect);
        if rooms.is_empty() || !(greets || after.is_some()) {
            self.subscribe(key, rooms, asked.id.as_ref());
            return true;
        }
        let room = rooms.remove(0);
        let id = asked.id.clone();
        let first = FirstRoom { asked, greets, rest: rooms, id };
        match after {
            Some(event) if self.may_read(key, &room.room) => self.look_up_event(key, event, room, first),
            _ => self.enter_first(key, room, first),
        }
        true
    }

    /// Has something done with what is known of a connection.
    fn with_opening<T>(
        &mut self,
        key: ConnectionKey,
        asked: &OpeningRequest,
        act: impl FnOnce(&mut Self, WireFormat, &Opening<'_>) -> T,
    ) -> Option<T> {
        let limits = self.limits.told;
        let connection = self.connections.get_mut(key)?;
        let (name, grant) = (connection.session.id.to_string(), connection.session.grant.clone());
        let format = WireFormat { dialect: asked.dialect, ..connection.format.of_commands() };
        let ping_interval_ms = match connection.link() {
            Some(link) => millis(link.endpoint.timing.ping_interval),
            None => self.limits.ping_interval_ms,
        };
        let auth = (!asked.auth.is_empty()).then_some(&*asked.auth);
        let opening =
            Opening { connection: &name, target: &asked.target, grant: &grant, auth, ping_interval_ms, limits };
        Some(act(self, format, &opening))
    }

    /// Sends what a dialect wrote for one connection.
    fn tell_bytes(&mut self, key: ConnectionKey, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        // A poll comes and goes with each answer, and is not greeted each time.
        if !bytes.is_empty()
            && connection.state == State::Open
            && connection.transport.attends()
            && connection.say(bytes, &mut self.buffers.sealed, &self.services.budget).is_err()
        {
            connection.wake();
        }
    }

    /// Whether a connection may read the log of a room, and there is one.
    fn may_read(&self, key: ConnectionKey, room: &Room) -> bool {
        let policy = self.services.policy(room);
        let grant = self.connections.get(key).map(|connection| &connection.session.grant);
        policy.history_size > 0 && grant.is_some_and(|grant| grant.may_join(room, policy.join))
    }

    /// Finds the event behind which a connection goes on in its first room. What it sends meanwhile waits.
    fn look_up_event(&mut self, key: ConnectionKey, event: Box<str>, room: SubscribeTo, first: FirstRoom) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let (me, name, services) = (self.me.clone(), connection.session.id, Arc::clone(&self.services));
        connection.pause_input();
        tokio::task::spawn_local(async move {
            let found: Result<Option<Since>, BrokerError> =
                services.event_index.position_of(&*services.broker, &room.room, &event).await;
            let Some(worker) = me.upgrade() else { return };
            let mut worker = worker.borrow_mut();
            if !worker.connections.is(key, name) {
                return;
            }
            match found {
                Ok(since) => {
                    if since.is_none() {
                        services.metrics.recoveries.gone.increment(1);
                    }
                    worker.enter_first(key, SubscribeTo { since, ..room }, first);
                }
                Err(error) => worker.first_refused(key, room.room, first, ErrorCode::Unavailable, error.to_string()),
            }
            worker.resume_input(key);
        });
    }

    fn enter_first(&mut self, key: ConnectionKey, room: SubscribeTo, first: FirstRoom) {
        let SubscribeTo { room, since, spelling } = room;
        let dialect = self.connections.get(key).and_then(|connection| connection.dialect_of(first.id.as_ref()));
        let purpose = JoinPurpose::Begin(Box::new(first.clone()));
        let entry = SubscribeRequest { since, spelling, dialect, purpose, ..SubscribeRequest::default() };
        match self.subscribe_to(key, &room, entry) {
            Ok(SubscribeOutcome::Begun) => {}
            Ok(SubscribeOutcome::NeedsPermit(entry)) => self.ask_hook(key, vec![(room, entry)]),
            Err((code, message)) => self.first_refused(key, room, first, code, message),
        }
    }

    /// A connection is in its first room, and nothing of it was sent yet.
    pub(crate) fn entered_first(&mut self, key: ConnectionKey, first: &FirstRoom, replayed: bool) {
        if first.greets {
            self.greet(key, &first.asked, replayed);
        }
    }

    /// A connection cannot enter its first room.
    pub(crate) fn first_refused(
        &mut self,
        key: ConnectionKey,
        room: Room,
        first: FirstRoom,
        code: ErrorCode,
        message: String,
    ) {
        let FirstRoom { asked, greets, rest, id } = first;
        if !greets {
            self.reply(key, &Reply::Error { code, message, room: Some(room) }, id.as_ref());
            return self.subscribe(key, rest, id.as_ref());
        }
        let mut bytes = Vec::new();
        self.with_opening(key, &asked, |worker, format, opening| {
            let refused = ServerPush::Refused { opening, code, message: &message };
            worker.encoder.unasked(format, &refused, &mut bytes);
        });
        self.tell_bytes(key, &bytes);
        // What the log cannot say now it can say later.
        let disconnect = if code == ErrorCode::Unavailable { Disconnect::Overloaded } else { Disconnect::Refused };
        self.close_after(key, disconnect);
    }

    pub(crate) fn greet(&mut self, key: ConnectionKey, asked: &OpeningRequest, replayed: bool) {
        let mut bytes = Vec::new();
        self.with_opening(key, asked, |worker, format, opening| {
            worker.encoder.unasked(format, &ServerPush::Greeting { opening, replayed }, &mut bytes);
        });
        self.tell_bytes(key, &bytes);
    }

    /// Puts a connection's first sign of life on the wheel, if its dialect gives any.
    pub(crate) fn begin_heartbeat(&mut self, key: ConnectionKey, dialect: DialectId) {
        let now_ms = self.timers.now_ms();
        let Some(interval) = self.services.dialects.get(dialect).abilities().heartbeat else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        let (id, due) = (connection.session.id, now_ms + millis(interval));
        if let Some(space) = connection.link().and_then(|link| link.space(dialect)) {
            space.heartbeat_due_ms = due;
        }
        self.timers.schedule(due, Timed::Heartbeat(key, id, dialect, due));
    }

    /// A sign of life may be due.
    pub(crate) fn heartbeat(
        &mut self,
        key: ConnectionKey,
        id: ConnectionId,
        dialect: DialectId,
        due: u64,
        now_ms: u64,
    ) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.session.id != id || connection.state != State::Open {
            return;
        }
        // In a namespace that was left, and perhaps entered anew, this one is over.
        if connection.link().is_some_and(|link| !link.expects_heartbeat(dialect, due)) {
            return;
        }
        if now_ms < due {
            return self.timers.schedule(due, Timed::Heartbeat(key, id, dialect, due));
        }
        let format = WireFormat { dialect, ..connection.format.of_commands() };
        let mut bytes = Vec::new();
        self.encoder.unasked(format, &ServerPush::Heartbeat, &mut bytes);
        self.tell_bytes(key, &bytes);
        self.begin_heartbeat(key, dialect);
    }
}
