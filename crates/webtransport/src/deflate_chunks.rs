//! Chunks of one raw deflate stream (RFC 1951) that fit together in any order.
//!
//! Pure. Each chunk is compressed for itself and ends on a byte, so that the same bytes are valid in every stream at any
//! place. Always holds: chunks, one after another, and [`STREAM_END`] behind them are one valid deflate stream.

/// What a stream ends with: an empty last block. Without it a browser's `DecompressionStream` calls the stream cut off.
pub const STREAM_END: [u8; 2] = [0x03, 0x00];

/// What a sync flush ends with: an empty stored block (RFC 1951 section 3.2.4).
const FLUSH: [u8; 4] = [0, 0, 0xff, 0xff];

/// The most bytes of a stored block.
const STORED: usize = 0xffff;

/// Appends a chunk whose content is `plain`. `deflated` is the same content, compressed for itself and sync-flushed without
/// the flush's last four bytes, as permessage-deflate sends a message (RFC 7692 section 7.2.1). `None`: it is stored as it
/// is, in blocks of at most 65,535 bytes.
pub fn write_chunk(plain: &[u8], deflated: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(deflated) = deflated {
        out.extend_from_slice(deflated);
        out.extend_from_slice(&FLUSH);
        return;
    }
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

    use flate2::{Compress, Compression, FlushCompress, read::DeflateDecoder};
    use proptest::prelude::*;

    use super::*;

    /// Compressed for itself and sync-flushed, without the flush.
    fn deflated(plain: &[u8], level: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(plain.len() + 1_024);
        let mut stream = Compress::new(Compression::new(level), false);
        stream.compress_vec(plain, &mut out, FlushCompress::Sync).expect("room for it");
        out.strip_suffix(&FLUSH).expect("a flush at its end").to_vec()
    }

    proptest! {
        /// For all chunks in every order: an ordinary decoder reads their contents, one after another.
        #[test]
        fn chunks_are_one_stream(
            chunks in prop::collection::vec((any::<bool>(), "[a-e]{0,300}", 1usize..300), 0..12),
            level in 0u32..10,
        ) {
            let (mut stream, mut expected) = (Vec::new(), Vec::new());
            for (compress, text, times) in chunks {
                let plain = text.repeat(times).into_bytes();
                let compressed = compress.then(|| deflated(&plain, level));
                write_chunk(&plain, compressed.as_deref(), &mut stream);
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
