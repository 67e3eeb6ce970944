//! What a connection is owed: counted, written when there is space, fetched, dropped.
//!
//! Never judges whether it is too much. Always holds: what is dropped leaves a gap that is told in its place.

use std::{
    io,
    task::{Context, Poll},
};

use crate::{
    hub::{
        Encoder, RoomIndex,
        connection::{
            Connection, State,
            send_queue::{Outbox, Waiting},
            transport::Carrier,
        },
        fanout::{
            broadcast::{Range, gap},
            encoder::write_id,
        },
    },
    model::Room,
    protocol::WireFormat,
    transport::{scratch::Scratch, socket::Written},
};

impl Connection {
    /// The bytes that wait.
    #[must_use]
    pub fn owed(&self) -> usize {
        match &self.carrier {
            Carrier::WebTransport(streams) => streams.owed(),
            Carrier::WebSocket { .. } | Carrier::Mailbox(_) => self.outbox.as_ref().map_or(0, |outbox| outbox.owed()),
        }
    }

    /// The queue, if anything waits in it. A session's streams have queues of their own.
    pub fn outbox_mut(&mut self) -> Option<&mut Outbox> {
        self.outbox.as_deref_mut()
    }

    /// Drops shared frames that wait until at most `limit` bytes are owed; a gap is kept for each range. Returns how many
    /// frames went.
    pub fn drop_oldest(&mut self, limit: usize) -> usize {
        match &mut self.carrier {
            Carrier::WebTransport(streams) => streams.drop_oldest(limit),
            Carrier::WebSocket { .. } | Carrier::Mailbox(_) => {
                self.outbox.as_mut().map_or(0, |outbox| outbox.drop_oldest(limit))
            }
        }
    }

    /// Drops every frame of a room that waits. Returns the first range that was dropped.
    pub fn drop_room(&mut self, number: RoomIndex, room: &Room) -> Option<Range> {
        match &mut self.carrier {
            Carrier::WebTransport(streams) => streams.drop_room(number, room),
            Carrier::WebSocket { .. } | Carrier::Mailbox(_) => self.outbox.as_mut()?.drop_room(room),
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
        if let Carrier::WebTransport(streams) = &mut self.carrier {
            let format = self.format;
            return streams.poll_drain(cx, |range| {
                let mut bytes = Vec::new();
                encoder.reply(format, &gap(range), None, &mut bytes);
                bytes
            });
        }
        while let Some(outbox) = &mut self.outbox {
            if outbox.is_empty() {
                self.outbox = None;
                if self.state != State::Open {
                    self.carrier.shut_down(scratch);
                }
                break;
            }
            std::task::ready!(self.carrier.poll_writable(cx))?;
            let written = if let Some(rest) = outbox.take_sealed() {
                self.carrier.write_rest(rest)?
            } else if let Some(bytes) = outbox.take_urgent() {
                self.carrier.write(&bytes, scratch)?
            } else if let Some((dialect, range)) = outbox.take_gap() {
                let mut bytes = Vec::new();
                encoder.reply(WireFormat { dialect, ..self.format }, &gap(&range), None, &mut bytes);
                self.carrier.write(&bytes, scratch)?
            } else {
                match outbox.take() {
                    Some(Waiting::Shared(frame)) => self.carrier.write(frame.bytes(), scratch)?,
                    Some(Waiting::Private(bytes)) => self.carrier.write(&bytes, scratch)?,
                    None => Written::All,
                }
            };
            if let Written::Rest(rest) = written {
                outbox.keep_sealed(rest);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what waits in a mailbox, oldest first, whole frames until `out` holds `max` bytes. Returns whether nothing
    /// waits any more.
    pub fn collect(&mut self, max: usize, encoder: &mut Encoder, out: &mut Vec<u8>) -> bool {
        let (Some(outbox), Carrier::Mailbox(mailbox)) = (&mut self.outbox, &mut self.carrier) else { return true };
        while out.len() < max && !outbox.is_empty() {
            let (waiting, gone) = match outbox.take_urgent() {
                Some(bytes) => (Some(Waiting::Private(bytes)), None),
                None => match outbox.take_gap() {
                    Some(gap) => (None, Some(gap)),
                    None => (outbox.take(), None),
                },
            };
            match (&waiting, &gone) {
                (Some(Waiting::Shared(frame)), _) => mailbox.fetched(frame.range()),
                (_, gone) => mailbox.fetched(gone.as_ref().map(|(_, range)| range)),
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
        outbox.is_empty()
    }
}
