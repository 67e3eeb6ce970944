//! What decides the bytes of a frame: dialect, spelling and framing.
//!
//! Pure. Always holds: two connections with equal formats get the same bytes of a broadcast.

use std::num::NonZeroU8;

use crate::model::Spelling;

/// The dialect of a connection: an index into [`Dialects`](super::Dialects).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DialectId(pub(super) u8);

impl DialectId {
    /// `roomcast.v1`.
    pub const NATIVE: Self = Self(0);

    /// Its index among the pod's dialects.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// How whole messages become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// WebSocket frames (RFC 6455), with permessage-deflate of this window (RFC 7692), or without.
    WebSocket {
        /// The window's size is 2 to this power, in bytes.
        window_bits: Option<NonZeroU8>,
        /// The client keeps its window from one compressed message to the next: it did not ask for `server_no_context_takeover`.
        keeps_window: bool,
        /// Binary Engine.IO messages are texts, because the client takes no others (`b64` in its query).
        base64: bool,
    },
    /// Messages behind their lengths on the streams of a WebTransport session.
    Stream {
        /// Whether a room's stream is one raw deflate stream (RFC 1951).
        deflate: bool,
        /// Whether its frames may refer to those before them on the stream.
        keeps_window: bool,
    },
    /// Each message followed by a comma: the elements of a JSON array, for clients that poll.
    Elements,
    /// Events of an event stream (HTML, section 9.2), without their `id`.
    EventStream,
    /// Packets of an Engine.IO payload, for its clients that poll.
    Payload,
}

impl Framing {
    /// The window of a deflate stream (RFC 1951 section 2), as a power of 2 in bytes.
    pub const STREAM_WINDOW_BITS: u8 = 15;

    /// The framing of a WebSocket whose messages are compressed each for itself, if at all.
    #[must_use]
    pub fn websocket(window_bits: Option<NonZeroU8>) -> Self {
        Self::WebSocket { window_bits, keeps_window: false, base64: false }
    }

    /// The same for a client that keeps its window, or does not.
    #[must_use]
    pub fn keeping_window(self, keeps: bool) -> Self {
        match self {
            Self::WebSocket { window_bits, base64, .. } => {
                Self::WebSocket { window_bits, keeps_window: keeps && window_bits.is_some(), base64 }
            }
            Self::Stream { deflate, .. } => Self::Stream { deflate, keeps_window: keeps && deflate },
            Self::Elements | Self::EventStream | Self::Payload => self,
        }
    }

    /// The window that frames may refer to, as a power of 2 in bytes. `None`: each is compressed for itself, if at all.
    #[must_use]
    pub fn kept_window_bits(self) -> Option<u8> {
        match self {
            Self::WebSocket { window_bits, keeps_window: true, .. } => window_bits.map(NonZeroU8::get),
            Self::Stream { keeps_window: true, .. } => Some(Self::STREAM_WINDOW_BITS),
            Self::WebSocket { .. } | Self::Stream { .. } | Self::Elements | Self::EventStream | Self::Payload => None,
        }
    }

    /// Whether its client keeps the window from one compressed message to the next.
    #[inline]
    #[must_use]
    pub fn keeps_window(self) -> bool {
        matches!(self, Self::WebSocket { keeps_window: true, .. } | Self::Stream { keeps_window: true, .. })
    }

    /// The same for a client that takes no binary messages.
    #[must_use]
    pub fn in_base64(self) -> Self {
        match self {
            Self::WebSocket { window_bits, keeps_window, .. } => {
                Self::WebSocket { window_bits, keeps_window, base64: true }
            }
            Self::Stream { .. } | Self::Elements | Self::EventStream | Self::Payload => self,
        }
    }

    /// The name of the compression that broadcasts have in it, if they have one.
    #[must_use]
    pub fn compression(self) -> Option<&'static str> {
        match self {
            Self::WebSocket { window_bits, .. } => window_bits.map(|_| "permessage-deflate"),
            Self::Stream { deflate, .. } => deflate.then_some("deflate-raw"),
            Self::Elements | Self::EventStream | Self::Payload => None,
        }
    }
}

/// Everything by which the bytes of a broadcast differ between two receivers. Connections with equal formats share frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WireFormat {
    /// The dialect.
    pub dialect: DialectId,
    /// The spelling of the room's name.
    pub spelling: Spelling,
    /// The framing of its messages.
    pub framing: Framing,
}

impl WireFormat {
    /// The format of the same messages, compressed each for itself.
    #[must_use]
    pub fn independent(self) -> Self {
        Self { framing: self.framing.keeping_window(false), ..self }
    }

    /// The format of a session's stream of commands, which is never compressed.
    #[must_use]
    pub fn of_commands(self) -> Self {
        match self.framing {
            Framing::Stream { .. } => Self { framing: Framing::Stream { deflate: false, keeps_window: false }, ..self },
            Framing::WebSocket { .. } | Framing::Elements | Framing::EventStream | Framing::Payload => self,
        }
    }
}
