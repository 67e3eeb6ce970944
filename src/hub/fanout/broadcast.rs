//! What goes to a whole room, as bytes: encoded once and compressed once for each wire format, shared by every
//! receiver on every worker.
//!
//! Never knows a receiver. Always holds: a frame's bytes never change, and the pod's account holds them from the moment
//! that a queue does until the last queue lets go.

use std::{
    io::Write,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{
    hub::{Budget, worker::clock::unix_millis},
    model::{Batch, Cursor, Delivery, Disconnect, Epoch, Offset, Policy, Reply, Retained, Room},
    protocol::{
        Beginning, DialectId, Dialects, Framing, Messages, Opening, PresenceChange, Unasked, WireFormat,
        engineio::write_payload,
    },
    transport::{
        websocket::{Deflaters, frame_messages},
        webtransport::{DATAGRAM_PREFIX, write_compressed, write_message, write_stored},
    },
};

/// Events in (`after`, `offset`] of a room: what a frame stands for, and what a gap names when the frame is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The room.
    pub room: Room,
    /// The epoch of `offset`.
    pub epoch: Epoch,
    /// The offset before the first event.
    pub after: Offset,
    /// The last offset.
    pub offset: Offset,
}

impl Range {
    /// The same, of no log.
    #[must_use]
    pub fn of_no_epoch(self) -> Self {
        Self { epoch: Epoch::none(), ..self }
    }

    /// Takes in what follows it, so that one gap stands for both.
    pub fn widen(&mut self, newer: &Self) {
        if self.epoch.is_none() {
            *self = newer.clone();
        } else if !newer.epoch.is_none() {
            self.offset = newer.offset;
            self.epoch = newer.epoch.clone();
        }
    }
}

/// What is said to a room's members.
#[derive(Debug)]
pub enum Content {
    /// Events.
    Events(Batch),
    /// Events that are in no log.
    Unlogged(Batch),
    /// The newest values, to new members.
    Retained(Retained),
    /// Who came and went.
    Presence(PresenceChange),
    /// Events that will not come: the log no longer has them.
    Gap(Range),
}

/// One thing said to a room, and its bytes in each wire format that some receiver asked for.
#[derive(Debug)]
pub struct Broadcast {
    /// What is said.
    pub content: Content,
    /// The room's policy.
    pub policy: Arc<Policy>,
    /// When the first of the events reached this pod.
    pub arrived: Instant,
    /// The user whose connections do not get it.
    pub except: Option<Box<str>>,
    frames: Mutex<SmallVec<[(WireFormat, Frame); 2]>>,
}

impl Broadcast {
    /// Wraps what is to be said.
    #[must_use]
    pub fn new(content: Content, policy: Arc<Policy>, arrived: Instant) -> Self {
        Self { content, policy, arrived, except: None, frames: Mutex::default() }
    }

    /// The same, for everybody but a user.
    #[must_use]
    pub fn except(self, user: Option<&str>) -> Self {
        Self { except: user.map(Into::into), ..self }
    }

    /// The part of the log that it stands for.
    #[must_use]
    pub fn range(&self) -> Option<Range> {
        self.stands_for().filter(|range| !range.epoch.is_none())
    }

    /// What a gap names where it is dropped.
    fn stands_for(&self) -> Option<Range> {
        match &self.content {
            Content::Events(batch) | Content::Unlogged(batch) => Some(Range {
                room: batch.room.clone(),
                epoch: batch.epoch.clone(),
                after: batch.after,
                offset: batch.offset,
            }),
            Content::Gap(range) => Some(range.clone()),
            Content::Retained(_) | Content::Presence(_) => None,
        }
    }

    /// Whether events happen in it now.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.content, Content::Events(_) | Content::Unlogged(_))
    }

    /// Whose members it is for.
    #[must_use]
    pub fn room(&self) -> &Room {
        match &self.content {
            Content::Events(batch) | Content::Unlogged(batch) => &batch.room,
            Content::Retained(retained) => &retained.room,
            Content::Presence(change) => &change.room,
            Content::Gap(range) => &range.room,
        }
    }

    /// The bytes of its events' payloads.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.content {
            Content::Events(batch) | Content::Unlogged(batch) => {
                batch.events.iter().map(|event| event.payload.len()).sum()
            }
            Content::Retained(_) | Content::Presence(_) | Content::Gap(_) => 0,
        }
    }

    /// How many events reach each receiver.
    #[must_use]
    pub fn events(&self) -> usize {
        match &self.content {
            Content::Events(batch) | Content::Unlogged(batch) => batch.events.len(),
            Content::Retained(retained) => retained.events.len(),
            Content::Presence(_) | Content::Gap(_) => 0,
        }
    }

    /// The bytes for one wire format, made by whoever asks first; another worker that asks meanwhile waits for them
    /// instead of making them again.
    pub fn frame(&self, format: WireFormat, encoder: &mut Encoder) -> Frame {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, frame)) = frames.iter().find(|(f, _)| *f == format) {
            return frame.clone();
        }
        let frame = encoder.encode(self, format);
        frames.push((format, frame.clone()));
        frame
    }
}

/// Turns broadcasts into bytes: one a worker.
pub struct Encoder {
    dialects: Arc<Dialects>,
    deflaters: Deflaters,
    messages: Messages,
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
        Self { dialects, deflaters, messages: Messages::default(), budget, bytes_plain: 0, bytes_framed: 0 }
    }

    fn encode(&mut self, broadcast: &Broadcast, format: WireFormat) -> Frame {
        let Self { dialects, deflaters, messages, .. } = self;
        let dialect = dialects.get(format.dialect);
        messages.begin(unix_millis());
        match &broadcast.content {
            Content::Events(batch) | Content::Unlogged(batch) => dialect.batch(batch, format.spelling, messages),
            Content::Retained(retained) => dialect.retained(retained, format.spelling, messages),
            Content::Presence(change) => dialect.presence(change, messages),
            Content::Gap(range) => dialect.reply(&gap(range), None, messages),
        }
        self.bytes_plain += messages.len() as u64;
        let mut bytes = Vec::new();
        match format.framing {
            Framing::WebSocket { window_bits } => {
                let compress = window_bits.zip(broadcast.policy.compress_from);
                let compress = compress.map(|(bits, from)| (deflaters.window(bits.get()), from));
                frame_messages(messages, compress, &mut bytes);
            }
            Framing::Stream { deflate } => {
                bytes.push(DATAGRAM_PREFIX);
                let compress = broadcast.policy.compress_from.filter(|_| deflate);
                if deflate {
                    let mut plain = Vec::with_capacity(messages.len() + 64);
                    prefixed(messages, &mut plain);
                    match compress {
                        Some(from) if plain.len() >= from => write_compressed(deflaters.window(15), &plain, &mut bytes),
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
            if broadcast.policy.delivery == Delivery::Latest && broadcast.is_live() {
                datagram = Some(bytes.clone());
            }
            bytes = bytes.slice(1..);
        }
        self.bytes_framed += bytes.len() as u64;
        let range = broadcast.stands_for();
        let is_gap = matches!(broadcast.content, Content::Gap(_));
        let (budget, booked) = (Arc::clone(&self.budget), AtomicBool::new(false));
        let (plain, policy) = (messages.len(), Arc::clone(&broadcast.policy));
        let dialect = format.dialect;
        Frame(Arc::new(Shared { bytes, datagram, plain, range, is_gap, dialect, policy, budget, booked }))
    }

    /// A reply's bytes, uncompressed: it is one connection's, and compressing it would cost a context or leak lengths.
    pub fn reply(
        &mut self,
        format: WireFormat,
        reply: &Reply,
        id: Option<&crate::model::CommandId>,
        out: &mut Vec<u8>,
    ) {
        self.messages.begin(unix_millis());
        self.dialects.get(format.dialect).reply(reply, id, &mut self.messages);
        self.written(format, out);
    }

    /// What a dialect says first to a connection, and the rooms that the connection begins with.
    ///
    /// # Errors
    /// The connection is closed, once what was said is sent.
    pub fn open(
        &mut self,
        format: WireFormat,
        opening: &Opening<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Beginning, Disconnect> {
        self.messages.begin(unix_millis());
        let opened = self.dialects.get(format.dialect).open(opening, &mut self.messages);
        self.written(format, out);
        opened
    }

    /// What a dialect says to one connection unasked.
    pub fn unasked(&mut self, format: WireFormat, what: &Unasked<'_>, out: &mut Vec<u8>) {
        self.messages.begin(unix_millis());
        self.dialects.get(format.dialect).unasked(what, &mut self.messages);
        self.written(format, out);
    }

    /// Messages for one connection that no dialect writes.
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

    /// What was just written for one connection, framed.
    fn written(&self, format: WireFormat, out: &mut Vec<u8>) {
        match format.framing {
            Framing::WebSocket { .. } => frame_messages(&self.messages, None, out),
            Framing::Stream { deflate: false } => prefixed(&self.messages, out),
            Framing::Stream { deflate: true } => {
                let mut plain = Vec::with_capacity(self.messages.len() + 16);
                prefixed(&self.messages, &mut plain);
                write_stored(&plain, out);
            }
            Framing::Elements => elements(&self.messages, out),
            Framing::EventStream => event_stream(&self.messages, out),
            Framing::Payload => write_payload(&self.messages, out),
        }
    }
}

fn prefixed(messages: &Messages, out: &mut Vec<u8>) {
    messages.iter().for_each(|(_, message)| write_message(message, out));
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

/// The `gap` that stands for a range.
#[must_use]
pub fn gap(range: &Range) -> Reply {
    let Range { room, epoch, after, offset } = range.clone();
    Reply::Gap { room, epoch, after, offset }
}

/// Bytes ready for the wire below TLS. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Frame(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes: Bytes,
    datagram: Option<Bytes>,
    plain: usize,
    range: Option<Range>,
    is_gap: bool,
    dialect: DialectId,
    policy: Arc<Policy>,
    budget: Arc<Budget>,
    booked: AtomicBool,
}

impl Frame {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The bytes, to be held beyond the frame.
    #[must_use]
    pub fn shared(&self) -> Bytes {
        self.0.bytes.clone()
    }

    /// The bytes as a datagram, for rooms of which only the latest matters.
    #[must_use]
    pub fn datagram(&self) -> Option<&Bytes> {
        self.0.datagram.as_ref()
    }

    /// How many bytes its messages have before compression, without framing.
    #[must_use]
    pub fn plain(&self) -> usize {
        self.0.plain
    }

    /// The events that the frame stands for; of an epoch that is none where they are in no log.
    #[must_use]
    pub fn range(&self) -> Option<&Range> {
        self.0.range.as_ref()
    }

    /// The events that the frame stands for, as a receiver that stands before them must ask for them. No epoch is known to
    /// have what that receiver has if the frame is a gap: the range then names none, so that no log takes it for its own.
    /// `None`: the frame stands for no event of a log.
    #[must_use]
    pub fn owed_range(&self) -> Option<Range> {
        let range = self.range().filter(|range| !range.epoch.is_none())?.clone();
        Some(if self.0.is_gap { range.of_no_epoch() } else { range })
    }

    /// In which dialect it is.
    #[must_use]
    pub fn dialect(&self) -> DialectId {
        self.0.dialect
    }

    /// The room's policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// Books the bytes on the pod's account, once, because a queue now holds them.
    pub fn book(&self) {
        if !self.0.booked.swap(true, Relaxed) {
            self.0.budget.take(self.0.bytes.len());
        }
    }
}

#[cfg(test)]
impl Frame {
    /// A frame of so many bytes, for tests of what queues do with it.
    pub(crate) fn of(len: usize, range: Option<Range>, budget: &Arc<Budget>) -> Self {
        let (policy, budget, booked) = (Arc::default(), Arc::clone(budget), AtomicBool::new(false));
        let (dialect, datagram, bytes) = (DialectId::NATIVE, None, vec![0; len].into());
        Self(Arc::new(Shared { bytes, datagram, plain: len, range, is_gap: false, dialect, policy, budget, booked }))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if *self.booked.get_mut() {
            self.budget.give(self.bytes.len());
        }
    }
}
