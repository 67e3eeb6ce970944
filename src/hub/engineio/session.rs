//! Engine.IO sessions on a worker: packets in, the heartbeat, the goodbye.
//!
//! Never looks into an event: that is its dialect's. Always holds: an event reaches its dialect only from a namespace that
//! the client is connected to; a client that breaks the protocol is closed.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;

use crate::{
    hub::{
        access::opening::open,
        commands::dispatch::{act, stop},
        connection::{Connection, key::ConnectionKey},
        core::Core,
        engineio::EngineIo,
        worker::timers::Timed,
    },
    model::{CommandId, Disconnect, Room},
    protocol::{
        DialectId, Framing, Message,
        engineio::{self, EngineioPacket, Transport, Within},
        socketio::{Envelope, Heard, Kind},
    },
    session::{Action, Beat, ConnectionId, Verdict},
};

impl EngineIo {
    /// Opens a session: its first packet, and what a dialect without namespaces says first.
    pub(crate) fn open_session(&self, core: &mut Core, key: ConnectionKey) {
        let Some(connection) = core.clients.connections.get_mut(key) else { return };
        let (id, framing) = (connection.session.id, connection.format.framing);
        let Some(link) = connection.link() else { return };
        let (endpoint, target) = (Arc::clone(&link.endpoint), link.target.clone());
        if link.base64 {
            connection.format.framing = framing.in_base64();
        }
        let transport = match framing {
            Framing::WebSocket { .. } => Transport::WebSocket,
            Framing::Payload | Framing::Elements | Framing::EventStream | Framing::Stream { .. } => Transport::Polling,
        };
        let services = Arc::clone(&self.services);
        // There are far fewer workers than 65,536.
        let sid = services.session_key.name(services.pod, self.worker as u16, id.0);
        core.clients.say_packets(key, |out| engineio::open(&endpoint, sid, transport, out));
        if let Within::Messages(_) = endpoint.within {
            open(core, key, &target);
        }
    }

    /// Takes one packet.
    pub(crate) fn packet(&self, core: &mut Core, key: ConnectionKey, message: Message<'_>) -> ControlFlow<()> {
        let now_ms = core.clients.timers.now_ms();
        let limits = core.clients.settings.limits;
        let Some(connection) = core.clients.connections.get_mut(key) else { return ControlFlow::Break(()) };
        let Ok(packet) = EngineioPacket::parse(message) else { return stop(core, key, Disconnect::InvalidData) };
        if let Some(link) = connection.link().filter(|_| packet != EngineioPacket::Pong) {
            link.heard(now_ms);
        }
        match packet {
            EngineioPacket::Text(text) => self.data(core, key, Message::Text(text)),
            EngineioPacket::Binary(bytes) => self.data(core, key, Message::Binary(&bytes)),
            EngineioPacket::Close => stop(core, key, Disconnect::Normal),
            // Only the server pings, but for a probe, which is not a session's own.
            EngineioPacket::Ping(_) => stop(core, key, Disconnect::InvalidData),
            EngineioPacket::Pong | EngineioPacket::Open | EngineioPacket::Upgrade | EngineioPacket::Noop => {
                if connection.session.control_frame(&limits, now_ms) == Verdict::Flood {
                    return stop(core, key, Disconnect::Flood);
                }
                if let (EngineioPacket::Pong, Some(link)) = (&packet, connection.link()) {
                    link.pong(now_ms);
                }
                ControlFlow::Continue(())
            }
        }
    }

    /// Takes what a packet of type `message` holds.
    fn data(&self, core: &mut Core, key: ConnectionKey, message: Message<'_>) -> ControlFlow<()> {
        self.services.metrics.messages_in.increment(1);
        let Some(connection) = core.clients.connections.get_mut(key) else { return ControlFlow::Break(()) };
        connection.totals.messages_in = connection.totals.messages_in.wrapping_add(1);
        let Some(link) = connection.link() else { return ControlFlow::Break(()) };
        if let Within::Messages(dialect) = link.endpoint.within {
            return self.command(core, key, dialect, None, message, &[]);
        }
        let max = link.endpoint.max_payload;
        let mut assembly = std::mem::take(&mut link.assembly);
        let taken = assembly.take(message, max, |heard| self.heard(core, key, heard));
        if let Some(link) = core.clients.connections.get_mut(key).and_then(Connection::link) {
            link.assembly = assembly;
        }
        match taken {
            Ok(flow) => flow.unwrap_or(ControlFlow::Continue(())),
            Err(_) => stop(core, key, Disconnect::ProtocolError),
        }
    }

    /// Takes a Socket.IO packet that is whole.
    fn heard(&self, core: &mut Core, key: ConnectionKey, heard: Heard<'_>) -> ControlFlow<()> {
        let Heard { packet, parts } = heard;
        let Some(link) = core.clients.connections.get_mut(key).and_then(Connection::link) else {
            return ControlFlow::Break(());
        };
        let known = link.endpoint.namespace(packet.namespace);
        let inside = known.filter(|dialect| link.spaces.iter().any(|space| space.dialect == *dialect));
        match (packet.kind, inside) {
            (Kind::Connect, None) => self.connect(core, key, packet.namespace, known, packet.data),
            // Neither says anything, and nothing that we say asks for an acknowledgement: many are a flood.
            (Kind::Event, Some(_)) if packet.data.is_empty() => self.idle_packet(core, key),
            (Kind::Ack, Some(_)) => self.idle_packet(core, key),
            (Kind::Event, Some(dialect)) => {
                let id = Envelope::command_id(packet.namespace, packet.id);
                self.command(core, key, dialect, Some(id), Message::Text(packet.data), &parts)
            }
            (Kind::Disconnect, Some(dialect)) => {
                self.leave_namespace(core, key, dialect);
                ControlFlow::Continue(())
            }
            _ => stop(core, key, Disconnect::ProtocolError),
        }
    }

    /// Counts a packet that asks for nothing, as a control frame is.
    fn idle_packet(&self, core: &mut Core, key: ConnectionKey) -> ControlFlow<()> {
        let (limits, now_ms) = (core.clients.settings.limits, core.clients.timers.now_ms());
        let Some(connection) = core.clients.connections.get_mut(key) else { return ControlFlow::Break(()) };
        match connection.session.control_frame(&limits, now_ms) {
            Verdict::Flood => stop(core, key, Disconnect::Flood),
            _ => ControlFlow::Continue(()),
        }
    }

    /// Has a dialect read a message, and does what that asks for.
    fn command(
        &self,
        core: &mut Core,
        key: ConnectionKey,
        dialect: DialectId,
        id: Option<CommandId>,
        message: Message<'_>,
        parts: &[Bytes],
    ) -> ControlFlow<()> {
        let now_ms = core.clients.timers.now_ms();
        let services = Arc::clone(&self.services);
        let Some(connection) = core.clients.connections.get_mut(key) else { return ControlFlow::Break(()) };
        let decode = || match services.dialects.get(dialect).decode_parts(message, parts) {
            Ok(mut request) => {
                request.id = id.or(request.id);
                Ok(request)
            }
            Err(mut error) => {
                error.id = id.or(error.id);
                Err(error)
            }
        };
        let policy = |room: &Room| services.policy(room);
        let (id, action) = connection.session.receive_with(decode, policy, &core.clients.settings.limits, now_ms);
        if let Action::Close(disconnect) = action {
            return stop(core, key, disconnect);
        }
        act(core, key, id, action);
        ControlFlow::Continue(())
    }

    /// What is due by a session's heartbeat.
    pub(crate) fn beat(&self, core: &mut Core, key: ConnectionKey, id: ConnectionId, now_ms: u64) {
        let Some(link) = core.clients.connections.get_mut(key).and_then(Connection::link) else { return };
        let next = match link.look(now_ms) {
            Beat::Wait(next) => next,
            Beat::Ping(next) => {
                core.clients.say_packets(key, engineio::ping);
                next
            }
            Beat::Dead => return core.clients.request_close(key, Disconnect::PingTimeout),
            Beat::Unconnected => return core.clients.request_close(key, Disconnect::Normal),
        };
        self.renew_records(core, key, now_ms);
        let Some(link) = core.clients.connections.get_mut(key).and_then(Connection::link) else { return };
        if link.endpoint.timing.tick_ms().is_some() {
            core.clients.timers.schedule_finely(next, Timed::Connection(key, id));
        } else {
            core.clients.timers.schedule(next, Timed::Connection(key, id));
        }
    }
}
