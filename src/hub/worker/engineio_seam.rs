//! Where the core meets Engine.IO: the only file that has one call the other.
//!
//! Owns nothing. Always holds: a connection that is no Engine.IO session passes through no file of `hub::engineio`; what an entry
//! leaves to be done is done before the next entry begins.

use std::ops::ControlFlow;

use http::Uri;

use crate::{
    hub::{
        access::opening,
        commands::dispatch,
        connection::{Connection, key::ConnectionKey, state::State},
        core::agenda::AgendaItem,
        worker::Worker,
    },
    model::Disconnect,
    protocol::Message,
    session::ConnectionId,
};

impl Worker {
    fn is_engineio(&self, key: ConnectionKey) -> bool {
        self.core.clients.connections.get(key).is_some_and(Connection::is_engine)
    }

    /// Begins what a connection speaks: its signs of life, and what is said first.
    pub(crate) fn begin_protocol(&mut self, key: ConnectionKey, id: ConnectionId, target: &Uri) {
        if self.is_engineio(key) {
            let now_ms = self.core.clients.timers.now_ms();
            self.engineio.beat(&mut self.core, key, id, now_ms);
            self.engineio.open_session(&mut self.core, key);
        } else {
            self.core.clients.watch_connection(key, id);
            opening::open(&mut self.core, key, target);
        }
        self.settle();
    }

    /// Takes a message to what its connection speaks.
    pub(crate) fn dispatch(&mut self, key: ConnectionKey, message: Message<'_>) -> ControlFlow<()> {
        if self.is_engineio(key) {
            self.engineio.packet(&mut self.core, key, message)
        } else {
            dispatch::message(&mut self.core, key, message)
        }
    }

    /// A connection's next look is due.
    pub(crate) fn look(&mut self, key: ConnectionKey, id: ConnectionId, now_ms: u64) {
        if self.core.clients.closes_unread(key, id, now_ms) {
            return;
        }
        let connection = self.core.clients.connections.get(key);
        let open = connection.is_some_and(|c| c.session.id == id && c.state == State::Open);
        if open && self.is_engineio(key) {
            self.engineio.beat(&mut self.core, key, id, now_ms);
        } else {
            self.core.clients.look_at(key, id, now_ms);
        }
    }

    /// Closes a connection. What its session remembers of its rooms is written before it leaves them.
    pub(crate) fn close(&mut self, key: ConnectionKey, disconnect: Disconnect) {
        if self.core.clients.connections.get(key).is_some_and(|connection| connection.state == State::Open) {
            self.engineio.end_records(&mut self.core, key);
            self.core.close(key, disconnect);
        }
    }

    /// Closes a connection whose session cannot be continued.
    pub(crate) fn close_for_good(&mut self, key: ConnectionKey) {
        self.engineio.forget_records(&mut self.core, key);
        self.core.clients.request_close(key, Disconnect::Disconnected);
    }

    /// Does what an entry has left to be done.
    pub(crate) fn settle(&mut self) {
        while let Some(item) = self.core.clients.agenda.take() {
            match item {
                AgendaItem::Close(key, disconnect) => self.close(key, disconnect),
                AgendaItem::Membership(key, event) => self.engineio.membership(&mut self.core, key, event),
                AgendaItem::ResumeInput(key) => self.resume_input(key),
            }
        }
    }
}
