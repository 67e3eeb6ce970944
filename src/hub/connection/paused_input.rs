//! What a client sends while something about it is being decided.
//!
//! Always holds: it is bounded, and taken up in the order in which it came.

use std::ops::ControlFlow;

use crate::protocol::Message;

/// What a client sent while something about it was being decided. Full: the connection is closed as a flood.
#[derive(Debug, Default)]
pub struct PausedInput {
    messages: Vec<PausedMessage>,
    bytes: usize,
    /// How many decisions they wait for.
    pub(crate) waits: u32,
}

/// A message that waits for a decision.
#[derive(Debug)]
enum PausedMessage {
    Text(Box<str>),
    Binary(Box<[u8]>),
}

impl PausedMessage {
    fn message(&self) -> Message<'_> {
        match self {
            Self::Text(text) => Message::Text(text),
            Self::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

impl PausedInput {
    /// More than one read brings, and the message that it completes: nothing is read behind it.
    const MAX_BYTES: usize = 256 * 1024;
    const MAX_MESSAGES: usize = 1_024;

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Keeps a message; `false`: full.
    #[must_use]
    pub fn keep(&mut self, message: Message<'_>) -> bool {
        let (kept, bytes) = match message {
            Message::Text(text) => (PausedMessage::Text(text.into()), text.len()),
            Message::Binary(bytes) => (PausedMessage::Binary(bytes.into()), bytes.len()),
        };
        self.bytes += bytes;
        self.messages.push(kept);
        self.messages.len() <= Self::MAX_MESSAGES && self.bytes <= Self::MAX_BYTES
    }

    /// What was kept, in the order in which it came, until `take` breaks off.
    pub fn replay(self, mut take: impl FnMut(Message<'_>) -> ControlFlow<()>) {
        for kept in &self.messages {
            if take(kept.message()).is_break() {
                return;
            }
        }
    }
}
