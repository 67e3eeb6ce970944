//! What a connection is owed: counted, written when there is space, fetched, dropped.
//!
//! Never judges whether it is too much. Always holds: what is dropped leaves a gap that is told in its place.

use std::{
    io,
    task::{Context, Poll},
};

use crate::{
    hub::{
        connection::{
            Connection,
            send_queue::{SendQueue, Waiting},
            state::State,
            transport::ClientTransport,
        },
        fanout::{
            encoder::{Encoder, write_id},
            range::{Range, gap},
            room_index::RoomIndex,
        },
    },
    model::Room,
    protocol::WireFormat,
    transport::{scratch::Scratch, socket::Written},
};

impl Connection {
    /// The bytes that wait.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        match &self.transport {
            ClientTransport::WebTransport(streams) => streams.queued_bytes(),
            ClientTransport::WebSocket { .. } | ClientTransport::Mailbox(_) => {
                self.send_queue.as_ref().map_or(0, |send_queue| send_queue.queued_bytes())
            }
        }
    }

    /// The queue, if anything waits in it. A session's streams have queues of their own.
    pub fn send_queue_mut(&mut self) -> Option<&mut SendQueue> {
        self.send_queue.as_deref_mut()
    }

    /// Drops shared frames that wait until at most `limit` bytes are owed; a gap is kept for each range. Returns how many
    /// frames went.
    pub fn drop_oldest(&mut self, limit: usize) -> usize {
        match &mut self.transport {
            ClientTransport::WebTransport(streams) => streams.drop_oldest(limit),
            ClientTransport::WebSocket { .. } | ClientTransport::Mailbox(_) => {
                self.send_queue.as_mut().map_or(0, |send_queue| send_queue.drop_oldest(limit))
            }
        }
    }

    /// Drops every frame of a room that waits. Returns the first range that was dropped.
    pub fn drop_room(&mut self, index: RoomIndex, room: &Room) -> Option<Range> {
        match &mut self.transport {
            ClientTransport::WebTransport(streams) => streams.drop_room(index, room),
            ClientTransport::WebSocket { .. } | ClientTransport::Mailbox(_) => {
                self.send_queue.as_mut()?.drop_room(room)
            }
        }
    }

    /// Writes what waits, as far as the kernel takes it. `Ready`: nothing waits any more.
    ///
    /// # Errors
    /// The socket failed.
    pub fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        encoder: &mut Encoder,
        scratch: &mut Scratch,
    ) -> Poll<io::Result<()>> {
        if let ClientTransport::WebTransport(streams) = &mut self.transport {
            let format = self.format;
            return streams.poll_drain(cx, |range| {
                let mut bytes = Vec::new();
                encoder.reply(format, &gap(range), None, &mut bytes);
                bytes
            });
        }
        while let Some(send_queue) = &mut self.send_queue {
            if send_queue.is_empty() {
                self.send_queue = None;
                if self.state != State::Open {
                    self.transport.shut_down(scratch);
                }
                break;
            }
            std::task::ready!(self.transport.poll_writable(cx))?;
            send_queue.moves();
            let written = if let Some(rest) = send_queue.take_sealed() {
                self.transport.write_rest(rest)?
            } else if let Some(bytes) = send_queue.take_urgent() {
                self.transport.write(&bytes, scratch)?
            } else if let Some((dialect, range)) = send_queue.take_gap() {
                let mut bytes = Vec::new();
                encoder.reply(WireFormat { dialect, ..self.format }, &gap(&range), None, &mut bytes);
                self.transport.write(&bytes, scratch)?
            } else {
                match send_queue.take() {
                    Some(Waiting::Shared(frame)) => self.transport.write(frame.bytes(), scratch)?,
                    Some(Waiting::Private(bytes)) => self.transport.write(&bytes, scratch)?,
                    None => Written::All,
                }
            };
            if let Written::Rest(rest) = written {
                send_queue.keep_sealed(rest);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what waits in a mailbox, oldest first, whole frames until `out` holds `max` bytes. Returns whether nothing
    /// waits any more.
    pub fn collect(&mut self, max: usize, encoder: &mut Encoder, out: &mut Vec<u8>) -> bool {
        let (Some(send_queue), ClientTransport::Mailbox(mailbox)) = (&mut self.send_queue, &mut self.transport) else {
            return true;
        };
        while out.len() < max && !send_queue.is_empty() {
            let (waiting, gone) = match send_queue.take_urgent() {
                Some(bytes) => (Some(Waiting::Private(bytes)), None),
                None => match send_queue.take_gap() {
                    Some(gap) => (None, Some(gap)),
                    None => (send_queue.take(), None),
                },
            };
            match (&waiting, &gone) {
                (Some(Waiting::Shared(frame)), _) => mailbox.taken(frame.range()),
                (_, gone) => mailbox.taken(gone.as_ref().map(|(_, range)| range)),
            }
            if let Some(cursor) = mailbox.moved() {
                write_id(cursor, out);
            }
            match (waiting, gone) {
                (Some(Waiting::Shared(frame)), _) => out.extend_from_slice(frame.bytes()),
                (Some(Waiting::Private(bytes)), _) => out.extend_from_slice(&bytes),
                (None, Some((dialect, range))) => {
                    encoder.reply(WireFormat { dialect, ..self.format }, &gap(&range), None, out);
                }
                (None, None) => break,
            }
        }
        send_queue.is_empty()
    }
}
