//! Frames of a room's stream: where one ends, and what is in it.
//!
//! As on a WebSocket, the first session that receives a frame inflates and parses it; for the others it is enough that
//! their bytes are the same.

use std::ops::ControlFlow;

use roomcast::testing::transport::{websocket::Inflater, webtransport::MessageReader};

use crate::error::BenchError;

/// What a compressed frame ends with (RFC 1951 section 3.2.4).
const FLUSH: [u8; 4] = [0, 0, 0xff, 0xff];

/// The largest frame.
const MOST: usize = 4 << 20;

/// What all sessions share to take frames apart.
#[derive(Default)]
pub(crate) struct Frames {
    inflater: Inflater,
}

impl Frames {
    /// The frame that `bytes` begin with: its length and messages. `None`: it is not all there.
    pub(crate) fn first(&mut self, bytes: &[u8], deflate: bool) -> Result<Option<(usize, Vec<String>)>, BenchError> {
        if !deflate {
            let Some(length) = bytes.first_chunk::<4>() else { return Ok(None) };
            let end = 4 + u32::from_be_bytes(*length) as usize;
            return Ok(bytes.get(..end).map(messages).transpose()?.map(|messages| (end, messages)));
        }
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & 0b111 == 0 {
            // A stored block.
            let Some(&[_, low, high, _, _]) = bytes.first_chunk::<5>() else { return Ok(None) };
            let end = 5 + usize::from(u16::from_le_bytes([low, high]));
            return Ok(bytes.get(5..end).map(messages).transpose()?.map(|messages| (end, messages)));
        }
        let mut from = 0;
        while let Some(at) = bytes[from..].windows(4).position(|window| window == FLUSH) {
            let end = from + at + FLUSH.len();
            // The inflater puts the flush back that a WebSocket's sender takes off.
            let chunk = &bytes[..end - FLUSH.len()];
            if let Ok(plain) = self.inflater.inflate(chunk, MOST)
                && let Ok(messages) = messages(plain)
            {
                return Ok(Some((end, messages)));
            }
            from += at + 1;
        }
        if bytes.len() > MOST { Err(BenchError::Protocol("a frame without an end".to_owned())) } else { Ok(None) }
    }
}

/// The messages behind their lengths, all of them whole.
fn messages(bytes: &[u8]) -> Result<Vec<String>, BenchError> {
    let wrong = || BenchError::Protocol("a frame that is no messages".to_owned());
    let (mut messages, mut size, mut utf8) = (Vec::new(), 0, true);
    let mut take = |message: &[u8]| {
        size += 4 + message.len();
        match std::str::from_utf8(message) {
            Ok(text) => messages.push(text.to_owned()),
            Err(_) => utf8 = false,
        }
        ControlFlow::Continue(())
    };
    MessageReader::default().read(bytes, MOST, &mut take).map_err(|_| wrong())?;
    if size == bytes.len() && utf8 { Ok(messages) } else { Err(wrong()) }
}
