//! How broadcasts and replies become bytes: their dialect writes them, then they are compressed and framed. Each worker has one encoder.
//!
//! Never knows a connection. Always holds: only what a whole room shares is compressed. A reply is one connection's, and compressing
//! it would cost a context, leak lengths, or put it into a client's window where no other client has it.

use std::{
    io::Write,
    sync::{Arc, atomic::AtomicBool},
};

use bytes::Bytes;

use crate::{
    hub::{
        connection::budget::Budget,
        fanout::{
            broadcast::{Broadcast, Content},
            deflate_budget::DeflateBudget,
            frame::{Frame, FrameBytes},
            range::gap,
            room_window::RoomWindow,
            window_mark::FrameWindow,
        },
        worker::clock::unix_millis,
    },
    model::{CommandId, Cursor, Disconnect, Notice, Reply},
    protocol::{
        DialectId, Dialects, Framing, Messages, OpenOutcome, Opening, ServerPush, WireFormat,
        engineio::{without_binary, write_payload},
    },
    transport::{
        websocket::{Deflaters, frame_messages},
        webtransport::{DATAGRAM_PREFIX, write_compressed, write_message, write_stored},
    },
};

/// Turns what is said into bytes.
pub struct Encoder {
    dialects: Arc<Dialects>,
    deflaters: Deflaters,
    messages: Messages,
    /// For what clients missed.
    recovery_deflate: DeflateBudget,
    budget: Arc<Budget>,
    /// Bytes before compression, of all frames that this worker made.
    pub bytes_plain: u64,
    /// Bytes after it.
    pub bytes_framed: u64,
}

impl Encoder {
    /// An encoder for one worker.
    #[must_use]
    pub fn new(dialects: Arc<Dialects>, compression_level: u32, budget: Arc<Budget>) -> Self {
        let deflaters = Deflaters::new(compression_level);
        Self {
            dialects,
            deflaters,
            messages: Messages::default(),
            recovery_deflate: DeflateBudget::new(),
            budget,
            bytes_plain: 0,
            bytes_framed: 0,
        }
    }

    /// A broadcast's frame for one wire format: made once, whatever worker asks. In a room whose frames are chained it is for those
    /// that [`Connection::takes`](crate::hub::connection::Connection::takes) it; others get [`Encoder::independent`].
    pub fn frame(&mut self, broadcast: &Broadcast, format: WireFormat) -> Frame {
        if let Some(window) = broadcast.window()
            && format.framing.keeps_window()
            && let Some(frame) = broadcast.frame_or_make(format, || self.encode_chained(broadcast, window, format))
        {
            return frame;
        }
        self.independent(broadcast, format)
    }

    /// A broadcast's frame for one wire format that every client can read, made once as well.
    pub fn independent(&mut self, broadcast: &Broadcast, format: WireFormat) -> Frame {
        let format = format.independent();
        let made = broadcast.frame_or_make(format, || Some(self.encode(broadcast, format)));
        // Of this format there is always one.
        made.unwrap_or_else(|| self.encode(broadcast, format))
    }

    /// The next frame of the room's chain. `None`: it has none, or this frame is not of it.
    fn encode_chained(&mut self, broadcast: &Broadcast, window: &Arc<RoomWindow>, format: WireFormat) -> Option<Frame> {
        let (from, bits) = (broadcast.policy.compress_from?, format.framing.kept_window_bits()?);
        let is_stream = matches!(format.framing, Framing::Stream { .. });
        if is_stream && broadcast.fits_datagram() {
            return None;
        }
        let mut turn = window.chain(format)?;
        self.write_messages(broadcast, format);
        let (mut bytes, alone, messages) = (Vec::new(), self.deflaters.window(bits), &self.messages);
        let window = match format.framing {
            Framing::WebSocket { base64: true, .. } => {
                turn.write(&without_binary(messages), from, alone, &mut bytes)?
            }
            // Small pieces as well: whatever is on the stream is in its window.
            _ if is_stream => turn.write_piece(&all_prefixed(messages), alone, &mut bytes)?,
            _ => turn.write(messages, from, alone, &mut bytes)?,
        };
        drop(turn);
        self.bytes_plain += self.messages.len() as u64;
        Some(self.finish(broadcast, format, bytes.into_boxed_slice().into(), None, window))
    }

    fn write_messages(&mut self, broadcast: &Broadcast, format: WireFormat) {
        let Self { dialects, messages, .. } = self;
        let dialect = dialects.get(format.dialect);
        messages.begin(unix_millis());
        match &broadcast.content {
            Content::Events(batch) | Content::Unlogged(batch) => dialect.batch(batch, format.spelling, messages),
            Content::Retained(retained) => dialect.retained(retained, format.spelling, messages),
            Content::Presence(change) => dialect.presence(change, messages),
            Content::Signal(notice) => dialect.signal(notice, format.spelling, messages),
            Content::Notice(_, Notice::Receipts(receipts)) => {
                dialect.reply(&Reply::Receipts { receipts: receipts.clone() }, None, messages);
            }
            Content::Notice(_, Notice::Unread(rooms)) => {
                dialect.reply(&Reply::Unread { rooms: rooms.clone() }, None, messages);
            }
            Content::Gap(range) => dialect.reply(&gap(range), None, messages),
        }
    }

    fn encode(&mut self, broadcast: &Broadcast, format: WireFormat) -> Frame {
        self.write_messages(broadcast, format);
        let Self { deflaters, messages, recovery_deflate, .. } = self;
        self.bytes_plain += messages.len() as u64;
        let may_compress = !broadcast.recovered || recovery_deflate.take(messages.len(), messages.now);
        let compress_from = broadcast.policy.compress_from.filter(|_| may_compress);
        let (mut bytes, mut enters_window) = (Vec::new(), false);
        match format.framing {
            Framing::WebSocket { window_bits, base64, .. } => {
                let compress = window_bits.zip(compress_from);
                let compress = compress.map(|(bits, from)| (deflaters.window(bits.get()), from));
                enters_window = if base64 {
                    frame_messages(&without_binary(messages), compress, &mut bytes)
                } else {
                    frame_messages(messages, compress, &mut bytes)
                };
            }
            Framing::Stream { deflate, .. } => {
                bytes.push(DATAGRAM_PREFIX);
                // What is stored is in the stream's window as well.
                enters_window = deflate;
                if deflate {
                    let plain = all_prefixed(messages);
                    match compress_from {
                        Some(from) if plain.len() >= from => {
                            write_compressed(deflaters.window(Framing::STREAM_WINDOW_BITS), &plain, &mut bytes);
                        }
                        _ => write_stored(&plain, &mut bytes),
                    }
                } else {
                    prefixed(messages, &mut bytes);
                }
            }
            Framing::Elements => elements(messages, &mut bytes),
            Framing::EventStream => event_stream(messages, &mut bytes),
            Framing::Payload => write_payload(messages, &mut bytes),
        }
        let mut bytes = Bytes::from(bytes.into_boxed_slice());
        let mut datagram = None;
        if let Framing::Stream { .. } = format.framing {
            if broadcast.fits_datagram() {
                datagram = Some(bytes.clone());
            }
            bytes = bytes.slice(1..);
        }
        self.finish(broadcast, format, bytes, datagram, FrameWindow::independent(enters_window))
    }

    fn finish(
        &mut self,
        broadcast: &Broadcast,
        format: WireFormat,
        bytes: Bytes,
        datagram: Option<Bytes>,
        window: FrameWindow,
    ) -> Frame {
        self.bytes_framed += bytes.len() as u64;
        let range = broadcast.stands_for();
        let is_gap = matches!(broadcast.content, Content::Gap(_));
        let (budget, booked) = (Arc::clone(&self.budget), AtomicBool::new(false));
        let plain = self.messages.len();
        let dialect = format.dialect;
        Frame::new(FrameBytes { bytes, datagram, plain, range, is_gap, dialect, budget, booked, window })
    }

    /// Writes a reply. It is not compressed.
    pub fn reply(&mut self, format: WireFormat, reply: &Reply, id: Option<&CommandId>, out: &mut Vec<u8>) {
        self.messages.begin(unix_millis());
        self.dialects.get(format.dialect).reply(reply, id, &mut self.messages);
        self.written(format, out);
    }

    /// Writes what a dialect says first to a connection; the rooms that the connection begins with.
    ///
    /// # Errors
    /// Why the connection is to be closed, once that is sent.
    pub fn open(
        &mut self,
        format: WireFormat,
        opening: &Opening<'_>,
        out: &mut Vec<u8>,
    ) -> Result<OpenOutcome, Disconnect> {
        self.messages.begin(unix_millis());
        let opened = self.dialects.get(format.dialect).open(opening, &mut self.messages);
        self.written(format, out);
        opened
    }

    /// Writes what a dialect says to one connection unasked.
    pub fn server_push(&mut self, format: WireFormat, what: &ServerPush<'_>, out: &mut Vec<u8>) {
        self.messages.begin(unix_millis());
        self.dialects.get(format.dialect).push(what, &mut self.messages);
        self.written(format, out);
    }

    /// Writes messages for one connection that no dialect writes.
    pub fn packets(&mut self, format: WireFormat, write: impl FnOnce(&mut Messages), out: &mut Vec<u8>) {
        self.messages.begin(unix_millis());
        write(&mut self.messages);
        self.written(format, out);
    }

    /// Whether clients of a dialect count on positions of each room.
    #[must_use]
    pub fn tells_positions(&self, dialect: DialectId) -> bool {
        self.dialects.get(dialect).abilities().tells_positions
    }

    /// Whether a dialect has words for a gap.
    #[must_use]
    pub fn tells_gaps(&self, format: WireFormat) -> bool {
        self.dialects.get(format.dialect).abilities().tells_gaps
    }

    /// Frames what was just written for one connection.
    fn written(&self, format: WireFormat, out: &mut Vec<u8>) {
        match format.framing {
            Framing::WebSocket { base64: true, .. } => {
                frame_messages(&without_binary(&self.messages), None, out);
            }
            Framing::WebSocket { base64: false, .. } => {
                frame_messages(&self.messages, None, out);
            }
            Framing::Stream { deflate: false, .. } => prefixed(&self.messages, out),
            Framing::Stream { deflate: true, .. } => write_stored(&all_prefixed(&self.messages), out),
            Framing::Elements => elements(&self.messages, out),
            Framing::EventStream => event_stream(&self.messages, out),
            Framing::Payload => write_payload(&self.messages, out),
        }
    }
}

fn prefixed(messages: &Messages, out: &mut Vec<u8>) {
    messages.iter().for_each(|(_, message)| write_message(message, out));
}

fn all_prefixed(messages: &Messages) -> Vec<u8> {
    let mut plain = Vec::with_capacity(messages.len() + 64);
    prefixed(messages, &mut plain);
    plain
}

fn elements(messages: &Messages, out: &mut Vec<u8>) {
    for (_, message) in messages.iter() {
        out.extend_from_slice(message);
        out.push(b',');
    }
}

/// Each message as an event without a type. A line feed or carriage return in it, which in JSON is white space between
/// tokens, begins another `data` line.
fn event_stream(messages: &Messages, out: &mut Vec<u8>) {
    for (_, message) in messages.iter() {
        for line in message.split(|byte| matches!(byte, b'\n' | b'\r')) {
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        out.push(b'\n');
    }
}

/// The `id` of the event that follows in an event stream: where its reader stands then.
pub(crate) fn write_id(cursor: &Cursor, out: &mut Vec<u8>) {
    // A Vec takes every write.
    let _ = writeln!(out, "id: {cursor}");
}
