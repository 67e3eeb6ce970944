//! Chunks of one raw deflate stream (RFC 1951) that fit together in any order.
//!
//! Each chunk is compressed for itself and ends on a byte, so that the same bytes are valid in every stream at any place.
//! Always holds: chunks, one after another, and [`STREAM_END`] behind them are one valid deflate stream.

use crate::transport::websocket::Deflater;

/// What a stream ends with: an empty last block. Without it `DecompressionStream` calls the stream cut off.
pub const STREAM_END: [u8; 2] = [0x03, 0x00];

/// What a sync flush ends with: an empty stored block (RFC 1951 section 3.2.4).
const FLUSH: [u8; 4] = [0, 0, 0xff, 0xff];

/// A stored block holds at most this many bytes.
const STORED: usize = 0xffff;

/// Appends a chunk whose content is `plain`, compressed if that makes it smaller. The deflater keeps nothing of it.
pub fn write_compressed(deflater: &mut Deflater, plain: &[u8], out: &mut Vec<u8>) {
    match deflater.deflate(plain) {
        Some(payload) => {
            out.extend_from_slice(payload);
            out.extend_from_slice(&FLUSH);
        }
        None => write_stored(plain, out),
    }
}

/// Appends a chunk whose content is `plain`, as it is (RFC 1951 section 3.2.4).
pub fn write_stored(plain: &[u8], out: &mut Vec<u8>) {
    for block in plain.chunks(STORED) {
        // At most 0xffff bytes, by `chunks`.
        let len = block.len() as u16;
        out.push(0);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(block);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::DeflateDecoder;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever chunks in whatever order: an ordinary decoder reads their contents, one after another.
        #[test]
        fn chunks_are_one_stream(
            chunks in prop::collection::vec((any::<bool>(), "[a-e]{0,300}", 1usize..300), 0..12),
            level in 0u32..10,
        ) {
            let mut deflater = Deflater::new(level, 15);
            let (mut stream, mut expected) = (Vec::new(), Vec::new());
            for (compress, text, times) in chunks {
                let plain = text.repeat(times).into_bytes();
                if compress {
                    write_compressed(&mut deflater, &plain, &mut stream);
                } else {
                    write_stored(&plain, &mut stream);
                }
                expected.extend_from_slice(&plain);
            }
            stream.extend_from_slice(&STREAM_END);
            let mut decoder = DeflateDecoder::new(&stream[..]);
            let mut read = Vec::new();
            decoder.read_to_end(&mut read).expect("a valid stream");
            prop_assert_eq!(read, expected);
            prop_assert_eq!(decoder.total_in(), stream.len() as u64);
        }
    }
}
