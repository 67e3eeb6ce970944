//! What the log says of connections that end: each at debug, one now and then at info.
//!
//! Never logs what a client sent. Always holds: at info a worker writes at most one line in [`DisconnectLog::PAUSE_MS`],
//! whatever clients do, and that line says for how many it stands.

use crate::{hub::connection::Connection, model::Disconnect};

/// One worker's account of connections that ended.
#[derive(Debug, Default)]
pub struct DisconnectLog {
    ended: u64,
    next_ms: u64,
}

impl DisconnectLog {
    /// How long a line at info stands for those that follow, in milliseconds.
    pub const PAUSE_MS: u64 = 10_000;

    /// A connection has ended.
    pub fn ended(&mut self, connection: &Connection, now_ms: u64) {
        self.ended += 1;
        let sample = now_ms >= self.next_ms;
        if !sample && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let totals = connection.totals;
        let user = connection.session.grant.user().map(AsRef::<str>::as_ref);
        let code = connection.closed_with.map(Disconnect::code);
        let seconds = now_ms.saturating_sub(connection.since_ms) / 1_000;
        tracing::debug!(
            connection = %connection.session.id,
            user,
            code,
            seconds,
            messages_in = totals.messages_in,
            bytes_in = totals.bytes_in,
            frames_out = totals.frames_out,
            bytes_out = totals.bytes_out,
            "connection ended"
        );
        if sample {
            let ended = std::mem::take(&mut self.ended);
            self.next_ms = now_ms + Self::PAUSE_MS;
            tracing::info!(
                ended,
                last = %connection.session.id,
                code,
                seconds,
                messages_in = totals.messages_in,
                frames_out = totals.frames_out,
                bytes_out = totals.bytes_out,
                "connections ended; this is the last of them"
            );
        }
    }
}
