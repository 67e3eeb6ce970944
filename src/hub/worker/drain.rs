//! A worker sends its clients away: each is told when to come back elsewhere, and is closed then.
//!
//! Always holds: a slice tells a bounded number of clients; each client is told once.

use std::time::Duration;

use crate::{
    hub::{
        connection::key::ConnectionKey,
        core::clients::Clients,
        worker::{clock::millis, timers::Timed},
    },
    model::{Disconnect, Reply},
};

/// A drain in progress: hints go out in slices.
#[derive(Debug)]
pub struct DrainRun {
    next: usize,
    window_ms: u64,
}

impl DrainRun {
    /// How many clients a slice of a drain tells.
    const STRIDE: usize = 256;

    /// Sends every client away, each at its own moment in the window.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self { next: 0, window_ms: millis(window) }
    }

    /// Tells some more clients when to come back elsewhere. Returns whether more are to be told.
    pub fn tell_some(&mut self, clients: &mut Clients) -> bool {
        let from = self.next;
        self.next += Self::STRIDE;
        let Some(keys) = clients.connections.keys_from(from, Self::STRIDE) else { return false };
        let now_ms = clients.timers.now_ms();
        keys.for_each(|key| self.tell(key, now_ms, clients));
        true
    }

    fn tell(&self, key: ConnectionKey, now_ms: u64, clients: &mut Clients) {
        let Some(connection) = clients.connections.get(key) else { return };
        let id = connection.session.id;
        // Connection names are spread evenly: as good a die as any, and none to seed.
        let after_ms = if self.window_ms == 0 { 0 } else { id.0 % self.window_ms };
        clients.reply(key, &Reply::Reconnect { after_ms }, None);
        if self.window_ms == 0 {
            clients.request_close(key, Disconnect::Restart);
        } else {
            clients.timers.schedule(now_ms + after_ms, Timed::Leave(key, id));
        }
    }
}
