//! Bytes from a client become messages: the framing of each transport, control frames, what waits for a decision.
//!
//! Never knows what a message means. Always holds: messages are taken up in the order they came, one at a time.

use std::ops::ControlFlow;

use crate::{
    hub::{
        commands::dispatch::stop,
        connection::{
            Connection, inflated_input::InflatedInput, key::ConnectionKey, paused_input::PausedInput, state::State,
            transport::ClientTransport,
        },
        core::clients::Clients,
        worker::Worker,
    },
    model::Disconnect,
    protocol::Message,
    session::Verdict,
    transport::{
        websocket::{self, Incoming, MessageLimits, Reader, Role},
        webtransport::MessageReader,
    },
};

impl Worker {
    /// Takes what was read and opened to the session.
    pub(crate) fn received(&mut self, key: ConnectionKey) {
        let clients = &mut self.core.clients;
        let mut plain = std::mem::take(&mut clients.buffers.plain);
        let now_ms = clients.timers.now_ms();
        if let Some(connection) = clients.connections.get_mut(key)
            && connection.state == State::Open
            && !plain.is_empty()
        {
            connection.heard_ms = now_ms;
            connection.totals.bytes_in += plain.len() as u64;
            let limits = connection.limits(clients.settings.message_limits);
            let taken = match &mut connection.transport {
                ClientTransport::WebSocket { reader, .. } => {
                    let reader = std::mem::replace(reader, Reader::new(Role::Server, false));
                    self.take_frames(key, reader, &mut plain, &limits)
                }
                ClientTransport::WebTransport(streams) => {
                    let reader = std::mem::take(&mut streams.reader);
                    self.take_lengths(key, reader, &plain, limits.max_message)
                }
                ClientTransport::Mailbox(_) => Ok(()),
            };
            if let Err(disconnect) = taken {
                self.core.clients.request_close(key, disconnect);
            }
            self.core.clients.note_incomplete(key, now_ms);
        }
        plain.clear();
        plain.shrink_to(64 * 1024);
        self.core.clients.buffers.plain = plain;
        self.settle();
    }

    /// Takes the frames of a WebSocket.
    fn take_frames(
        &mut self,
        key: ConnectionKey,
        mut reader: Reader,
        plain: &mut [u8],
        limits: &MessageLimits,
    ) -> Result<(), Disconnect> {
        let mut inflater = self.inflater.take().unwrap_or_default();
        let (came, mut taken) = (plain.len() + reader.held_bytes(), 0);
        let end = reader.read(plain, &mut inflater, limits, &mut |incoming| {
            let bytes = match &incoming {
                Incoming::Text(text) => text.len(),
                Incoming::Binary(bytes) => bytes.len(),
                Incoming::Ping(_) | Incoming::Pong(_) | Incoming::Close(_) => 0,
            };
            if bytes > 0 && InflatedInput::is_too_much(taken, came) {
                return stop(&mut self.core, key, Disconnect::Flood);
            }
            taken += bytes;
            self.incoming(key, incoming)
        });
        let beyond = InflatedInput::beyond(taken, came);
        let now_ms = self.core.clients.timers.now_ms();
        if beyond > 0
            && let Some(connection) = self.core.clients.connections.get_mut(key)
        {
            connection.cold.get_or_insert_default().inflated_input.get_or_insert_default().add(beyond, now_ms);
        }
        inflater.shrink();
        self.inflater = Some(inflater);
        if let Some(connection) = self.core.clients.connections.get_mut(key)
            && let ClientTransport::WebSocket { reader: place, .. } = &mut connection.transport
        {
            *place = reader;
        }
        if end.is_err()
            && let Some(link) = self.core.clients.connections.get_mut(key).and_then(Connection::link)
        {
            link.broke_framing = true;
        }
        end.map_err(Into::into)
    }

    /// Takes the messages of a session's stream of commands, each behind its length.
    fn take_lengths(
        &mut self,
        key: ConnectionKey,
        mut reader: MessageReader,
        plain: &[u8],
        max: usize,
    ) -> Result<(), Disconnect> {
        let mut invalid = false;
        let end = reader.read(plain, max, &mut |message| match simdutf8::basic::from_utf8(message) {
            Ok(text) => self.incoming(key, Incoming::Text(text)),
            Err(_) => {
                invalid = true;
                ControlFlow::Break(())
            }
        });
        if let Some(connection) = self.core.clients.connections.get_mut(key)
            && let ClientTransport::WebTransport(streams) = &mut connection.transport
        {
            streams.reader = reader;
        }
        match end {
            _ if invalid => Err(Disconnect::InvalidData),
            Err(_) => Err(Disconnect::TooBig),
            Ok(_) => Ok(()),
        }
    }

    fn incoming(&mut self, key: ConnectionKey, incoming: Incoming<'_>) -> ControlFlow<()> {
        let now_ms = self.core.clients.timers.now_ms();
        let Clients { connections, buffers, services, settings, .. } = &mut self.core.clients;
        let Some(connection) = connections.get_mut(key) else { return ControlFlow::Break(()) };
        let message = match incoming {
            Incoming::Text(text) => Message::Text(text),
            Incoming::Binary(bytes) => Message::Binary(bytes),
            Incoming::Ping(payload) => {
                return match connection.session.control_frame(&settings.limits, now_ms) {
                    Verdict::Fine => {
                        let mut pong = Vec::new();
                        websocket::pong_frame(payload, &mut pong);
                        match connection.say_urgent(&pong, &mut buffers.sealed, &services.budget) {
                            Ok(()) => ControlFlow::Continue(()),
                            Err(_) => ControlFlow::Break(()),
                        }
                    }
                    Verdict::Limited => ControlFlow::Continue(()),
                    Verdict::Flood => stop(&mut self.core, key, Disconnect::Flood),
                };
            }
            Incoming::Pong(_) => {
                return match connection.session.control_frame(&settings.limits, now_ms) {
                    Verdict::Flood => stop(&mut self.core, key, Disconnect::Flood),
                    Verdict::Fine | Verdict::Limited => ControlFlow::Continue(()),
                };
            }
            Incoming::Close(_) => return stop(&mut self.core, key, Disconnect::Normal),
        };
        self.take_message(key, message)
    }

    /// One of the decisions that a connection's input waits for was made. After the last of them it is taken up.
    pub(crate) fn resume_input(&mut self, key: ConnectionKey) {
        let Some(connection) = self.core.clients.connections.get_mut(key) else { return };
        let Some(paused_input) = connection.decided() else { return };
        self.replay_input(key, paused_input);
        // There may be more to read.
        self.core.clients.connections.wake(key);
    }

    /// Takes up messages that were kept.
    pub(crate) fn replay_input(&mut self, key: ConnectionKey, paused_input: PausedInput) {
        paused_input.replay(|message| self.take_message(key, message));
    }

    /// Takes a message, or keeps it while a token is verified.
    pub(crate) fn take_message(&mut self, key: ConnectionKey, message: Message<'_>) -> ControlFlow<()> {
        let Some(connection) = self.core.clients.connections.get_mut(key) else { return ControlFlow::Break(()) };
        if connection.state != State::Open {
            return ControlFlow::Break(());
        }
        let paused_input = connection.cold.as_mut().and_then(|cold| cold.paused_input.as_mut());
        match paused_input.map(|paused_input| paused_input.keep(message, &self.services.budget)) {
            Some(Ok(())) => ControlFlow::Continue(()),
            Some(Err(disconnect)) => {
                let is_short = disconnect == Disconnect::Overloaded;
                self.services.metrics.pressures.memory.refused(u64::from(is_short));
                stop(&mut self.core, key, disconnect)
            }
            None => {
                let flow = self.dispatch(key, message);
                self.settle();
                flow
            }
        }
    }
}
