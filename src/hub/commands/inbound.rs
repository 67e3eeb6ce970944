//! Bytes from a client become messages: the framing of each transport, control frames, what waits for a decision.
//!
//! Never knows what a message means. Always holds: messages are taken up in the order they came, one at a time.

use std::ops::ControlFlow;

use crate::{
    hub::{
        ConnectionKey, Worker,
        connection::{Connection, State, transport::ClientTransport},
    },
    model::Disconnect,
    protocol::Message,
    session::Verdict,
    transport::websocket::{self, Incoming, Reader, Role},
};

impl Worker {
    /// Takes what was read and opened to the session.
    pub(crate) fn received(&mut self, key: ConnectionKey) {
        if self.connections.get(key).is_some_and(|c| matches!(c.transport, ClientTransport::WebTransport(_))) {
            return self.received_on_stream(key);
        }
        let mut plain = std::mem::take(&mut self.buffers.plain);
        let now_ms = self.timers.now_ms();
        if let Some(connection) = self.connections.get_mut(key)
            && connection.state == State::Open
            && !plain.is_empty()
        {
            connection.heard_ms = now_ms;
            connection.totals.bytes_in += plain.len() as u64;
            let mut reader = match &mut connection.transport {
                ClientTransport::WebSocket { reader, .. } => {
                    std::mem::replace(reader, Reader::new(Role::Server, false))
                }
                ClientTransport::WebTransport(_) | ClientTransport::Mailbox(_) => return,
            };
            let mut inflater = self.inflater.take().unwrap_or_default();
            let limits = self
                .connections
                .get(key)
                .map_or(self.message_limits, |connection| connection.limits(self.message_limits));
            let end = reader.read(&mut plain, &mut inflater, &limits, &mut |incoming| self.incoming(key, incoming));
            inflater.shrink();
            self.inflater = Some(inflater);
            if let Some(connection) = self.connections.get_mut(key)
                && let ClientTransport::WebSocket { reader: place, .. } = &mut connection.transport
            {
                *place = reader;
            }
            if let Err(error) = end {
                if let Some(link) = self.connections.get_mut(key).and_then(Connection::link) {
                    link.broke_framing = true;
                }
                self.close(key, error.into());
            }
            self.note_incomplete(key, now_ms);
        }
        plain.clear();
        plain.shrink_to(64 * 1024);
        self.buffers.plain = plain;
    }

    /// As [`Worker::received`], for a session's stream of commands.
    fn received_on_stream(&mut self, key: ConnectionKey) {
        let plain = std::mem::take(&mut self.buffers.plain);
        let (now_ms, max) = (self.timers.now_ms(), self.message_limits.max_message);
        if let Some(connection) = self.connections.get_mut(key)
            && connection.state == State::Open
            && let ClientTransport::WebTransport(streams) = &mut connection.transport
        {
            connection.heard_ms = now_ms;
            connection.totals.bytes_in += plain.len() as u64;
            let mut reader = std::mem::take(&mut streams.reader);
            let mut invalid = false;
            let end = reader.read(&plain, max, &mut |message| match simdutf8::basic::from_utf8(message) {
                Ok(text) => self.incoming(key, Incoming::Text(text)),
                Err(_) => {
                    invalid = true;
                    ControlFlow::Break(())
                }
            });
            if let Some(connection) = self.connections.get_mut(key)
                && let ClientTransport::WebTransport(streams) = &mut connection.transport
            {
                streams.reader = reader;
            }
            if invalid {
                self.close(key, Disconnect::InvalidData);
            } else if end.is_err() {
                self.close(key, Disconnect::TooBig);
            }
            self.note_incomplete(key, now_ms);
        }
        self.buffers.plain = plain;
        self.buffers.plain.clear();
    }

    fn incoming(&mut self, key: ConnectionKey, incoming: Incoming<'_>) -> ControlFlow<()> {
        let now_ms = self.timers.now_ms();
        let Some(connection) = self.connections.get_mut(key) else { return ControlFlow::Break(()) };
        let message = match incoming {
            Incoming::Text(text) => Message::Text(text),
            Incoming::Binary(bytes) => Message::Binary(bytes),
            Incoming::Ping(payload) => {
                return match connection.session.control_frame(&self.limits, now_ms) {
                    Verdict::Fine => {
                        let mut pong = Vec::new();
                        websocket::pong_frame(payload, &mut pong);
                        match connection.say_urgent(&pong, &mut self.buffers.sealed, &self.services.budget) {
                            Ok(()) => ControlFlow::Continue(()),
                            Err(_) => ControlFlow::Break(()),
                        }
                    }
                    Verdict::Limited => ControlFlow::Continue(()),
                    Verdict::Flood => self.stop(key, Disconnect::Flood),
                };
            }
            Incoming::Pong(_) => {
                return match connection.session.control_frame(&self.limits, now_ms) {
                    Verdict::Flood => self.stop(key, Disconnect::Flood),
                    Verdict::Fine | Verdict::Limited => ControlFlow::Continue(()),
                };
            }
            Incoming::Close(_) => return self.stop(key, Disconnect::Normal),
        };
        self.take_message(key, message)
    }

    /// Takes a message, or keeps it while a token is verified.
    pub(crate) fn take_message(&mut self, key: ConnectionKey, message: Message<'_>) -> ControlFlow<()> {
        let Some(connection) = self.connections.get_mut(key) else { return ControlFlow::Break(()) };
        if connection.state != State::Open {
            return ControlFlow::Break(());
        }
        let paused_input = connection.cold.as_mut().and_then(|cold| cold.paused_input.as_mut());
        match paused_input.map(|paused_input| paused_input.keep(message)) {
            Some(true) => ControlFlow::Continue(()),
            Some(false) => self.stop(key, Disconnect::Flood),
            None => self.dispatch(key, message),
        }
    }
}
