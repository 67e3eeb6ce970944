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
        access::authenticate::{AdmissionError, Applicant, Shows},
        connection::{key::ConnectionKey, state::State},
        core::{Core, clients::Clients},
        fanout::room_index::RoomIndex,
        worker::{
            clock::{millis, unix_millis},
            timers::Timed,
        },
    },
    model::{CommandId, Disconnect, ErrorCode, PresenceMode, Reply, Token, UnixMillis},
    session::ConnectionId,
};

/// Begins with what a connection's request said of it: its user, its deadline, its room.
pub(crate) fn identify(core: &mut Core, key: ConnectionKey) {
    let Some(connection) = core.clients.connections.get(key) else { return };
    let grant = connection.session.grant.clone();
    apply(core, key, &grant);
}

/// Verifies a token that came in a command. Mostly that is done when this returns; if the key must be fetched first,
/// what the client sends meanwhile waits.
pub(crate) fn authenticate(core: &mut Core, key: ConnectionKey, token: Token, id: Option<CommandId>) {
    let (services, doorway) = (Arc::clone(core.services()), core.doorway.clone());
    let Some(connection) = core.clients.connections.get_mut(key) else { return };
    let name = connection.session.id;
    let applicant = Applicant {
        client_request: connection.client_request(),
        connection: Some(name),
        shows: Shows::Token(token),
        namespace: None,
        refresh: !connection.session.awaits_token,
    };
    let mut admitted = Box::pin(async move { services.admit(applicant).await });
    if let Poll::Ready(result) = poll_once(admitted.as_mut()) {
        return verified(core, key, result, id.as_ref());
    }
    connection.pause_input();
    tokio::task::spawn_local(async move {
        let result = admitted.await;
        doorway.enter(|core| {
            if core.clients.connections.is(key, name) {
                verified(core, key, result, id.as_ref());
                core.clients.resume_input(key);
            }
        });
    });
}

fn verified(core: &mut Core, key: ConnectionKey, result: Result<Grant, AdmissionError>, id: Option<&CommandId>) {
    let refused = match result {
        Ok(grant) => match core.clients.connections.replace_grant(key, grant) {
            Ok(expires_at) => return granted(core, key, expires_at, id),
            Err(message) => (ErrorCode::Unauthorized, message),
        },
        Err(error) => (error.code(), error.to_string()),
    };
    let (code, message) = refused;
    core.clients.reply(key, &Reply::Error { code, message, room: None }, id);
    let awaits = core.clients.connections.get(key).is_some_and(|c| c.session.awaits_token);
    match code {
        _ if !awaits => {}
        ErrorCode::Unauthorized => core.clients.request_close(key, Disconnect::Unauthorized),
        // It may try again, for as long as there is time to connect.
        ErrorCode::Unavailable | ErrorCode::RateLimited => {}
        _ => core.clients.request_close(key, Disconnect::Disconnected),
    }
}

fn granted(core: &mut Core, key: ConnectionKey, expires_at: Option<UnixMillis>, id: Option<&CommandId>) {
    let Some(connection) = core.clients.connections.get(key) else { return };
    let grant = connection.session.grant.clone();
    core.clients.reply(key, &Reply::Done { expires_at }, id);
    review(core, key, &grant);
    apply(core, key, &grant);
}

/// Looks again at the rooms that a connection is in: it leaves those that its new grant does not allow, and is there
/// under its user in the others.
pub(crate) fn review(core: &mut Core, key: ConnectionKey, grant: &Grant) {
    let Some(connection) = core.clients.connections.get(key) else { return };
    let joined: Vec<(RoomIndex, bool)> = connection.subscriptions.iter().map(|s| (s.room, s.server_side)).collect();
    let member = connection.session.member();
    for (index, given) in joined {
        let local = &core.rooms[index];
        if !given && !grant.may_join(&local.name, local.policy.join) {
            core.put_out(key, index, ErrorCode::Forbidden);
        } else if local.policy.presence != PresenceMode::Off {
            core.clients.services.presence.join(&local.name, &member);
        }
    }
}

/// What follows from a grant beside rights: the index of users, the deadline, the personal room.
pub(crate) fn apply(core: &mut Core, key: ConnectionKey, grant: &Grant) {
    if let Some(user) = grant.user() {
        let is_new = core.clients.connections.users.enter(user, key);
        if let Some(presence) = core.clients.services.user_presence.as_ref().filter(|_| is_new) {
            presence.connected(user);
        }
        core.clients.claim_place(key);
    }
    core.clients.schedule_identity(key);
    let Some(claims) = grant.claims() else { return };
    let own = claims.personal_room.iter().filter(|room| grant.may_join(room, core.clients.services.policy(room).join));
    for room in own.chain(&claims.given).cloned().collect::<Vec<_>>() {
        core.put_into(key, &room);
    }
}

impl Clients {
    /// Puts a connection's next deadline on the wheel: its token must have come, or must have been replaced.
    fn schedule_identity(&mut self, key: ConnectionKey) {
        let (now_ms, connect) = (self.timers.now_ms(), self.settings.config.timeouts.connect);
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
            self.request_close(key, Disconnect::Unauthorized);
        } else {
            self.request_close(key, Disconnect::TokenExpired);
        }
    }
}

/// A future's answer if it has one already.
pub(crate) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
