//! However a stream is cut, the reader hands out the same messages and ends the same way; it holds no more than its
//! limits allow and nothing between messages.

#![no_main]

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use roomcast_websocket::{Incoming, Inflater, MessageLimits, ReadError, Reader, Role};

#[derive(Debug, PartialEq)]
enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

struct Settings {
    role: Role,
    deflate: bool,
    limits: MessageLimits,
    inflater: Inflater,
}

impl Settings {
    fn read<'a>(&mut self, chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Got>, Result<(), ReadError>) {
        let max_message = self.limits.max_message;
        let mut reader = Reader::new(self.role, self.deflate);
        let mut got = Vec::new();
        for chunk in chunks {
            let end = reader.read(&mut chunk.to_vec(), &mut self.inflater, &self.limits, &mut |incoming| {
                got.push(match incoming {
                    Incoming::Text(text) => Got::Text(text.to_owned()),
                    Incoming::Binary(bytes) => Got::Binary(bytes.to_owned()),
                    Incoming::Ping(bytes) => Got::Ping(bytes.to_owned()),
                    Incoming::Pong(bytes) => Got::Pong(bytes.to_owned()),
                    Incoming::Close(close) => Got::Close(close.map(|(code, reason)| (code, reason.to_owned()))),
                });
                match got.last() {
                    Some(Got::Text(text)) => assert!(text.len() <= max_message),
                    Some(Got::Binary(bytes)) => assert!(bytes.len() <= max_message),
                    Some(Got::Ping(bytes) | Got::Pong(bytes)) => assert!(bytes.len() <= 125),
                    _ => {}
                }
                ControlFlow::Continue(())
            });
            // A message, and a header or a control frame behind it; a buffer doubles when it grows.
            assert!(reader.held_bytes() <= 2 * (max_message + 125));
            assert!(reader.is_mid_message() || reader.held_bytes() == 0);
            if end.is_err() {
                return (got, end);
            }
        }
        (got, Ok(()))
    }
}

fuzz_target!(|data: &[u8]| {
    let [switches, size, fragments, seed, stream @ ..] = data else { return };
    let mut settings = Settings {
        role: if switches & 1 == 0 { Role::Server } else { Role::Client },
        deflate: switches & 2 == 0,
        limits: MessageLimits { max_message: usize::from(*size) * 16, max_fragments: usize::from(*fragments) },
        inflater: Inflater::new(),
    };
    let one_shot = settings.read([stream].into_iter());
    assert_eq!(settings.read(stream.chunks(1)), one_shot, "byte by byte");

    let mut rest = stream;
    let mut random = u32::from(*seed);
    let chunks = std::iter::from_fn(|| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (chunk, after) = rest.split_at((1 + (random >> 24) as usize % 40).min(rest.len()));
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    });
    assert_eq!(settings.read(chunks), one_shot, "in random chunks");
});
