//! However a stream of RESP3 is cut, the same values come out and it ends the same way; and the bounds are kept.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast_redis_subscriber::{FrameError, MAX_DEPTH, Reader, Value};

fn depth(value: &Value<'_>) -> usize {
    match value {
        Value::List(values) | Value::Push(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// The values as text; a long one would only cost time.
fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<String>, Result<(), FrameError>) {
    let (mut reader, mut seen) = (Reader::default(), Vec::new());
    for chunk in chunks {
        reader.buffer().extend_from_slice(chunk);
        loop {
            let next = reader.next(|value| {
                assert!(depth(&value) <= MAX_DEPTH);
                format!("{value:?}")
            });
            match next {
                Ok(Some(value)) => seen.push(value),
                Ok(None) => break,
                Err(error) => return (seen, Err(error)),
            }
        }
    }
    (seen, Ok(()))
}

fuzz_target!(|data: &[u8]| {
    let Some((size, stream)) = data.split_first() else { return };
    let whole = read(std::iter::once(stream));
    assert_eq!(whole, read(stream.chunks(usize::from(*size).max(1))));
    assert_eq!(whole, read(stream.chunks(1)));
});
