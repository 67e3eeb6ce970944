//! What a dialect says to one connection unasked: the first things, the greeting in a room, signs of life.
//!
//! Never decides whether a connection may be where it is. Always holds: what a dialect says first leaves first; a polling client, which
//! comes and goes with each answer, is not greeted each time.

use crate::{
    hub::{
        access::opening_request::OpeningRequest,
        connection::{key::ConnectionKey, state::State},
        core::clients::Clients,
        fanout::encoder::Encoder,
        worker::{clock::millis, timers::Timed},
    },
    model::{Disconnect, ErrorCode, Room},
    protocol::{DialectId, OpenOutcome, Opening, ServerPush, WireFormat},
    session::ConnectionId,
};

impl Clients {
    /// Says what a connection's dialect says first; what follows from that. `None`: the connection is gone.
    pub(crate) fn say_first(
        &mut self,
        key: ConnectionKey,
        request: &OpeningRequest,
    ) -> Option<Result<OpenOutcome, Disconnect>> {
        let mut bytes = Vec::new();
        let opened =
            self.with_opening(key, request, |encoder, format, opening| encoder.open(format, opening, &mut bytes));
        if let Some(observer) = self.services.metrics.observer.as_ref().filter(|_| !bytes.is_empty()) {
            observer.connection_greeted();
        }
        self.push(key, &bytes);
        opened
    }

    /// The rooms in which a connection's dialect begins, where its clients may not leave these. Nothing is said.
    pub(crate) fn begins_in(&mut self, key: ConnectionKey, request: &OpeningRequest) -> Vec<Room> {
        let opened =
            self.with_opening(key, request, |encoder, format, opening| encoder.open(format, opening, &mut Vec::new()));
        opened.and_then(Result::ok).map(|outcome| outcome.named).unwrap_or_default()
    }

    /// Greets a connection in its first room. `replayed`: what it missed follows.
    pub(crate) fn greet(&mut self, key: ConnectionKey, request: &OpeningRequest, replayed: bool) {
        let mut bytes = Vec::new();
        self.with_opening(key, request, |encoder, format, opening| {
            encoder.server_push(format, &ServerPush::Greeting { opening, replayed }, &mut bytes);
        });
        self.push(key, &bytes);
    }

    /// Tells a connection that it cannot begin, and closes it.
    pub(crate) fn turn_off(&mut self, key: ConnectionKey, request: &OpeningRequest, code: ErrorCode, message: &str) {
        let mut bytes = Vec::new();
        self.with_opening(key, request, |encoder, format, opening| {
            encoder.server_push(format, &ServerPush::Refused { opening, code, message }, &mut bytes);
        });
        self.push(key, &bytes);
        // What the log cannot say now it can say later.
        let disconnect = if code == ErrorCode::Unavailable { Disconnect::Overloaded } else { Disconnect::Refused };
        self.close_after(key, disconnect);
    }

    /// Has something written with what is known of a connection.
    fn with_opening<T>(
        &mut self,
        key: ConnectionKey,
        request: &OpeningRequest,
        write: impl FnOnce(&mut Encoder, WireFormat, &Opening<'_>) -> T,
    ) -> Option<T> {
        let limits = self.settings.limits.in_welcome;
        let connection = self.connections.get_mut(key)?;
        let (name, grant) = (connection.session.id.to_string(), connection.session.grant.clone());
        let format = WireFormat { dialect: request.dialect, ..connection.format.of_commands() };
        let ping_interval_ms = match connection.link() {
            Some(link) => millis(link.endpoint.timing.ping_interval),
            None => self.settings.limits.ping_interval_ms,
        };
        let auth = (!request.auth.is_empty()).then_some(&*request.auth);
        let opening = Opening {
            connection: &name,
            target: &request.target,
            grant: &grant,
            auth,
            ping_interval_ms,
            limits,
            resumes: true,
        };
        Some(write(&mut self.encoder, format, &opening))
    }

    /// Sends what a dialect wrote for one connection, unless it comes and goes with each answer.
    fn push(&mut self, key: ConnectionKey, bytes: &[u8]) {
        let attends = self.connections.get(key).is_some_and(|connection| connection.transport.attends());
        if attends && !bytes.is_empty() {
            self.say(key, bytes);
        }
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
        self.encoder.server_push(format, &ServerPush::Heartbeat, &mut bytes);
        self.push(key, &bytes);
        self.begin_heartbeat(key, dialect);
    }
}
