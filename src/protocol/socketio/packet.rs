//! One packet: its kind, the number of its binary parts, its namespace, the number of an acknowledgement, and JSON.

/// The kind of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 0: to or from a namespace.
    Connect,
    /// 1
    Disconnect,
    /// 2, or 5 with binary parts.
    Event,
    /// 3, or 6 with binary parts.
    Ack,
}

/// A client's packet. Of its JSON only the kind of value is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketioPacket<'a> {
    /// The kind.
    pub kind: Kind,
    /// The number of binary messages that follow.
    pub attachments: usize,
    /// The namespace, `/` for the main one.
    pub namespace: &'a str,
    /// The number that an acknowledgement repeats.
    pub id: Option<&'a str>,
    /// JSON: an object for a connect, an array for events and acknowledgements; empty: none.
    pub data: &'a str,
}

/// Why a text is not a packet. The connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SocketioPacketError {
    /// A part of it is not valid.
    #[error("the packet is malformed")]
    Malformed,
    /// It has too many binary parts.
    #[error("the packet announces more than {} binary parts", SocketioPacket::MAX_ATTACHMENTS)]
    TooManyAttachments,
    /// Binary parts and text came in another order than they were announced.
    #[error("binary parts were announced and something else came, or the other way round")]
    Order,
    /// The binary parts of one packet are larger than a message may be.
    #[error("the binary parts of the packet are too large")]
    TooLarge,
}

/// Events that only the library itself emits.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

impl<'a> SocketioPacket<'a> {
    /// The most binary parts of one packet.
    pub const MAX_ATTACHMENTS: usize = 256;
    /// The most digits of an acknowledgement's number: what a double counts exactly.
    const MAX_ID: usize = 16;
    /// The longest namespace that is looked at.
    const MAX_NAMESPACE: usize = 256;

    /// Parses a message's text.
    ///
    /// # Errors
    /// [`SocketioPacketError`].
    pub fn parse(text: &'a str) -> Result<Self, SocketioPacketError> {
        let kind = text.as_bytes().first().ok_or(SocketioPacketError::Malformed)?;
        let (kind, binary) = match kind {
            b'0' => (Kind::Connect, false),
            b'1' => (Kind::Disconnect, false),
            b'2' => (Kind::Event, false),
            b'3' => (Kind::Ack, false),
            b'5' => (Kind::Event, true),
            b'6' => (Kind::Ack, true),
            _ => return Err(SocketioPacketError::Malformed),
        };
        let mut rest = text.get(1..).unwrap_or_default();
        let mut attachments = 0;
        if binary {
            let (count, after) = rest.split_once('-').ok_or(SocketioPacketError::Malformed)?;
            if count.is_empty() || count.len() > 9 || !count.bytes().all(|b| b.is_ascii_digit()) {
                return Err(SocketioPacketError::Malformed);
            }
            attachments = count.parse().map_err(|_| SocketioPacketError::Malformed)?;
            if attachments > Self::MAX_ATTACHMENTS {
                return Err(SocketioPacketError::TooManyAttachments);
            }
            rest = after;
        }
        let mut namespace = "/";
        if rest.starts_with('/') {
            (namespace, rest) = rest.split_once(',').unwrap_or((rest, ""));
            if namespace.len() > Self::MAX_NAMESPACE {
                return Err(SocketioPacketError::Malformed);
            }
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (id, data) = rest.split_at(digits);
        if id.len() > Self::MAX_ID {
            return Err(SocketioPacketError::Malformed);
        }
        let packet = Self { kind, attachments, namespace, id: (!id.is_empty()).then_some(id), data };
        if packet.fits() { Ok(packet) } else { Err(SocketioPacketError::Malformed) }
    }

    /// Whether the data fits the kind.
    fn fits(&self) -> bool {
        match self.kind {
            Kind::Disconnect => self.data.is_empty(),
            Kind::Connect => self.data.is_empty() || (self.data.starts_with('{') && is_json(self.data)),
            Kind::Ack => self.data.is_empty() || (self.data.starts_with('[') && is_json(self.data)),
            Kind::Event => self.data.is_empty() || self.event().is_some(),
        }
    }

    /// An event's name, and its arguments as one text.
    fn event(&self) -> Option<()> {
        if !self.data.starts_with('[') || !is_json(self.data) {
            return None;
        }
        let first = self.data.get(1..)?.trim_ascii_start();
        match first.as_bytes().first()? {
            b'"' => {
                let mut values = serde_json::Deserializer::from_str(first).into_iter::<std::borrow::Cow<'_, str>>();
                // It is JSON: what has no text in UTF-8 has half of a surrogate pair, and is none of the library's own.
                let is_reserved = values.next()?.is_ok_and(|name| RESERVED.contains(&name.as_ref()));
                (!is_reserved).then_some(())
            }
            b'0'..=b'9' | b'-' => Some(()),
            _ => None,
        }
    }
}

/// Whether a text is one JSON value, however deep, without building it.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_those_of_the_protocol() {
        let packet =
            |kind, attachments, namespace, id, data| Ok(SocketioPacket { kind, attachments, namespace, id, data });
        for (text, parsed) in [
            ("0", packet(Kind::Connect, 0, "/", None, "")),
            ("0{\"token\":\"x\"}", packet(Kind::Connect, 0, "/", None, "{\"token\":\"x\"}")),
            ("0/custom,", packet(Kind::Connect, 0, "/custom", None, "")),
            ("0/custom", packet(Kind::Connect, 0, "/custom", None, "")),
            ("0/custom,{\"a\":1}", packet(Kind::Connect, 0, "/custom", None, "{\"a\":1}")),
            ("1", packet(Kind::Disconnect, 0, "/", None, "")),
            ("1/custom,", packet(Kind::Disconnect, 0, "/custom", None, "")),
            ("2[\"hello\"]", packet(Kind::Event, 0, "/", None, "[\"hello\"]")),
            ("22[\"sum\",1,2]", packet(Kind::Event, 0, "/", Some("2"), "[\"sum\",1,2]")),
            ("2[\"\\ud83d\"]", packet(Kind::Event, 0, "/", None, "[\"\\ud83d\"]")),
            ("2/a,12[1]", packet(Kind::Event, 0, "/a", Some("12"), "[1]")),
            ("31[]", packet(Kind::Ack, 0, "/", Some("1"), "[]")),
            ("51-[\"b\",{\"_placeholder\":true,\"num\":0}]", {
                packet(Kind::Event, 1, "/", None, "[\"b\",{\"_placeholder\":true,\"num\":0}]")
            }),
            ("61-/a,7[]", packet(Kind::Ack, 1, "/a", Some("7"), "[]")),
        ] {
            assert_eq!(SocketioPacket::parse(text), parsed, "{text}");
        }
        for text in [
            "",
            "a",
            "7",
            "4{}",
            "2{}",
            "2[]",
            "2[{}]",
            "2[\"a\"",
            "2\"a\"",
            "2[null]",
            "0[]",
            "0\"a\"",
            "1[]",
            "3{}",
            "5[\"a\"]",
            "5-[\"a\"]",
            "5a-[\"a\"]",
            "2[\"connect\"]",
            "2[\"disconn\\u0065ct\"]",
            "2[\"a\"]x",
            "0{\"a\":}",
            "212345678901234567[\"a\"]",
        ] {
            assert_eq!(SocketioPacket::parse(text), Err(SocketioPacketError::Malformed), "{text}");
        }
        assert_eq!(SocketioPacket::parse("5257-[\"a\"]"), Err(SocketioPacketError::TooManyAttachments));
    }
}
