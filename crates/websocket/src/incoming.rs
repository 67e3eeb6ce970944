//! What a reader hands out, what it may cost, and why it stops.
//!
//! Owns no bytes: a message borrows the input, the reader's buffer or the inflater's output, and lasts for one call.

/// What one message may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageLimits {
    /// The most bytes of a message, before and after decompression; more is [`ReadError::TooBig`].
    pub max_message: usize,
    /// The most frames that a message may come in; more is [`ReadError::TooBig`].
    pub max_fragments: usize,
}

/// Why a stream of frames cannot be read on. The connection fails with a close frame of [`ReadError::close_code`] (RFC 6455
/// section 7.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// A frame breaks the protocol (RFC 6455 section 5).
    #[error("a frame breaks the WebSocket protocol")]
    Protocol,
    /// A text message or a close reason is not UTF-8 (RFC 6455 section 8.1), or a compressed message does not inflate.
    #[error("a message is not what its frame says")]
    InvalidData,
    /// A message is above the limits.
    #[error("a message is too big")]
    TooBig,
}

impl ReadError {
    /// The status code of the close frame that says so (RFC 6455 section 7.4.1).
    #[must_use]
    pub fn close_code(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            Self::InvalidData => 1007,
            Self::TooBig => 1009,
        }
    }
}

/// What came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// A ping: to be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// A close frame with its code and reason; nothing comes after it.
    Close(Option<(u16, &'a str)>),
}
