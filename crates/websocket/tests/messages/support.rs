//! Frames as a client writes them, and a reader that is fed in chunks.

use std::ops::ControlFlow;

use roomcast_websocket::{Frame, Incoming, Inflater, MessageLimits, Opcode, ReadError, Reader, Role};

pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
pub(crate) const LIMITS: MessageLimits = MessageLimits { max_message: 64 * 1024, max_fragments: 16 };

/// An owned [`Incoming`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Incoming<'_>> for Got {
    fn from(incoming: Incoming<'_>) -> Self {
        match incoming {
            Incoming::Text(text) => Self::Text(text.to_owned()),
            Incoming::Binary(bytes) => Self::Binary(bytes.to_owned()),
            Incoming::Ping(bytes) => Self::Ping(bytes.to_owned()),
            Incoming::Pong(bytes) => Self::Pong(bytes.to_owned()),
            Incoming::Close(close) => Self::Close(close.map(|(code, reason)| (code, reason.to_owned()))),
        }
    }
}

pub(crate) fn text(text: &str) -> Got {
    Got::Text(text.to_owned())
}

/// Reads chunk by chunk; checks that nothing is held whenever nothing is incomplete.
pub(crate) fn read_chunks<'a>(
    reader: &mut Reader,
    limits: &MessageLimits,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Got>, Result<(), ReadError>) {
    let mut inflater = Inflater::new();
    let mut got = Vec::new();
    for chunk in chunks {
        let end = reader.read(&mut chunk.to_vec(), &mut inflater, limits, &mut |incoming| {
            got.push(incoming.into());
            ControlFlow::Continue(())
        });
        assert!(reader.is_mid_message() || reader.held_bytes() == 0, "{reader:?}");
        if end.is_err() {
            return (got, end);
        }
    }
    (got, Ok(()))
}

pub(crate) fn read(bytes: &[u8]) -> (Vec<Got>, Result<(), ReadError>) {
    read_chunks(&mut Reader::new(Role::Server, true), &LIMITS, [bytes])
}

/// Frames as a client sends them.
pub(crate) fn client(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        frame.write_client(KEY, &mut out);
    }
    out
}

pub(crate) fn part(opcode: Opcode, payload: &[u8]) -> Frame<'_> {
    Frame { last: false, ..Frame::new(opcode, payload) }
}

pub(crate) fn compressed(frame: Frame<'_>) -> Frame<'_> {
    Frame { compressed: true, ..frame }
}

pub(crate) fn whole(opcode: Opcode, payload: &[u8]) -> Frame<'_> {
    Frame::new(opcode, payload)
}
