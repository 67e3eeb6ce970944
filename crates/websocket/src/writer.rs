//! Server frames for whole messages.
//!
//! Called once for a broadcast: all receivers share the bytes that are written here. Never writes anything of a receiver.

use super::{
    deflate::Deflater,
    frame::{Frame, MAX_CONTROL, Opcode},
};

/// Appends a whole message as one frame; `opcode` is [`Opcode::Text`] or [`Opcode::Binary`]. A deflater compresses a message
/// of at least `min_size` bytes, and the compressed one is sent where it is smaller (RFC 7692 section 7.2.1). Returns whether it is.
#[inline]
pub fn message_frame(
    opcode: Opcode,
    message: &[u8],
    deflate: Option<(&mut Deflater, usize)>,
    out: &mut Vec<u8>,
) -> bool {
    let compressed = match deflate {
        Some((deflater, min_size)) if message.len() >= min_size => deflater.deflate(message),
        _ => None,
    };
    write_message(opcode, message, compressed, out)
}

/// The same behind the messages that the deflater compressed before, for receivers that have those: see
/// [`Deflater::deflate_next`].
pub fn next_message_frame(
    opcode: Opcode,
    message: &[u8],
    (deflater, min_size): (&mut Deflater, usize),
    out: &mut Vec<u8>,
) -> bool {
    let compressed = if message.len() >= min_size { deflater.deflate_next(message) } else { None };
    write_message(opcode, message, compressed, out)
}

#[inline]
fn write_message(opcode: Opcode, message: &[u8], compressed: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    let frame = match compressed {
        Some(payload) => Frame { compressed: true, ..Frame::new(opcode, payload) },
        None => Frame::new(opcode, message),
    };
    frame.write_server(out);
    compressed.is_some()
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

    const MESSAGES: [(Opcode, &[u8]); 3] =
        [(Opcode::Text, b"short"), (Opcode::Text, &[b'a'; 300]), (Opcode::Binary, &[0xb6, 0x53, 0x0d, 0xe8, 0x91])];

    fn run(mut deflate: Option<(&mut Deflater, usize)>, out: &mut Vec<u8>) {
        for (opcode, message) in MESSAGES {
            let deflate = deflate.as_mut().map(|(deflater, min_size)| (&mut **deflater, *min_size));
            message_frame(opcode, message, deflate, out);
        }
    }

    #[test]
    fn a_run_of_frames_is_contiguous() {
        let mut out = b"before".to_vec();
        run(None, &mut out);
        let expected = [&b"before\x81\x05short\x81\x7e\x01\x2c"[..], &[b'a'; 300], b"\x82\x05\xb6\x53\x0d\xe8\x91"];
        assert_eq!(out, expected.concat());
    }

    #[test]
    fn only_what_is_large_enough_and_shrinks_is_compressed() {
        let mut deflater = Deflater::new(Deflater::DEFAULT_LEVEL, 15);
        let mut out = Vec::new();
        run(Some((&mut deflater, 100)), &mut out);
        assert_eq!(out[..7], *b"\x81\x05short");
        assert_eq!(out[7], 0xc1, "RSV1");
        assert!(out[8] < 20, "{} bytes", out[8]);
        assert_eq!(out[9 + usize::from(out[8])..], *b"\x82\x05\xb6\x53\x0d\xe8\x91");
        out.clear();
        run(Some((&mut deflater, 0)), &mut out);
        assert_eq!(out[..7], *b"\x81\x05short", "does not shrink");
    }

    #[test]
    fn control_frames_hold_what_they_may() {
        for (code, reason) in [(1000, ""), (1001, "going away"), (4008, "the client reads too slowly")] {
            let mut out = Vec::new();
            close_frame(code, reason, &mut out);
            assert_eq!(out[..2], [0x88, 2 + reason.len() as u8]);
            assert_eq!(out[2..4], code.to_be_bytes());
            assert_eq!(out[4..], *reason.as_bytes());
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
