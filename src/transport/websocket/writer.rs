//! Server frames for whole messages.
//!
//! The broadcast path: called once per wire format and batch; what it writes is shared by all receivers, so nothing of
//! a receiver goes into it.

use crate::{
    model::Disconnect,
    protocol::{MessageKind, Messages},
};

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
pub fn ping(payload: &[u8], out: &mut Vec<u8>) {
    Frame::new(Opcode::Ping, &payload[..payload.len().min(MAX_CONTROL)]).write_server(out);
}

/// Appends a pong; of `payload` the first 125 bytes (a ping has no more).
pub fn pong(payload: &[u8], out: &mut Vec<u8>) {
    Frame::new(Opcode::Pong, &payload[..payload.len().min(MAX_CONTROL)]).write_server(out);
}

/// Appends a close frame (RFC 6455 section 5.5.1) with the code and reason of the one table.
pub fn close(disconnect: Disconnect, out: &mut Vec<u8>) {
    let payload = [&disconnect.code().to_be_bytes(), disconnect.reason().as_bytes()].concat();
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
    fn every_close_fits_a_control_frame() {
        for disconnect in Disconnect::ALL {
            let mut out = Vec::new();
            close(disconnect, &mut out);
            assert_eq!(out[0], 0x88);
            assert!(usize::from(out[1]) <= MAX_CONTROL);
            assert_eq!(out[2..4], disconnect.code().to_be_bytes());
        }
        let mut out = Vec::new();
        pong(&[1; 200], &mut out);
        assert_eq!(out.len(), 127);
    }
}
