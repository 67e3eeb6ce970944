//! Packets in the body of a polling request or its answer: one after another, a record separator between two.
//!
//! A separator follows each written packet, so that the bytes of several writes can be joined. The last one is cut off in a
//! body ([`unframe`] reads both).

use std::{borrow::Cow, str};

use super::{
    binary_text::{decode_base64, write_base64},
    packet::EngineioPacketError,
};
use crate::protocol::{Message, MessageKind, Messages};

/// Between two packets.
pub const SEPARATOR: u8 = 0x1e;

/// One packet of a body: its text, or what its base64 stands for.
pub enum Part<'a> {
    /// A text packet.
    Text(&'a str),
    /// A binary message.
    Binary(Vec<u8>),
}

impl Part<'_> {
    /// The packet as a WebSocket message.
    #[must_use]
    pub fn message(&self) -> Message<'_> {
        match self {
            Part::Text(text) => Message::Text(text),
            Part::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

/// The packets of a request's body.
pub fn packets(body: &str) -> impl Iterator<Item = Result<Part<'_>, EngineioPacketError>> {
    body.split(char::from(SEPARATOR)).map(|text| match text.strip_prefix('b') {
        Some(base64) => decode_base64(base64).map(Part::Binary).ok_or(EngineioPacketError),
        None => Ok(Part::Text(text)),
    })
}

/// Appends messages as packets of a body, each with its separator.
pub fn write_payload(messages: &Messages, out: &mut Vec<u8>) {
    for (kind, message) in messages.iter() {
        match kind {
            MessageKind::Text => out.extend_from_slice(message),
            MessageKind::Binary => write_base64(message, out),
        }
        out.push(SEPARATOR);
    }
}

/// The same messages for a WebSocket whose client takes no binary ones: each of those as a text, `b` and base64.
#[must_use]
pub fn without_binary(messages: &Messages) -> Messages {
    let mut texts = Messages::at(messages.now);
    for (kind, message) in messages.iter() {
        texts.push(MessageKind::Text, |out| match kind {
            MessageKind::Text => out.extend_from_slice(message),
            MessageKind::Binary => write_base64(message, out),
        });
    }
    texts
}

/// Splits the bytes of [`write_payload`] again, for a connection that continues over a WebSocket.
pub fn unframe(bytes: &[u8], out: &mut Messages) {
    let text: Cow<'_, str> = String::from_utf8_lossy(bytes);
    for text in text.split(char::from(SEPARATOR)).filter(|text| !text.is_empty()) {
        match text.strip_prefix('b').and_then(decode_base64) {
            Some(bytes) => out.push(MessageKind::Binary, |out| out.extend_from_slice(&bytes)),
            None => out.push(MessageKind::Text, |out| out.extend_from_slice(text.as_bytes())),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bodies_are_those_of_the_protocol() {
        let mut messages = Messages::default();
        messages.push(MessageKind::Text, |out| out.extend_from_slice(b"4hello"));
        messages.push(MessageKind::Binary, |out| out.extend_from_slice(&[1, 2, 3, 4]));
        let mut out = Vec::new();
        write_payload(&messages, &mut out);
        assert_eq!(out, b"4hello\x1ebAQIDBA==\x1e");
        let body = str::from_utf8(&out[..out.len() - 1]).unwrap();
        let parts: Vec<_> = packets(body).map(Result::unwrap).collect();
        assert!(matches!(parts[0].message(), Message::Text("4hello")));
        assert!(matches!(parts[1].message(), Message::Binary(&[1, 2, 3, 4])));
        assert!(packets("bAQIDBA").all(|part| matches!(part.unwrap(), Part::Binary(b) if b == [1, 2, 3, 4])));
        assert!(packets("bAQIDB").next().unwrap().is_err(), "a character is missing");
    }

    #[test]
    fn binary_messages_are_texts_for_a_client_that_takes_no_others() {
        let mut messages = Messages::default();
        messages.push(MessageKind::Text, |out| out.extend_from_slice(b"4hello"));
        messages.push(MessageKind::Binary, |out| out.extend_from_slice(&[1, 2, 3]));
        let texts = without_binary(&messages);
        let texts: Vec<_> = texts.iter().collect();
        assert_eq!(texts, [(MessageKind::Text, &b"4hello"[..]), (MessageKind::Text, b"bAQID")]);
    }

    proptest! {
        #[test]
        fn what_waits_survives_the_change_to_a_websocket(
            messages in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 0..6),
        ) {
            let mut before = Messages::default();
            for (binary, bytes) in &messages {
                if *binary {
                    before.push(MessageKind::Binary, |out| out.extend_from_slice(bytes));
                } else {
                    let text: String = bytes.iter().map(|b| char::from(b' ' + b % 90)).collect();
                    before.push(MessageKind::Text, |out| out.extend_from_slice(format!("4{text}").as_bytes()));
                }
            }
            let (mut bytes, mut after) = (Vec::new(), Messages::default());
            write_payload(&before, &mut bytes);
            unframe(&bytes, &mut after);
            prop_assert!(before.iter().eq(after.iter()));
        }
    }
}
