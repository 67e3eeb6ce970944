//! A session that polls goes on over a WebSocket.
//!
//! Always holds: nothing is lost and nothing overtakes. What waits is framed anew in its order; a room's broadcast that is
//! being written and has not reached the connection is put behind it, one that has is not repeated.

use crate::{
    hub::{
        ConnectionKey, Worker,
        access::identity::PausedInput,
        connection::{State, transport::ClientTransport},
        fanout::subscription::Standing,
    },
    protocol::{Framing, Messages, WireFormat, engineio},
    session::ConnectionId,
    transport::websocket::{Frame, Opcode, frame_messages},
};

impl Worker {
    /// Lets a probed WebSocket carry a session from now on. `behind` came behind the packet that asked for it. `false`: there
    /// is no such session any more, or it has a WebSocket.
    pub(crate) fn upgrade(
        &mut self,
        name: ConnectionId,
        transport: ClientTransport,
        framing: Framing,
        behind: PausedInput,
    ) -> bool {
        let Some(key) = self.connections.session_at(name) else { return false };
        let Some(connection) = self.connections.get_mut(key) else { return false };
        // One that ends, and whose client has not heard of it, ends over the WebSocket: nothing is fetched any more.
        let ends = connection.state == State::Closing && connection.queued_bytes() > 0;
        if !(ends || connection.state == State::Open) || !matches!(connection.transport, ClientTransport::Mailbox(_)) {
            return false;
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
            let _ = connection.say(&close, &mut self.buffers.sealed, &self.services.budget);
            self.connections.wake(key);
            return true;
        }
        self.regroup(key);
        self.connections.wake(key);
        self.replay_input(key, behind);
        true
    }

    /// Puts a connection whose format has changed among the members with the same one, in each of its rooms.
    fn regroup(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get(key) else { return };
        let members: Vec<_> = connection
            .subscriptions
            .iter()
            .filter_map(|s| match s.standing {
                Standing::Member(place) => Some((s.room, place, connection.format_of(s))),
                Standing::Joining | Standing::Behind(_) => None,
            })
            .collect();
        for (number, place, format) in members {
            let run = self.rooms.get(self.stream_of(number)).and_then(|stream| stream.run.as_ref());
            let run = run.filter(|run| run.part == number && run.awaits(key, place));
            let unserved = run.map(|run| run.broadcast.clone());
            let Some(local) = self.rooms.get_mut(number) else { continue };
            let moved = local.members.remove(place);
            let new = local.members.add(key, format);
            if let Some(moved) = moved {
                self.connections.set_seat(moved, number, place);
            }
            self.connections.set_seat(key, number, new);
            if let Some(broadcast) = unserved {
                let frame = broadcast.frame(format, &mut self.encoder);
                let Some(connection) = self.connections.get_mut(key) else { return };
                if !frame.bytes().is_empty() {
                    // Above what it may owe, the next broadcast decides.
                    let sealed = &mut self.buffers.sealed;
                    let _ = connection.offer(&frame, number, sealed, self.queue_limit, &self.services.budget);
                }
            }
        }
    }
}
