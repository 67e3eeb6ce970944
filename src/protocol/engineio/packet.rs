//! One packet: a digit that says what it is, and data.

use std::io::Write;

use super::{Endpoint, SessionName, Transport};
use crate::protocol::{Message, MessageKind, Messages};

/// A client's packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
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
    /// A binary message: a binary WebSocket message, or `b` and base64.
    Binary(&'a [u8]),
    /// `5`: the probed WebSocket takes over.
    Upgrade,
    /// `6`: nothing.
    Noop,
}

/// Text that is no packet: the session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an Engine.IO packet begins with a digit from 0 to 6, binary ones of a request body with b")]
pub struct BadPacket;

impl<'a> Packet<'a> {
    /// The packet of a WebSocket message, or of one that a request's body held.
    ///
    /// # Errors
    /// [`BadPacket`].
    pub fn parse(message: Message<'a>) -> Result<Self, BadPacket> {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(bytes) => return Ok(Self::Binary(bytes)),
        };
        let mut rest = text.chars();
        let kind = rest.next().ok_or(BadPacket)?;
        let data = rest.as_str();
        Ok(match kind {
            '0' => Self::Open,
            '1' => Self::Close,
            '2' => Self::Ping(data),
            '3' => Self::Pong,
            '4' => Self::Text(data),
            '5' => Self::Upgrade,
            '6' => Self::Noop,
            _ => return Err(BadPacket),
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
            ("1", Packet::Close),
            ("2probe", Packet::Ping("probe")),
            ("3", Packet::Pong),
            ("42[\"a\"]", Packet::Text("2[\"a\"]")),
            ("4", Packet::Text("")),
            ("5", Packet::Upgrade),
            ("6", Packet::Noop),
        ] {
            assert_eq!(Packet::parse(Message::Text(text)), Ok(packet), "{text}");
        }
        for text in ["", "7", "abc", "é"] {
            assert_eq!(Packet::parse(Message::Text(text)), Err(BadPacket), "{text}");
        }
        assert_eq!(Packet::parse(Message::Binary(&[1, 2])), Ok(Packet::Binary(&[1, 2])));
    }
}
