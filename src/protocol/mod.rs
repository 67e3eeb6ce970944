//! Client wire formats: bytes to commands, batches to bytes. Pure: no I/O, no clock, no rooms.
//!
//! A new dialect is a file here and a line in `negotiate`.

mod native;

pub use native::{MAX_ID_BYTES, MAX_ROOMS_A_COMMAND, Native, SUBPROTOCOL};

use std::{num::NonZeroU8, sync::Arc};

use crate::model::{Batch, CommandError, CommandId, Member, Reply, Request, Retained, Room};

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
    bytes: Vec<u8>,
    ends: Vec<(MessageKind, usize)>,
}

impl Messages {
    /// Writes one message.
    pub fn push(&mut self, kind: MessageKind, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push((kind, self.bytes.len()));
    }

    /// Forgets all messages, keeps the memory.
    pub fn clear(&mut self) {
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

/// One client wire format. What it writes for a batch, a presence change or retained values contains nothing of the
/// receiver: that is what makes one encoding serve everybody.
pub trait Dialect: Send + Sync {
    /// A client's message as a command.
    ///
    /// # Errors
    /// [`CommandError`] is what the client is told.
    fn decode(&self, message: Message<'_>) -> Result<Request, CommandError>;
    /// A reply to one connection; `id` is that of the command it answers.
    fn reply(&self, reply: &Reply, id: Option<&CommandId>, out: &mut Messages);
    /// A batch for everybody in the room.
    fn batch(&self, batch: &Batch, out: &mut Messages);
    /// Retained values for new subscribers.
    fn retained(&self, retained: &Retained, out: &mut Messages);
    /// Who came and went.
    fn presence(&self, change: &PresenceChange, out: &mut Messages);
}

/// Which dialect a connection speaks: an index into [`Dialects`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DialectId(u8);

impl DialectId {
    /// `roomcast.v1`.
    pub const NATIVE: Self = Self(0);

    /// Its place among the pod's dialects.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The dialects of a pod with their names, made once at start.
pub struct Dialects(Vec<(Arc<str>, Box<dyn Dialect>)>);

impl Default for Dialects {
    fn default() -> Self {
        Self(vec![("native".into(), Box::new(Native))])
    }
}

impl Dialects {
    /// Dialects of one's own; the first is what connections speak that ask for nothing else.
    #[must_use]
    pub fn new(dialects: Vec<(Arc<str>, Box<dyn Dialect>)>) -> Self {
        Self(dialects)
    }

    /// The dialect behind an id.
    #[must_use]
    pub fn get(&self, id: DialectId) -> &dyn Dialect {
        &*self.0[id.index()].1
    }

    /// Its name, for metrics and the API.
    #[must_use]
    pub fn name(&self, id: DialectId) -> &Arc<str> {
        &self.0[id.index()].0
    }

    /// All ids.
    pub fn ids(&self) -> impl Iterator<Item = DialectId> {
        (0..=u8::MAX).take(self.0.len()).map(DialectId)
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
    /// One message a line, for clients that fetch what waits for them. No message of a dialect has a line feed.
    Lines,
}

impl Framing {
    /// The name of the compression that broadcasts have in it, if they have one.
    #[must_use]
    pub fn compression(self) -> Option<&'static str> {
        match self {
            Self::WebSocket { window_bits } => window_bits.map(|_| "permessage-deflate"),
            Self::Stream { deflate } => deflate.then_some("deflate-raw"),
            Self::Lines => None,
        }
    }
}

/// Everything that makes the bytes of a broadcast differ between two receivers: connections with equal formats share
/// frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WireFormat {
    /// The dialect.
    pub dialect: DialectId,
    /// What surrounds its messages.
    pub framing: Framing,
}

impl WireFormat {
    /// The format of a session's stream of commands, which is never compressed.
    #[must_use]
    pub fn of_commands(self) -> Self {
        match self.framing {
            Framing::Stream { .. } => Self { framing: Framing::Stream { deflate: false }, ..self },
            Framing::WebSocket { .. } | Framing::Lines => self,
        }
    }
}
