//! One packet: a digit for its kind, and data.

use std::{borrow::Cow, io::Write};

use super::{binary_text::decode_base64, endpoint::Endpoint, query::Transport, sid::SessionName};
use crate::protocol::{Message, MessageKind, Messages};

/// A client's packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineioPacket<'a> {
    /// `0`: only servers send it.
    Open,
    /// `1`: the session is over.
    Close,
    /// `2`: only a WebSocket that is probed sends it, with `probe`.
    Ping(&'a str),
    /// `3`: the answer to the server's ping.
    Pong,
    /// `4`: a message.
    Text(&'a str),
    /// A binary message: a binary WebSocket message, or `b` and base64 in a text.
    Binary(Cow<'a, [u8]>),
    /// `5`: the probed WebSocket takes over.
    Upgrade,
    /// `6`: nothing.
    Noop,
}

/// Why a text is not a packet. The session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an Engine.IO packet begins with a digit from 0 to 6, binary ones of a text with b")]
pub struct EngineioPacketError;

impl<'a> EngineioPacket<'a> {
    /// The packet of a WebSocket message, or of one that a request's body held.
    ///
    /// # Errors
    /// [`EngineioPacketError`].
    pub fn parse(message: Message<'a>) -> Result<Self, EngineioPacketError> {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(bytes) => return Ok(Self::Binary(Cow::Borrowed(bytes))),
        };
        let mut rest = text.chars();
        let kind = rest.next().ok_or(EngineioPacketError)?;
        let data = rest.as_str();
        Ok(match kind {
            '0' => Self::Open,
            '1' => Self::Close,
            '2' => Self::Ping(data),
            '3' => Self::Pong,
            '4' => Self::Text(data),
            '5' => Self::Upgrade,
            '6' => Self::Noop,
            'b' => Self::Binary(Cow::Owned(decode_base64(data).ok_or(EngineioPacketError)?)),
            _ => return Err(EngineioPacketError),
        })
    }
}

/// Writes the packet that opens a session.
pub fn open(endpoint: &Endpoint, sid: SessionName<'_>, transport: Transport, out: &mut Messages) {
    let upgrades = match transport {
        Transport::Polling => "[\"websocket\"]",
        Transport::WebSocket => "[]",
    };
    let (timing, max_payload) = (&endpoint.timing, endpoint.max_payload);
    let (interval, timeout) = (timing.ping_interval.as_millis(), timing.ping_timeout.as_millis());
    out.push(MessageKind::Text, |out| {
        // A Vec takes every write; a session's name needs no escape.
        let _ = write!(
            out,
            "0{{\"sid\":\"{sid}\",\"upgrades\":{upgrades},\"pingInterval\":{interval},\"pingTimeout\":{timeout},\"maxPayload\":{max_payload}}}"
        );
    });
}

/// Writes the server's ping.
pub fn ping(out: &mut Messages) {
    out.push(MessageKind::Text, |out| out.push(b'2'));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_told_by_their_digit() {
        for (text, packet) in [
            ("1", EngineioPacket::Close),
            ("2probe", EngineioPacket::Ping("probe")),
            ("3", EngineioPacket::Pong),
            ("42[\"a\"]", EngineioPacket::Text("2[\"a\"]")),
            ("4", EngineioPacket::Text("")),
            ("5", EngineioPacket::Upgrade),
            ("6", EngineioPacket::Noop),
            ("bAQID\n", EngineioPacket::Binary(Cow::Borrowed(&[1, 2, 3]))),
        ] {
            assert_eq!(EngineioPacket::parse(Message::Text(text)), Ok(packet), "{text}");
        }
        for text in ["", "7", "abc", "é"] {
            assert_eq!(EngineioPacket::parse(Message::Text(text)), Err(EngineioPacketError), "{text}");
        }
        assert_eq!(EngineioPacket::parse(Message::Binary(&[1, 2])), Ok(EngineioPacket::Binary(Cow::Borrowed(&[1, 2]))));
    }
}
