//! Whole messages, before and after a transport frames them.

use crate::model::{PreparedMessage, UnixMillis};

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

/// Whole messages of a dialect, in order, not yet framed for a transport.
#[derive(Debug, Default)]
pub struct Messages {
    /// The time of writing: dialects read no clock.
    pub now: UnixMillis,
    bytes: Vec<u8>,
    ends: Vec<(MessageKind, usize)>,
}

impl Messages {
    /// No messages; the first will be written at `now`.
    #[must_use]
    pub fn at(now: UnixMillis) -> Self {
        Self { now, ..Self::default() }
    }

    /// Writes one message.
    pub fn push(&mut self, kind: MessageKind, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push((kind, self.bytes.len()));
    }

    /// Adds messages that are written already.
    pub fn add_prepared(&mut self, messages: &[PreparedMessage]) {
        for message in messages {
            match message {
                PreparedMessage::Text(text) => {
                    self.push(MessageKind::Text, |out| out.extend_from_slice(text.as_bytes()))
                }
                PreparedMessage::Binary(bytes) => self.push(MessageKind::Binary, |out| out.extend_from_slice(bytes)),
            }
        }
    }

    /// Removes all messages and keeps the memory; the next will be written at `now`.
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

    /// Whether there are no messages.
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
