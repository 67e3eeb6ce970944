//! Signs of life: a silent client is pinged, one that stays silent is closed, one that does not close is ended.
//!
//! Never looks into what a client says. Always holds: while a connection is there, the wheel has a time at which it is looked at.

use crate::{
    hub::{
        connection::{key::ConnectionKey, state::State},
        core::clients::Clients,
        worker::{clock::millis, timers::Timed},
    },
    model::Disconnect,
    session::ConnectionId,
};

impl Clients {
    /// How long a closing connection may take to close.
    const CLOSE_MS: u64 = 5_000;

    /// Starts a connection's place on the wheel.
    pub(crate) fn watch_connection(&mut self, key: ConnectionKey, id: ConnectionId) {
        let at = self.timers.now_ms() + self.settings.limits.ping_interval_ms;
        self.timers.schedule(at, Timed::Connection(key, id));
    }

    /// A closing connection gets a moment to say goodbye.
    pub(crate) fn expect_end(&mut self, key: ConnectionKey) {
        let at = self.timers.now_ms() + Self::CLOSE_MS;
        if let Some(connection) = self.connections.get_mut(key) {
            connection.heard_ms = self.timers.now_ms();
            let id = connection.session.id;
            self.timers.schedule(at, Timed::Connection(key, id));
        }
    }

    /// Pings a silent connection, closes one that stayed silent, ends one that does not close.
    pub(crate) fn look_at(&mut self, key: ConnectionKey, id: ConnectionId, now_ms: u64) {
        let ping_ms = self.settings.limits.ping_interval_ms;
        let pong_ms = millis(self.settings.config.timeouts.pong);
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.session.id != id {
            return;
        }
        let silent = now_ms.saturating_sub(connection.heard_ms);
        let next = match connection.state {
            State::Gone => return,
            State::Closing if silent >= Self::CLOSE_MS => {
                connection.state = State::Gone;
                connection.wake();
                return;
            }
            State::Closing => return,
            State::Open if connection.transport.minds_silence() => now_ms + ping_ms,
            State::Open if silent >= ping_ms + pong_ms => {
                self.request_close(key, Disconnect::PingTimeout);
                return;
            }
            State::Open if silent >= ping_ms => {
                if let Some(ping) = connection.transport.ping()
                    && connection.say_urgent(&ping, &mut self.buffers.sealed, &self.services.budget).is_err()
                {
                    connection.wake();
                }
                // Looked at again when its answer is late; a client that answers is silent for less than this by then.
                connection.heard_ms + ping_ms + pong_ms
            }
            State::Open => connection.heard_ms + ping_ms,
        };
        self.timers.schedule(next, Timed::Connection(key, id));
    }
}
