//! The WebSocket layer as the pod uses it: `roomcast-websocket` with the messages of dialects and the pod's disconnects.
//!
//! Owns the two translations, and no rule of the protocol. Never a client: tests and the load generator take that from the
//! crate. Always holds: a frame contains nothing of its receiver.

use http::{HeaderValue, Response, header::SEC_WEBSOCKET_PROTOCOL};
pub use roomcast_websocket::{
    Deflate, Deflater, Deflaters, Frame, Incoming, Inflater, MessageLimits, Opcode, Reader, Role, accept, close_frame,
    offered_protocols, ping_frame, pong_frame, write_head,
};
use roomcast_websocket::{ReadError, message_frame, next_message_frame};

use crate::{
    model::Disconnect,
    protocol::{MessageKind, Messages},
};

/// Appends the messages as one contiguous run of server frames. With a deflater, messages of at least `min_size` bytes
/// are compressed where that makes them smaller, each for itself. Returns whether one of them is.
pub fn frame_messages(messages: &Messages, mut deflate: Option<(&mut Deflater, usize)>, out: &mut Vec<u8>) -> bool {
    let mut any = false;
    for (kind, message) in messages.iter() {
        let deflate = deflate.as_mut().map(|(deflater, min_size)| (&mut **deflater, *min_size));
        any |= message_frame(opcode(kind), message, deflate, out);
    }
    any
}

/// The same with each message compressed behind those before it, those of earlier calls included.
pub fn frame_next_messages(messages: &Messages, deflater: &mut Deflater, min_size: usize, out: &mut Vec<u8>) -> bool {
    let mut any = false;
    for (kind, message) in messages.iter() {
        any |= next_message_frame(opcode(kind), message, (&mut *deflater, min_size), out);
    }
    any
}

fn opcode(kind: MessageKind) -> Opcode {
    match kind {
        MessageKind::Text => Opcode::Text,
        MessageKind::Binary => Opcode::Binary,
    }
}

/// Answers one of the subprotocols that a client offers.
pub fn agree_on(answer: &mut Response<()>, subprotocol: Option<&str>) {
    if let Some(value) = subprotocol.and_then(|name| HeaderValue::from_str(name).ok()) {
        answer.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
}

impl From<ReadError> for Disconnect {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Protocol => Self::ProtocolError,
            ReadError::InvalidData => Self::InvalidData,
            ReadError::TooBig => Self::TooBig,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_disconnect_fits_into_a_close_frame() {
        for disconnect in Disconnect::ALL {
            let mut out = Vec::new();
            close_frame(disconnect.code(), disconnect.reason(), &mut out);
            assert_eq!(out[..2], [0x88, 2 + disconnect.reason().len() as u8]);
            assert_eq!(out[2..4], disconnect.code().to_be_bytes());
            assert_eq!(out[4..], *disconnect.reason().as_bytes());
        }
    }

    #[test]
    fn a_read_error_closes_with_its_own_code() {
        for error in [ReadError::Protocol, ReadError::InvalidData, ReadError::TooBig] {
            assert_eq!(Disconnect::from(error).code(), error.close_code());
        }
    }

    #[test]
    fn dialects_messages_become_one_run_of_frames() {
        let mut messages = Messages::default();
        messages.push(MessageKind::Text, |out| out.extend_from_slice(b"short"));
        messages.push(MessageKind::Text, |out| out.extend_from_slice(&[b'a'; 300]));
        messages.push(MessageKind::Binary, |out| out.push(0xb6));
        let mut out = Vec::new();
        frame_messages(&messages, None, &mut out);
        assert_eq!(out, [&b"\x81\x05short\x81\x7e\x01\x2c"[..], &[b'a'; 300], b"\x82\x01\xb6"].concat());
        let mut deflater = Deflater::new(Deflater::DEFAULT_LEVEL, 15);
        out.clear();
        frame_messages(&messages, Some((&mut deflater, 100)), &mut out);
        assert_eq!((&out[..7], out[7]), (&b"\x81\x05short"[..], 0xc1), "RSV1 on the long one only");
    }
}
