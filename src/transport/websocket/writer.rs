//! Server frames for whole messages.
//!
//! The broadcast path: called once per wire format and batch; what it writes is shared by all receivers, so nothing of
//! a receiver goes into it.

use crate::protocol::{MessageKind, Messages};

use super::{
    deflate::Deflater,
    frame::{Frame, MAX_CONTROL, Opcode},
};

/// Appends the messages as one contiguous run of server frames. With a deflater, messages of at least `min_size` bytes
/// are compressed where that makes them smaller.
pub fn frame_messages(messages: &Messages, mut deflate: Option<(&mut Deflater, usize)>, out: &mut Vec<u8>) {
    for (kind, message) in messages.iter() {
        let opcode = match kind {
            MessageKind::Text => Opcode::Text,
            MessageKind::Binary => Opcode::Binary,
        };
        let compressed = match &mut deflate {
            Some((deflater, min_size)) if message.len() >= *min_size => deflater.deflate(message),
            _ => None,
        };
        let frame = match compressed {
            Some(payload) => Frame { compressed: true, ..Frame::new(opcode, payload) },
            None => Frame::new(opcode, message),
        };
        frame.write_server(out);
    }
}

/// Appends a ping; of `payload` the first 125 bytes.
pub fn ping_frame(payload: &[u8], out: &mut Vec<u8>) {
    Frame::new(Opcode::Ping, &payload[..payload.len().min(MAX_CONTROL)]).write_server(out);
}

/// Appends a pong; of `payload` the first 125 bytes (a ping has no more).
pub fn pong_frame(payload: &[u8], out: &mut Vec<u8>) {
    Frame::new(Opcode::Pong, &payload[..payload.len().min(MAX_CONTROL)]).write_server(out);
}

/// Appends a close frame (RFC 6455 section 5.5.1) with a code that may go onto the wire (section 7.4) and as much of
/// the reason as it holds: 123 bytes.
pub fn close_frame(code: u16, reason: &str, out: &mut Vec<u8>) {
    let mut end = reason.len().min(MAX_CONTROL - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let payload = [&code.to_be_bytes(), &reason.as_bytes()[..end]].concat();
    Frame::new(Opcode::Close, &payload).write_server(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages() -> Messages {
        let mut messages = Messages::default();
        messages.push(MessageKind::Text, |out| out.extend_from_slice(b"short"));
        messages.push(MessageKind::Text, |out| out.extend_from_slice(&[b'a'; 300]));
        messages.push(MessageKind::Binary, |out| out.extend_from_slice(&[0xb6, 0x53, 0x0d, 0xe8, 0x91]));
        messages
    }

    #[test]
    fn a_run_of_frames_is_contiguous() {
        let mut out = b"before".to_vec();
        frame_messages(&messages(), None, &mut out);
        let expected = [&b"before\x81\x05short\x81\x7e\x01\x2c"[..], &[b'a'; 300], b"\x82\x05\xb6\x53\x0d\xe8\x91"];
        assert_eq!(out, expected.concat());
    }

    #[test]
    fn only_what_is_large_enough_and_shrinks_is_compressed() {
        let mut deflater = Deflater::new(Deflater::DEFAULT_LEVEL, 15);
        let mut out = Vec::new();
        frame_messages(&messages(), Some((&mut deflater, 100)), &mut out);
        assert_eq!(out[..7], *b"\x81\x05short");
        assert_eq!(out[7], 0xc1, "RSV1");
        assert!(out[8] < 20, "{} bytes", out[8]);
        assert_eq!(out[9 + usize::from(out[8])..], *b"\x82\x05\xb6\x53\x0d\xe8\x91");
        out.clear();
        frame_messages(&messages(), Some((&mut deflater, 0)), &mut out);
        assert_eq!(out[..7], *b"\x81\x05short", "does not shrink");
    }

    #[test]
    fn control_frames_hold_what_they_may() {
        for disconnect in crate::model::Disconnect::ALL {
            let mut out = Vec::new();
            close_frame(disconnect.code(), disconnect.reason(), &mut out);
            assert_eq!(out[..2], [0x88, 2 + disconnect.reason().len() as u8]);
            assert_eq!(out[2..4], disconnect.code().to_be_bytes());
            assert_eq!(out[4..], *disconnect.reason().as_bytes());
        }
        let mut out = Vec::new();
        close_frame(1000, &"é".repeat(100), &mut out);
        assert_eq!((out[1], &out[4..]), (124, "é".repeat(61).as_bytes()));
        for control in [ping_frame, pong_frame] {
            out.clear();
            control(&[1; 200], &mut out);
            assert_eq!((out[1], out.len()), (125, 127));
        }
    }
}
