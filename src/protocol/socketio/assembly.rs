//! Binary packets put together: the text that announces parts, and the parts that follow.
//!
//! Holds one incomplete packet at most, and of its parts no more bytes than a message may have.

use bytes::Bytes;

use super::packet::{SocketioPacket, SocketioPacketError};
use crate::protocol::Message;

/// A packet that waits for its parts.
#[derive(Debug, Default)]
pub struct Assembly(Option<Box<Incomplete>>);

#[derive(Debug)]
struct Incomplete {
    text: Box<str>,
    wanted: usize,
    parts: Vec<Bytes>,
    bytes: usize,
}

/// A packet that is whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Heard<'a> {
    /// The packet.
    pub packet: SocketioPacket<'a>,
    /// Its parts, in the order of their placeholders.
    pub parts: Vec<Bytes>,
}

impl Assembly {
    /// The bytes of a packet that waits for its parts; `None`: none waits.
    #[must_use]
    pub fn held_bytes(&self) -> Option<usize> {
        self.0.as_ref().map(|incomplete| incomplete.text.len() + incomplete.bytes)
    }

    /// Takes the next message, and gives a packet that is whole to `heard`.
    ///
    /// # Errors
    /// [`SocketioPacketError`]: what came is no packet, or not what was announced.
    pub fn take<T>(
        &mut self,
        message: Message<'_>,
        max_bytes: usize,
        heard: impl FnOnce(Heard<'_>) -> T,
    ) -> Result<Option<T>, SocketioPacketError> {
        match (message, &mut self.0) {
            (Message::Text(text), None) => {
                let packet = SocketioPacket::parse(text)?;
                if packet.attachments == 0 {
                    return Ok(Some(heard(Heard { packet, parts: Vec::new() })));
                }
                let (text, wanted) = (text.into(), packet.attachments);
                self.0 = Some(Box::new(Incomplete { text, wanted, parts: Vec::new(), bytes: 0 }));
                Ok(None)
            }
            (Message::Binary(bytes), Some(incomplete)) => {
                incomplete.bytes += bytes.len();
                if incomplete.bytes > max_bytes {
                    return Err(SocketioPacketError::TooLarge);
                }
                incomplete.parts.push(Bytes::copy_from_slice(bytes));
                if incomplete.parts.len() < incomplete.wanted {
                    return Ok(None);
                }
                let Some(Incomplete { text, parts, .. }) = self.0.take().map(|boxed| *boxed) else { return Ok(None) };
                Ok(Some(heard(Heard { packet: SocketioPacket::parse(&text)?, parts })))
            }
            (Message::Text(_), Some(_)) | (Message::Binary(_), None) => Err(SocketioPacketError::Order),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::socketio::Kind;

    #[test]
    fn parts_are_waited_for_in_order() {
        let mut assembly = Assembly::default();
        let mut take = |message| assembly.take(message, 5, |heard| (heard.packet.kind, heard.parts));
        assert_eq!(take(Message::Text("2[\"a\"]")), Ok(Some((Kind::Event, vec![]))));
        assert_eq!(take(Message::Binary(b"x")), Err(SocketioPacketError::Order));
        let text = "52-[\"a\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]";
        assert_eq!(take(Message::Text(text)), Ok(None));
        assert_eq!(take(Message::Text("2[\"a\"]")), Err(SocketioPacketError::Order));
        assert_eq!(take(Message::Binary(b"xy")), Ok(None));
        let parts = vec![Bytes::from_static(b"xy"), Bytes::from_static(b"z")];
        assert_eq!(take(Message::Binary(b"z")), Ok(Some((Kind::Event, parts))));
        assert_eq!(take(Message::Text(text)), Ok(None));
        assert_eq!(take(Message::Binary(b"123456")), Err(SocketioPacketError::TooLarge));
    }

    #[test]
    fn what_waits_for_its_parts_is_known() {
        let mut assembly = Assembly::default();
        let text = "52-[\"a\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]";
        assert_eq!(assembly.held_bytes(), None);
        for (message, held) in [
            (Message::Text(text), Some(text.len())),
            (Message::Binary(b"xy"), Some(text.len() + 2)),
            (Message::Binary(b"z"), None),
        ] {
            let _ = assembly.take(message, 5, |_| ());
            assert_eq!(assembly.held_bytes(), held);
        }
    }
}
