//! Where the core meets Engine.IO: the only file of the core that calls it.
//!
//! Owns nothing. Always holds: a connection that is no Engine.IO session passes through no file of `hub::engineio`.

use std::ops::ControlFlow;

use http::Uri;

use crate::{
    hub::{
        ConnectionKey, Worker,
        connection::{Connection, State},
        membership::event::MembershipEvent,
    },
    protocol::Message,
    session::ConnectionId,
};

impl Worker {
    fn is_engineio(&self, key: ConnectionKey) -> bool {
        self.connections.get(key).is_some_and(Connection::is_engine)
    }

    /// Begins what a connection speaks: its signs of life, and what is said first.
    pub(crate) fn begin_protocol(&mut self, key: ConnectionKey, id: ConnectionId, target: &Uri) {
        if self.is_engineio(key) {
            self.beat(key, id, self.timers.now_ms());
            self.open_session(key);
        } else {
            self.watch_connection(key, id);
            self.open(key, target);
        }
    }

    /// Takes a message to what its connection speaks.
    pub(crate) fn dispatch(&mut self, key: ConnectionKey, message: Message<'_>) -> ControlFlow<()> {
        if self.is_engineio(key) { self.packet(key, message) } else { self.message(key, message) }
    }

    /// A connection's next look is due.
    pub(crate) fn look(&mut self, key: ConnectionKey, id: ConnectionId, now_ms: u64) {
        if self.closes_unread(key, id, now_ms) {
            return;
        }
        let open = self.connections.get(key).is_some_and(|c| c.session.id == id && c.state == State::Open);
        if open && self.is_engineio(key) {
            self.beat(key, id, now_ms);
        } else {
            self.look_at(key, id, now_ms);
        }
    }

    /// Tells an Engine.IO session of its membership.
    pub(crate) fn membership_event(&mut self, key: ConnectionKey, event: MembershipEvent) {
        if self.is_engineio(key) {
            self.engineio_event(key, event);
        }
    }
}
