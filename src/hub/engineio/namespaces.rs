//! The namespaces of Socket.IO: connecting with a token or without, beginning, leaving.
//!
//! Always holds: a client is told that it is connected before anything else of that namespace, but for what it missed.

use std::{ops::ControlFlow, sync::Arc, task::Poll, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use smallvec::SmallVec;

use crate::{
    auth::Grant,
    hub::{
        access::{
            authenticate::{AdmissionError, Applicant, Shows},
            identity::{poll_once, review},
            opening::begin_connection,
            opening_request::OpeningRequest,
        },
        commands::dispatch::stop,
        connection::{Connection, key::ConnectionKey},
        core::Core,
        engineio::EngineIo,
        fanout::subscription::Subscription,
        membership::event::MembershipEvent,
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

impl EngineIo {
    /// A client wants into a namespace. Its token, if it has one, is verified first.
    pub(crate) fn connect(
        &self,
        core: &mut Core,
        key: ConnectionKey,
        namespace: &str,
        dialect: Option<DialectId>,
        data: &str,
    ) -> ControlFlow<()> {
        let (now_ms, limits) = (core.clients.timers.now_ms(), core.clients.settings.limits);
        let Some(connection) = core.clients.connections.get_mut(key) else { return ControlFlow::Break(()) };
        let (auth, services) = (Auth::parse(data), Arc::clone(&self.services));
        let shows_token = auth.token.is_some() && services.judges_tokens();
        match connection.session.connects(shows_token, &limits, now_ms) {
            Verdict::Flood => return stop(core, key, Disconnect::Flood),
            // A client gives up for good after a CONNECT_ERROR. After this it comes back, later.
            Verdict::Limited => return stop(core, key, Disconnect::Overloaded),
            Verdict::Fine => {}
        }
        let Some(dialect) = dialect else {
            core.clients.say_packets(key, |out| socketio::connect_error(namespace, "Invalid namespace", None, out));
            return ControlFlow::Continue(());
        };
        let (client_request, awaits) = (connection.client_request(), connection.session.awaits_token);
        let shows = match &auth.token {
            // Where tokens are not judged, a token is the application's own affair.
            Some(token) if services.judges_tokens() => Some(Shows::Token(token.clone())),
            // Only the backend could let it in.
            _ if client_request.is_some() && !(awaits && services.authority.is_enabled()) => {
                Some(Shows::Grant(connection.session.grant.clone()))
            }
            _ => None,
        };
        match shows {
            Some(shows) => {
                let (doorway, name) = (self.doorway.clone(), connection.session.id);
                let applicant = Applicant {
                    client_request,
                    connection: Some(name),
                    shows,
                    namespace: Some((namespace.into(), auth.json.clone())),
                    refresh: false,
                };
                let mut verified = Box::pin(async move { services.admit(applicant).await });
                if let Poll::Ready(result) = poll_once(verified.as_mut()) {
                    return self.connect_verified(core, key, dialect, &auth, result);
                }
                connection.pause_input();
                tokio::task::spawn_local(async move {
                    let result = verified.await;
                    doorway.enter(|engineio, core| {
                        if core.clients.connections.is(key, name) {
                            let _ = engineio.connect_verified(core, key, dialect, &auth, result);
                            core.clients.resume_input(key);
                        }
                    });
                });
            }
            None if awaits => self.refuse(core, key, dialect, "not authorized", "unauthorized"),
            None => self.connect_granted(core, key, dialect, &auth),
        }
        ControlFlow::Continue(())
    }

    fn connect_verified(
        &self,
        core: &mut Core,
        key: ConnectionKey,
        dialect: DialectId,
        auth: &Auth,
        result: Result<Grant, AdmissionError>,
    ) -> ControlFlow<()> {
        match result {
            Ok(grant) => match core.clients.connections.replace_grant(key, grant.clone()) {
                Ok(_) => {
                    review(core, key, &grant);
                    self.connect_granted(core, key, dialect, auth);
                }
                Err(message) => self.refuse(core, key, dialect, &message, "unauthorized"),
            },
            // No CONNECT_ERROR, after which a client gives up for good: it comes back by itself when its transport ends, and asks anew.
            Err(error) if error.is_outage() => return stop(core, key, Disconnect::Overloaded),
            Err(error) => self.refuse(core, key, dialect, &error.to_string(), error.code().as_str()),
        }
        ControlFlow::Continue(())
    }

    fn refuse(&self, core: &mut Core, key: ConnectionKey, dialect: DialectId, message: &str, code: &str) {
        let Some(name) = core.clients.connections.namespace_name(key, dialect) else { return };
        core.clients.say_packets(key, |out| socketio::connect_error(&name, message, Some(code), out));
    }

    /// Lets a client into a namespace, as the one that it was if it comes back.
    fn connect_granted(&self, core: &mut Core, key: ConnectionKey, dialect: DialectId, auth: &Auth) {
        let Some(link) = core.clients.connections.get_mut(key).and_then(Connection::link) else { return };
        match (&auth.comes_back, link.endpoint.timing.recovery) {
            (Some((pid, offset)), Some(_)) => {
                self.come_back(core, key, dialect, pid.clone(), offset.clone(), &auth.json)
            }
            _ => self.begin_session(core, key, dialect, &auth.json),
        }
    }

    /// Begins a new session in a namespace.
    pub(crate) fn begin_session(&self, core: &mut Core, key: ConnectionKey, dialect: DialectId, auth: &str) {
        let Some(name) = core.clients.connections.namespace_name(key, dialect) else { return };
        let Some(connection) = core.clients.connections.get_mut(key) else { return };
        let Some(link) = connection.link() else { return };
        let (recovery, target) = (link.endpoint.timing.recovery, link.target.clone());
        let pid = if recovery.is_some() { secret_name() } else { None };
        let Some(sid) = secret_name() else {
            core.clients.request_close(key, Disconnect::InternalError);
            return;
        };
        core.clients.say_packets(key, |out| socketio::connected(&name, &sid, pid.as_deref(), out));
        self.enter(core, key, dialect, sid, |max_away| SessionRecord::new(pid, max_away));
        let id = Some(Envelope::command_id(&name, None));
        if begin_connection(core, key, OpeningRequest { dialect, target, auth: auth.into(), id }) {
            // Behind the rooms that it asked for by that.
            core.clients.membership_event(key, MembershipEvent::Changed { dialect });
        }
    }

    /// Puts a client into a namespace.
    pub(crate) fn enter(
        &self,
        core: &mut Core,
        key: ConnectionKey,
        dialect: DialectId,
        sid: Box<str>,
        record: impl FnOnce(Duration) -> SessionRecord,
    ) {
        let Some(link) = core.clients.connections.get_mut(key).and_then(Connection::link) else { return };
        let record = record(link.endpoint.timing.recovery.unwrap_or_default());
        link.enter(Space { dialect, sid, record, heartbeat_due_ms: 0 });
    }

    /// A client leaves a namespace of its own will: it is in none of its rooms any more, and does not come back.
    pub(crate) fn leave_namespace(&self, core: &mut Core, key: ConnectionKey, dialect: DialectId) {
        self.forget(core, key, dialect);
        let Some(connection) = core.clients.connections.get_mut(key) else { return };
        let subscriptions = std::mem::take(&mut connection.subscriptions);
        let (left, kept) = subscriptions.into_iter().partition(|s| s.dialect == dialect);
        connection.subscriptions = kept;
        let left: SmallVec<[Subscription; 1]> = left;
        let mut waited = 0;
        if let Some(link) = connection.link() {
            waited = link.space(dialect).map_or(0, |space| space.record.delayed());
            link.spaces.retain(|space| space.dialect != dialect);
        }
        for subscription in left {
            core.leave(key, subscription);
        }
        (0..waited).for_each(|_| core.clients.resume_input(key));
    }
}
