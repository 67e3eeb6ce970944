//! The identity of a connection: its token is verified, applied, replaced, and expires.
//!
//! Never looks into a token. Always holds: what a connection may do follows from its newest good token; a token that
//! expired closes its connection; what a client sent behind a token is taken up only after it.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::{
    auth::Grant,
    hub::{
        AdmissionError, Applicant, ConnectionKey, RoomIndex, Shows, Worker,
        connection::State,
        membership::subscribe::{SubscribeOutcome, SubscribeRequest},
        worker::{
            clock::{millis, unix_millis},
            timers::Timed,
        },
    },
    model::{CommandId, Disconnect, ErrorCode, PresenceMode, Reply, Room, Token, UnixMillis},
    protocol::Message,
    session::ConnectionId,
};

/// What a client sent while something about it was being decided. Full: the connection is closed as a flood.
#[derive(Debug, Default)]
pub struct PausedInput {
    messages: Vec<PausedMessage>,
    bytes: usize,
    /// How many decisions they wait for.
    pub(crate) waits: u32,
}

#[derive(Debug)]
enum PausedMessage {
    Text(Box<str>),
    Binary(Box<[u8]>),
}

impl PausedInput {
    /// More than one read brings, and the message that it completes: nothing is read behind it.
    const MAX_BYTES: usize = 256 * 1024;
    const MAX_MESSAGES: usize = 1_024;

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Keeps a message; `false`: full.
    #[must_use]
    pub fn keep(&mut self, message: Message<'_>) -> bool {
        let (kept, bytes) = match message {
            Message::Text(text) => (PausedMessage::Text(text.into()), text.len()),
            Message::Binary(bytes) => (PausedMessage::Binary(bytes.into()), bytes.len()),
        };
        self.bytes += bytes;
        self.messages.push(kept);
        self.messages.len() <= Self::MAX_MESSAGES && self.bytes <= Self::MAX_BYTES
    }
}

impl Worker {
    /// Begins with what a connection's request said of it: its user, its deadline, its room.
    pub(crate) fn identify(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get(key) else { return };
        let grant = connection.session.grant.clone();
        self.apply(key, &grant);
    }

    /// Verifies a token that came in a command. Mostly that is done when this returns; if the key must be fetched first,
    /// what the client sends meanwhile waits.
    pub(crate) fn authenticate(&mut self, key: ConnectionKey, token: Token, id: Option<CommandId>) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let (me, name) = (self.me.clone(), connection.session.id);
        let applicant = Applicant {
            told: connection.told(),
            connection: Some(name),
            shows: Shows::Token(token),
            namespace: None,
            refresh: !connection.session.awaits_token,
        };
        let services = Arc::clone(&self.services);
        let mut verified = Box::pin(async move { services.admit(applicant).await });
        if let Poll::Ready(result) = poll_once(verified.as_mut()) {
            self.verified(key, result, id.as_ref());
            return;
        }
        connection.pause_input();
        tokio::task::spawn_local(async move {
            let result = verified.await;
            let Some(worker) = me.upgrade() else { return };
            let mut worker = worker.borrow_mut();
            if worker.connections.is(key, name) {
                worker.verified(key, result, id.as_ref());
                worker.resume_input(key);
            }
        });
    }

    /// Takes up what came while a token was being verified.
    pub(crate) fn resume_input(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(cold) = &mut connection.cold else { return };
        let Some(paused_input) = &mut cold.paused_input else { return };
        paused_input.waits = paused_input.waits.saturating_sub(1);
        if paused_input.waits > 0 {
            return;
        }
        let Some(paused_input) = cold.paused_input.take() else { return };
        self.replay_input(key, paused_input);
        // There may be more to read.
        self.connections.wake(key);
    }

    /// Takes up messages that were kept.
    pub(crate) fn replay_input(&mut self, key: ConnectionKey, paused_input: PausedInput) {
        for kept in paused_input.messages {
            let message = match &kept {
                PausedMessage::Text(text) => Message::Text(text),
                PausedMessage::Binary(bytes) => Message::Binary(bytes),
            };
            if self.take_message(key, message).is_break() {
                return;
            }
        }
    }

    fn verified(&mut self, key: ConnectionKey, result: Result<Grant, AdmissionError>, id: Option<&CommandId>) {
        let refused = match result {
            Ok(grant) => match self.connections.replace_grant(key, grant) {
                Ok(expires_at) => return self.granted(key, expires_at, id),
                Err(message) => (ErrorCode::Unauthorized, message),
            },
            Err(error) => (error.code(), error.to_string()),
        };
        let (code, message) = refused;
        self.reply(key, &Reply::Error { code, message, room: None }, id);
        let awaits = self.connections.get(key).is_some_and(|c| c.session.awaits_token);
        match code {
            _ if !awaits => {}
            ErrorCode::Unauthorized => self.close(key, Disconnect::Unauthorized),
            // It may try again, for as long as there is time to connect.
            ErrorCode::Unavailable | ErrorCode::RateLimited => {}
            _ => self.close(key, Disconnect::Disconnected),
        }
    }

    fn granted(&mut self, key: ConnectionKey, expires_at: Option<UnixMillis>, id: Option<&CommandId>) {
        let Some(connection) = self.connections.get(key) else { return };
        let grant = connection.session.grant.clone();
        self.reply(key, &Reply::Done { expires_at }, id);
        self.review(key, &grant);
        self.apply(key, &grant);
    }

    /// Looks again at the rooms that a connection is in: it leaves those that its new grant does not allow, and is there
    /// under its user in the others.
    pub(crate) fn review(&mut self, key: ConnectionKey, grant: &Grant) {
        let Some(connection) = self.connections.get(key) else { return };
        let joined: Vec<(RoomIndex, bool)> = connection.subscriptions.iter().map(|s| (s.room, s.server_side)).collect();
        let member = connection.session.member();
        for (number, given) in joined {
            let local = &self.rooms[number];
            if !given && !grant.may_join(&local.name, local.policy.join) {
                self.put_out(key, number, ErrorCode::Forbidden);
            } else if local.policy.presence != PresenceMode::Off {
                self.services.presence.join(&local.name, &member);
            }
        }
    }

    /// What follows from a grant beside rights: the directory, the deadline, the personal room.
    pub(crate) fn apply(&mut self, key: ConnectionKey, grant: &Grant) {
        if let Some(user) = grant.user() {
            self.connections.users.enter(user, key);
        }
        self.schedule_identity(key);
        let Some(claims) = grant.claims() else { return };
        let own = claims.personal_room.iter().filter(|room| grant.may_join(room, self.services.policy(room).join));
        for room in own.chain(&claims.given).cloned().collect::<Vec<_>>() {
            self.put_into(key, &room);
        }
    }

    /// Puts a connection's next deadline on the wheel: its token must have come, or must have been replaced.
    fn schedule_identity(&mut self, key: ConnectionKey) {
        let (now_ms, connect) = (self.timers.now_ms(), self.config().timeouts.connect);
        let Some(connection) = self.connections.get_mut(key) else { return };
        let expires_at = connection.session.grant.claims().and_then(|claims| claims.expires_at);
        let due = if connection.session.awaits_token {
            connection.since_ms + millis(connect)
        } else if let Some(expires_at) = expires_at {
            now_ms + expires_at.saturating_sub(unix_millis()).max(1)
        } else {
            connection.identity_due = 0;
            return;
        };
        connection.identity_due = due;
        self.timers.schedule(due, Timed::Identity(key, connection.session.id, due));
    }

    /// Has a connection present a newer token within some time; whether it has one that could be replaced.
    pub(crate) fn demand_refresh(&mut self, key: ConnectionKey, within: Duration) -> bool {
        let now_ms = self.timers.now_ms();
        let Some(connection) = self.connections.get_mut(key) else { return false };
        if connection.session.grant.claims().is_none() {
            return false;
        }
        // An earlier deadline stands.
        let due = match (connection.identity_due, now_ms + millis(within)) {
            (0, due) => due,
            (stands, due) => stands.min(due),
        };
        connection.identity_due = due;
        self.timers.schedule(due, Timed::Identity(key, connection.session.id, due));
        // A deadline that stands may have passed since the last tick.
        self.reply(key, &Reply::Refresh { expires_at: unix_millis() + due.saturating_sub(now_ms) }, None);
        true
    }

    /// A connection's deadline may have come.
    pub(crate) fn check_identity(&mut self, key: ConnectionKey, id: ConnectionId, due: u64, now_ms: u64) {
        let Some(connection) = self.connections.get(key) else { return };
        // A newer token has a deadline of its own.
        if connection.session.id != id || connection.identity_due != due || connection.state != State::Open {
            return;
        }
        if now_ms < due {
            self.timers.schedule(due, Timed::Identity(key, id, due));
        } else if connection.session.awaits_token {
            self.close(key, Disconnect::Unauthorized);
        } else {
            self.close(key, Disconnect::TokenExpired);
        }
    }

    /// Puts a connection into a room, unasked; whether it was not in it yet.
    pub(crate) fn put_into(&mut self, key: ConnectionKey, room: &Room) -> bool {
        let entered =
            self.subscribe_to(key, room, SubscribeRequest { server_side: true, ..SubscribeRequest::default() });
        matches!(entered, Ok(SubscribeOutcome::Begun))
    }
}

/// A future's answer if it has one already.
pub(crate) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
