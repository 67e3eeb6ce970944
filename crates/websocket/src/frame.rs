//! One frame on the wire (RFC 6455 section 5.2): writing it, and masking.
//!
//! The header's layout is tungstenite's `FrameHeader`; payloads are copied once, into the buffer that is written.

use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

/// The longest header: two bytes, eight of length, four of mask.
pub(super) const MAX_HEADER: usize = 14;

/// The longest payload of a control frame (RFC 6455 section 5.5).
pub(super) const MAX_CONTROL: usize = 125;

/// What a frame is (RFC 6455 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation,
    /// The first frame of a text message.
    Text,
    /// The first frame of a binary message.
    Binary,
    /// Close.
    Close,
    /// Ping.
    Ping,
    /// Pong.
    Pong,
}

impl From<Opcode> for OpCode {
    fn from(opcode: Opcode) -> Self {
        match opcode {
            Opcode::Continuation => Self::Data(Data::Continue),
            Opcode::Text => Self::Data(Data::Text),
            Opcode::Binary => Self::Data(Data::Binary),
            Opcode::Close => Self::Control(Control::Close),
            Opcode::Ping => Self::Control(Control::Ping),
            Opcode::Pong => Self::Control(Control::Pong),
        }
    }
}

/// A frame to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is.
    pub opcode: Opcode,
    /// FIN: whether this is the message's last frame.
    pub last: bool,
    /// RSV1: whether the message is compressed (RFC 7692 section 6); only on a message's first frame.
    pub compressed: bool,
    /// The payload as it goes onto the wire, before masking.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// A whole, uncompressed message or a control frame.
    #[must_use]
    pub fn new(opcode: Opcode, payload: &'a [u8]) -> Self {
        Self { opcode, last: true, compressed: false, payload }
    }

    /// Appends the frame as a server sends it: unmasked.
    pub fn write_server(&self, out: &mut Vec<u8>) {
        self.write(None, out);
    }

    /// Appends the frame as a client sends it: masked with `key` (RFC 6455 section 5.3).
    pub fn write_client(&self, key: [u8; 4], out: &mut Vec<u8>) {
        self.write(Some(key), out);
    }

    fn write(&self, key: Option<[u8; 4]>, out: &mut Vec<u8>) {
        let header = FrameHeader {
            is_final: self.last,
            rsv1: self.compressed,
            rsv2: false,
            rsv3: false,
            opcode: self.opcode.into(),
            mask: key,
        };
        out.reserve(MAX_HEADER + self.payload.len());
        header.format(self.payload.len() as u64, out).expect("writing to a Vec cannot fail");
        let start = out.len();
        out.extend_from_slice(self.payload);
        if let Some(key) = key {
            mask(&mut out[start..], key);
        }
    }
}

/// Masks, or unmasks, in place (RFC 6455 section 5.3); `key[0]` belongs to the first byte.
pub fn mask(bytes: &mut [u8], key: [u8; 4]) {
    if key == [0; 4] {
        return;
    }
    let [a, b, c, d] = key;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for chunk in words {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_rfc() {
        // RFC 6455 section 5.7.
        let mut out = Vec::new();
        Frame::new(Opcode::Text, b"Hello").write_server(&mut out);
        assert_eq!(out, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        out.clear();
        Frame::new(Opcode::Text, b"Hello").write_client([0x37, 0xfa, 0x21, 0x3d], &mut out);
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        out.clear();
        Frame { last: false, ..Frame::new(Opcode::Text, b"Hel") }.write_server(&mut out);
        Frame::new(Opcode::Continuation, b"lo").write_server(&mut out);
        assert_eq!(out, [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f]);
        out.clear();
        Frame::new(Opcode::Binary, &[0; 256]).write_server(&mut out);
        assert_eq!(out[..4], [0x82, 0x7e, 0x01, 0x00]);
        out.clear();
        Frame::new(Opcode::Binary, &[0; 65536]).write_server(&mut out);
        assert_eq!(out[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
        out.clear();
        // RFC 7692 section 7.2.3.1.
        let payload = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        Frame { compressed: true, ..Frame::new(Opcode::Text, &payload) }.write_server(&mut out);
        assert_eq!(out, [0xc1, 0x07, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    }

    #[test]
    fn masking_works_at_every_length() {
        let key = [1, 2, 3, 4];
        for length in 0..40 {
            let plain: Vec<u8> = (0..length).collect();
            let expected: Vec<u8> = plain.iter().enumerate().map(|(i, b)| b ^ key[i % 4]).collect();
            let mut masked = plain.clone();
            mask(&mut masked, key);
            assert_eq!(masked, expected, "length {length}");
            mask(&mut masked, key);
            assert_eq!(masked, plain);
        }
    }
}
