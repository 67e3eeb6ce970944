//! Clients that hold what the pod keeps for them: a message that does not end, and bytes that are not read.
//!
//! Always holds: neither pings nor pongs between give such a client more time.

use std::sync::Arc;

use crate::{
    hub::{
        connection::{incomplete::IncompleteMessage, key::ConnectionKey, state::State, transport::ClientTransport},
        core::clients::Clients,
        worker::{clock::millis, timers::Timed},
    },
    model::Disconnect,
    session::ConnectionId,
};

/// What is there of a message that is as short as this is kept also by a pod that is short of memory.
const SMALL_MESSAGE: usize = 16 * 1024;

impl Clients {
    /// Counts what a read left of a message that has not ended, and has its end watched.
    pub(crate) fn note_incomplete(&mut self, key: ConnectionKey, now_ms: u64) {
        let Some(connection) = self.connections.get_mut(key).filter(|connection| connection.state == State::Open)
        else {
            return;
        };
        let (mut held, mut has_begun) = connection.transport.incomplete();
        if let Some(parts) = connection.link().and_then(|link| link.assembly.held_bytes()) {
            held += parts;
            has_begun = true;
        }
        if !has_begun && connection.incomplete.is_none() {
            return;
        }
        let (messages, id) = (connection.totals.messages_in, connection.session.id);
        let is_watched = connection.incomplete.is_some();
        let budget = &self.services.budget;
        let incomplete =
            connection.incomplete.get_or_insert_with(|| Box::new(IncompleteMessage::new(Arc::clone(budget))));
        incomplete.note(held, has_begun, messages, now_ms);
        let is_large = incomplete.held_bytes() > SMALL_MESSAGE;
        if !is_watched {
            let at = now_ms + millis(self.settings.config.timeouts.body);
            self.timers.schedule(at, Timed::Message(key, id));
        }
        if is_large && budget.is_tight() {
            self.services.metrics.pressures.memory.refused(1);
            self.request_close(key, Disconnect::Overloaded);
        }
    }

    /// Closes a connection whose message has not ended in time.
    pub(crate) fn check_message(&mut self, key: ConnectionKey, id: ConnectionId, now_ms: u64) {
        let time_ms = millis(self.settings.config.timeouts.body);
        let Some(connection) = self.connections.get_mut(key).filter(|connection| connection.session.id == id) else {
            return;
        };
        match connection.incomplete.as_ref().and_then(|incomplete| incomplete.ends_by(time_ms)) {
            Some(at) if at <= now_ms => self.request_close(key, Disconnect::PingTimeout),
            Some(at) => self.timers.schedule(at, Timed::Message(key, id)),
            None => connection.incomplete = None,
        }
    }

    /// Closes a connection of which the kernel has taken nothing for as long as a silent client may be silent. `true`: it is closed.
    pub(crate) fn closes_unread(&mut self, key: ConnectionKey, id: ConnectionId, now_ms: u64) -> bool {
        let patience_ms = self.settings.limits.ping_interval_ms + millis(self.settings.config.timeouts.pong);
        let Some(connection) = self.connections.get_mut(key).filter(|connection| connection.session.id == id) else {
            return false;
        };
        let is_stuck = connection.state == State::Open
            && matches!(connection.transport, ClientTransport::WebSocket { .. })
            && connection.send_queue_mut().is_some_and(|queue| queue.is_stuck(now_ms, patience_ms));
        if is_stuck {
            self.request_close(key, Disconnect::Slow);
        }
        is_stuck
    }
}
