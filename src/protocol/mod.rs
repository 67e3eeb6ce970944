//! Client wire formats: bytes to commands, batches to bytes. Pure: no I/O, no clock, no rooms.
//!
//! A new dialect is a file here, mounted on its paths by the pod ([`Dialects::mount`]), or no code at all: a `[[dialect]]` of
//! the configuration.

mod described;
mod dialects;
pub mod engineio;
mod native;
mod opening;
pub mod socketio;

pub use described::Described;
pub use dialects::{DialectId, Dialects, MountError};
pub use native::{MAX_ID_BYTES, MAX_ROOMS_A_COMMAND, Native, SUBPROTOCOL};
pub use opening::{Beginning, Opening, Unasked};

use std::{num::NonZeroU8, time::Duration};

use bytes::Bytes;

use crate::model::{
    Batch, CommandError, CommandId, Disconnect, ErrorCode, Member, Reply, Request, Retained, Room, Said, Spelling,
    UnixMillis,
};

/// Whether a message is text or binary (RFC 6455 section 5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
}

/// A whole message of a client, already unmasked, defragmented, inflated and checked for UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// UTF-8.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

/// Who came and went in a room, told to its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceChange {
    /// The room.
    pub room: Room,
    /// Who came; empty above the size at which only counts are told.
    pub joined: Vec<Member>,
    /// Who went.
    pub left: Vec<Member>,
    /// How many there are now.
    pub total: usize,
}

/// Whole messages as a dialect writes them, one after another, not yet framed for a transport.
#[derive(Debug, Default)]
pub struct Messages {
    /// The time that they are written at: dialects read no clock.
    pub now: UnixMillis,
    bytes: Vec<u8>,
    ends: Vec<(MessageKind, usize)>,
}

impl Messages {
    /// No messages; what follows is written at `now`.
    #[must_use]
    pub fn at(now: UnixMillis) -> Self {
        Self { now, ..Self::default() }
    }

    /// Writes one message.
    pub fn push(&mut self, kind: MessageKind, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push((kind, self.bytes.len()));
    }

    /// Writes messages that are as they should be.
    pub fn say(&mut self, answer: &[Said]) {
        for said in answer {
            match said {
                Said::Text(text) => self.push(MessageKind::Text, |out| out.extend_from_slice(text.as_bytes())),
                Said::Binary(bytes) => self.push(MessageKind::Binary, |out| out.extend_from_slice(bytes)),
            }
        }
    }

    /// Forgets all messages, keeps the memory; what follows is written at `now`.
    pub fn begin(&mut self, now: UnixMillis) {
        self.now = now;
        self.bytes.clear();
        self.ends.clear();
    }

    /// The bytes of all messages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The messages in order.
    pub fn iter(&self) -> impl Iterator<Item = (MessageKind, &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |&(kind, end)| {
            let message = &self.bytes[start..end];
            start = end;
            (kind, message)
        })
    }
}

/// What a dialect leaves out or adds, which the hub must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Whether it has words for a gap. Where it has none, nothing is ever left out: who falls behind catches up or is closed.
    pub tells_gaps: bool,
    /// Whether a token can come in a message. Where it cannot, a request that needs one and has none is refused.
    pub takes_tokens: bool,
    /// How often it gives a sign of life ([`Unasked::Heartbeat`]); `None`: never.
    pub heartbeat: Option<Duration>,
    /// Whether its clients are told where they stand in each room, and count on it: rooms that share a log have no positions of
    /// their own.
    pub tells_positions: bool,
}

impl Default for Abilities {
    fn default() -> Self {
        Self { tells_gaps: true, takes_tokens: true, heartbeat: None, tells_positions: true }
    }
}

/// One client wire format. What it writes for a batch, a presence change or retained values contains nothing of the
/// receiver: that is what makes one encoding serve everybody. (How its command spelt the room's name is not the receiver's
/// own: all that spell alike share the bytes.)
pub trait Dialect: Send + Sync {
    /// Begins a connection: writes what it is told first, and says which rooms it enters unasked.
    ///
    /// # Errors
    /// It is closed with that, once what was written is sent.
    fn open(&self, opening: &Opening<'_>, out: &mut Messages) -> Result<Beginning, Disconnect>;
    /// Says something to one connection unasked. A dialect without words for it writes nothing.
    fn unasked(&self, _what: &Unasked<'_>, _out: &mut Messages) {}
    /// A client's message as a command.
    ///
    /// # Errors
    /// [`CommandError`] is what the client is told.
    fn decode(&self, message: Message<'_>) -> Result<Request, CommandError>;
    /// A client's message as a command, with the binary data that came beside it.
    ///
    /// # Errors
    /// [`CommandError`] is what the client is told.
    fn decode_parts(&self, message: Message<'_>, parts: &[Bytes]) -> Result<Request, CommandError> {
        if parts.is_empty() {
            return self.decode(message);
        }
        let message = "binary data are not taken here".to_owned();
        Err(CommandError { code: ErrorCode::BadRequest, message, id: None })
    }
    /// A reply to one connection; `id` is that of the command it answers. A dialect without words for it writes nothing.
    fn reply(&self, reply: &Reply, id: Option<&CommandId>, out: &mut Messages);
    /// A batch for everybody in the room who spelt its name alike.
    fn batch(&self, batch: &Batch, spelling: Spelling, out: &mut Messages);
    /// Retained values for new subscribers.
    fn retained(&self, retained: &Retained, spelling: Spelling, out: &mut Messages);
    /// Who came and went.
    fn presence(&self, change: &PresenceChange, out: &mut Messages);
    /// What it leaves out.
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }
}

/// How whole messages become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// WebSocket frames (RFC 6455), with permessage-deflate of this window (RFC 7692), or without.
    WebSocket {
        /// The window's size is 2 to this power, in bytes.
        window_bits: Option<NonZeroU8>,
    },
    /// Messages behind their lengths on the streams of a WebTransport session.
    Stream {
        /// Whether a room's stream is one raw deflate stream (RFC 1951).
        deflate: bool,
    },
    /// Each message followed by a comma: the elements of a JSON array, for clients that poll.
    Elements,
    /// Events of an event stream (HTML, section 9.2), without their `id`.
    EventStream,
    /// Packets of an Engine.IO payload, for its clients that poll.
    Payload,
}

impl Framing {
    /// The name of the compression that broadcasts have in it, if they have one.
    #[must_use]
    pub fn compression(self) -> Option<&'static str> {
        match self {
            Self::WebSocket { window_bits } => window_bits.map(|_| "permessage-deflate"),
            Self::Stream { deflate } => deflate.then_some("deflate-raw"),
            Self::Elements | Self::EventStream | Self::Payload => None,
        }
    }
}

/// Everything that makes the bytes of a broadcast differ between two receivers: connections with equal formats share
/// frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WireFormat {
    /// The dialect.
    pub dialect: DialectId,
    /// How its commands spelt the room's name.
    pub spelling: Spelling,
    /// What surrounds its messages.
    pub framing: Framing,
}

impl WireFormat {
    /// The format of a session's stream of commands, which is never compressed.
    #[must_use]
    pub fn of_commands(self) -> Self {
        match self.framing {
            Framing::Stream { .. } => Self { framing: Framing::Stream { deflate: false }, ..self },
            Framing::WebSocket { .. } | Framing::Elements | Framing::EventStream | Framing::Payload => self,
        }
    }
}
