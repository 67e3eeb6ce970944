//! The namespaces of Socket.IO: connecting with a token or without, beginning, leaving.
//!
//! Always holds: a client is told that it is connected before anything else of that namespace, but for what it missed.

use std::{ops::ControlFlow, sync::Arc, task::Poll, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use smallvec::SmallVec;

use crate::{
    auth::Grant,
    hub::{
        AdmissionError, Applicant, ConnectionKey, Shows, Worker,
        access::{identity::poll_once, opening::OpeningRequest},
        connection::{Connection, State},
    },
    model::{Disconnect, Token},
    protocol::{
        DialectId,
        socketio::{self, Envelope, StreamOffset},
    },
    session::{SessionRecord, Space, Verdict},
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

impl Worker {
    /// A client wants into a namespace. Its token, if it has one, is verified first.
    pub(crate) fn connect(
        &mut self,
        key: ConnectionKey,
        namespace: &str,
        dialect: Option<DialectId>,
        data: &str,
    ) -> ControlFlow<()> {
        let (now_ms, limits) = (self.timers.now_ms(), self.limits);
        let Some(connection) = self.connections.get_mut(key) else { return ControlFlow::Break(()) };
        match connection.session.command(&limits, now_ms) {
            Verdict::Flood => return self.stop(key, Disconnect::Flood),
            // A client gives up for good after a CONNECT_ERROR. After this it comes back, later.
            Verdict::Limited => return self.stop(key, Disconnect::Overloaded),
            Verdict::Fine => {}
        }
        let Some(dialect) = dialect else {
            self.say_packets(key, |out| socketio::connect_error(namespace, "Invalid namespace", None, out));
            return ControlFlow::Continue(());
        };
        let (auth, services) = (Auth::parse(data), Arc::clone(&self.services));
        let (told, awaits) = (connection.told(), connection.session.awaits_token);
        let shows = match &auth.token {
            // Where tokens are not judged, a token is the application's own affair.
            Some(token) if services.judges_tokens() => Some(Shows::Token(token.clone())),
            // Only the backend could let it in.
            _ if told.is_some() && !(awaits && services.authority.is_enabled()) => {
                Some(Shows::Grant(connection.session.grant.clone()))
            }
            _ => None,
        };
        match shows {
            Some(shows) => {
                let (me, name) = (self.me.clone(), connection.session.id);
                let applicant = Applicant {
                    told,
                    connection: Some(name),
                    shows,
                    namespace: Some((namespace.into(), auth.json.clone())),
                    refresh: false,
                };
                let mut verified = Box::pin(async move { services.admit(applicant).await });
                if let Poll::Ready(result) = poll_once(verified.as_mut()) {
                    self.connect_verified(key, dialect, &auth, result);
                    let open = self.connections.get(key).is_some_and(|connection| connection.state == State::Open);
                    return if open { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
                }
                connection.pause_input();
                tokio::task::spawn_local(async move {
                    let result = verified.await;
                    let Some(worker) = me.upgrade() else { return };
                    let mut worker = worker.borrow_mut();
                    if worker.connections.is(key, name) {
                        worker.connect_verified(key, dialect, &auth, result);
                        worker.resume_input(key);
                    }
                });
            }
            None if awaits => self.refuse(key, dialect, "not authorized", "unauthorized"),
            None => self.connect_granted(key, dialect, &auth),
        }
        ControlFlow::Continue(())
    }

    fn connect_verified(
        &mut self,
        key: ConnectionKey,
        dialect: DialectId,
        auth: &Auth,
        result: Result<Grant, AdmissionError>,
    ) {
        match result {
            Ok(grant) => match self.connections.replace_grant(key, grant.clone()) {
                Ok(_) => {
                    self.review(key, &grant);
                    self.connect_granted(key, dialect, auth);
                }
                Err(message) => self.refuse(key, dialect, &message, "unauthorized"),
            },
            // No CONNECT_ERROR, after which a client gives up for good: it comes back by itself when its transport ends, and asks anew.
            Err(error) if error.is_outage() => self.close(key, Disconnect::Overloaded),
            Err(error) => self.refuse(key, dialect, &error.to_string(), error.code().as_str()),
        }
    }

    fn refuse(&mut self, key: ConnectionKey, dialect: DialectId, message: &str, code: &str) {
        let Some(name) = self.connections.namespace_name(key, dialect) else { return };
        self.say_packets(key, |out| socketio::connect_error(&name, message, Some(code), out));
    }

    /// Lets a client into a namespace, as the one that it was if it comes back.
    fn connect_granted(&mut self, key: ConnectionKey, dialect: DialectId, auth: &Auth) {
        let Some(link) = self.connections.get_mut(key).and_then(Connection::link) else { return };
        match (&auth.comes_back, link.endpoint.timing.recovery) {
            (Some((pid, offset)), Some(_)) => self.come_back(key, dialect, pid.clone(), offset.clone(), &auth.json),
            _ => self.begin_session(key, dialect, &auth.json),
        }
    }

    /// Begins a new session in a namespace.
    pub(crate) fn begin_session(&mut self, key: ConnectionKey, dialect: DialectId, auth: &str) {
        let Some(name) = self.connections.namespace_name(key, dialect) else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(link) = connection.link() else { return };
        let (recovery, target) = (link.endpoint.timing.recovery, link.target.clone());
        let pid = if recovery.is_some() { secret_name() } else { None };
        let Some(sid) = secret_name() else {
            self.close(key, Disconnect::InternalError);
            return;
        };
        self.say_packets(key, |out| socketio::connected(&name, &sid, pid.as_deref(), out));
        self.enter(key, dialect, sid, |max_away| SessionRecord::new(pid, max_away));
        let id = Some(Envelope::command_id(&name, None));
        if self.begin_connection(key, OpeningRequest { dialect, target, auth: auth.into(), id }) {
            self.persist(key, dialect);
        }
    }

    /// Puts a client into a namespace.
    pub(crate) fn enter(
        &mut self,
        key: ConnectionKey,
        dialect: DialectId,
        sid: Box<str>,
        record: impl FnOnce(Duration) -> SessionRecord,
    ) {
        let Some(link) = self.connections.get_mut(key).and_then(Connection::link) else { return };
        let record = record(link.endpoint.timing.recovery.unwrap_or_default());
        link.enter(Space { dialect, sid, record, heartbeat_due_ms: 0 });
    }

    /// A client leaves a namespace of its own will: it is in none of its rooms any more, and does not come back.
    pub(crate) fn leave_namespace(&mut self, key: ConnectionKey, dialect: DialectId) {
        self.forget(key, dialect);
        let Some(connection) = self.connections.get_mut(key) else { return };
        let subscriptions = std::mem::take(&mut connection.subscriptions);
        let (left, kept) = subscriptions.into_iter().partition(|s| s.dialect == dialect);
        connection.subscriptions = kept;
        let left: SmallVec<[crate::hub::fanout::subscription::Subscription; 1]> = left;
        let mut waited = 0;
        if let Some(link) = connection.link() {
            waited = link.space(dialect).map_or(0, |space| space.record.delayed());
            link.spaces.retain(|space| space.dialect != dialect);
        }
        for subscription in left {
            self.leave(key, subscription);
        }
        (0..waited).for_each(|_| self.resume_input(key));
    }
}
