//! However a stream of a WebTransport session is cut, the same messages come out and it ends the same way; none is longer
//! than it may be.

#![no_main]

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use roomcast_webtransport::{MessageLengthError, MessageReader};

fn read<'a>(max: usize, chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Result<(), MessageLengthError>) {
    let (mut reader, mut got) = (MessageReader::default(), Vec::new());
    for chunk in chunks {
        let end = reader.read(chunk, max, &mut |message| {
            assert!(message.len() <= max);
            got.push(message.to_vec());
            ControlFlow::Continue(())
        });
        if end.is_err() {
            return (got, end);
        }
        assert!(reader.held_bytes() <= 4 + max);
    }
    (got, Ok(()))
}

fuzz_target!(|data: &[u8]| {
    let [size, seed, stream @ ..] = data else { return };
    let max = usize::from(*size);
    let one_shot = read(max, [stream].into_iter());
    assert_eq!(read(max, stream.chunks(1)), one_shot, "byte by byte");

    let mut rest = stream;
    let mut random = u32::from(*seed);
    let chunks = std::iter::from_fn(|| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (chunk, after) = rest.split_at((1 + (random >> 24) as usize % 40).min(rest.len()));
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    });
    assert_eq!(read(max, chunks), one_shot, "in random chunks");
});
