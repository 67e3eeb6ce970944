//! A session that polls goes on over a WebSocket.
//!
//! Always holds: nothing is lost and nothing overtakes. What waits is framed anew in its order; a room's broadcast that is
//! being written and has not reached the connection is put behind it, one that has is not repeated.

use crate::{
    hub::{
        connection::{key::ConnectionKey, state::State, transport::ClientTransport},
        core::{Core, clients::Clients},
        engineio::EngineIo,
        fanout::subscription::Standing,
    },
    protocol::{Framing, Messages, WireFormat, engineio},
    session::ConnectionId,
    transport::websocket::{Frame, Opcode, frame_messages},
};

impl EngineIo {
    /// Lets a probed WebSocket carry a session from now on. `None`: there is no such session any more, or it has a WebSocket.
    pub(crate) fn upgrade(
        &self,
        core: &mut Core,
        name: ConnectionId,
        transport: ClientTransport,
        framing: Framing,
    ) -> Option<ConnectionKey> {
        let key = core.clients.connections.session_at(name)?;
        let connection = core.clients.connections.get_mut(key)?;
        // One that ends, and whose client has not heard of it, ends over the WebSocket: nothing is fetched any more.
        let ends = connection.state == State::Closing && connection.queued_bytes() > 0;
        if !(ends || connection.state == State::Open) || !matches!(connection.transport, ClientTransport::Mailbox(_)) {
            return None;
        }
        let mut framing = framing;
        if let Some(link) = connection.link() {
            link.upgrading = false;
            if link.base64 {
                framing = framing.in_base64();
            }
        }
        let (before, dialect) = (connection.transport.name(), connection.format.dialect.index());
        let connections = &self.services.metrics.connections;
        connections.of(before, dialect).decrement(1);
        connections.of(transport.name(), dialect).increment(1);
        if let ClientTransport::Mailbox(mailbox) = &mut std::mem::replace(&mut connection.transport, transport) {
            // A request that still waits gets nothing more.
            mailbox.wake();
        }
        connection.format = WireFormat { framing, ..connection.format };
        if let Some(send_queue) = connection.send_queue_mut() {
            send_queue.rewrite(|payload| {
                let (mut messages, mut frames) = (Messages::default(), Vec::new());
                engineio::unframe(payload, &mut messages);
                if matches!(framing, Framing::WebSocket { base64: true, .. }) {
                    messages = engineio::without_binary(&messages);
                }
                frame_messages(&messages, None, &mut frames);
                frames
            });
        }
        if ends {
            let mut close = Vec::new();
            Frame::new(Opcode::Close, &[]).write_server(&mut close);
            // What cannot be written now is written by its task, or the socket is gone.
            let _ = connection.say(&close, &mut core.clients.buffers.sealed, &self.services.budget);
            core.clients.connections.wake(key);
            return Some(key);
        }
        self.regroup(core, key);
        core.clients.connections.wake(key);
        Some(key)
    }

    /// Puts a connection whose format has changed among the members with the same one, in each of its rooms.
    fn regroup(&self, core: &mut Core, key: ConnectionKey) {
        let Some(connection) = core.clients.connections.get(key) else { return };
        let members: Vec<_> = connection
            .subscriptions
            .iter()
            .filter_map(|s| match s.standing {
                Standing::Member(place) => Some((s.room, place, connection.format_of(s))),
                Standing::Joining | Standing::Behind(_) => None,
            })
            .collect();
        for (index, place, format) in members {
            let fan_out = core.rooms.get(core.rooms.stream_of(index)).and_then(|stream| stream.fan_out.as_ref());
            let fan_out = fan_out.filter(|fan_out| fan_out.part == index && fan_out.awaits(key, place));
            let unserved = fan_out.map(|fan_out| fan_out.broadcast.clone());
            let Some(local) = core.rooms.get_mut(index) else { continue };
            let moved = local.members.remove(place);
            let new = local.members.add(key, format);
            if let Some(moved) = moved {
                core.clients.connections.set_seat(moved, index, place);
            }
            core.clients.connections.set_seat(key, index, new);
            if let Some(broadcast) = unserved {
                let Clients { connections, encoder, buffers, settings, .. } = &mut core.clients;
                let frame = encoder.independent(&broadcast, format);
                let Some(connection) = connections.get_mut(key) else { return };
                if !frame.bytes().is_empty() {
                    // Above what it may owe, the next broadcast decides.
                    let (sealed, limit) = (&mut buffers.sealed, settings.queue_limit);
                    let _ = connection.offer(&frame, index, sealed, limit, &self.services.budget);
                }
            }
        }
    }
}
