//! A worker sends its clients away: each is told when to come back elsewhere, and is closed then.

use std::time::Duration;

use crate::{
    hub::{Worker, worker::timers::Timed},
    model::{Disconnect, Reply},
};

/// A drain in progress: hints go out in slices.
pub struct DrainRun {
    next: usize,
    window: Duration,
}

impl Worker {
    /// How many clients a slice of a drain tells.
    const DRAIN_STRIDE: usize = 256;

    /// Begins to send every client away, each at its own moment in the window.
    pub fn begin_drain(&mut self, window: Duration) {
        self.drain = Some(DrainRun { next: 0, window });
    }

    /// Tells some more clients when to come back elsewhere. Returns whether more are to be told.
    pub fn drain_slice(&mut self) -> bool {
        let Some(run) = &mut self.drain else { return false };
        let window_ms = run.window.as_millis() as u64;
        let from = run.next;
        run.next += Self::DRAIN_STRIDE;
        let Some(keys) = self.connections.keys_from(from, Self::DRAIN_STRIDE) else {
            self.drain = None;
            return false;
        };
        let now_ms = self.timers.now_ms();
        for key in keys {
            let Some(connection) = self.connections.get(key) else { continue };
            let id = connection.session.id;
            // Connection names are spread evenly: as good a die as any, and none to seed.
            let after_ms = if window_ms == 0 { 0 } else { id.0 % window_ms };
            self.reply(key, &Reply::Reconnect { after_ms }, None);
            if window_ms == 0 {
                self.close(key, Disconnect::Restart);
            } else {
                self.timers.schedule(now_ms + after_ms, Timed::Leave(key, id));
            }
        }
        true
    }
}
