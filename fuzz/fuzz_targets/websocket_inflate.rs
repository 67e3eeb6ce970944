//! Whatever comes in, no more than the cap comes out or is held; and what the deflater made comes out as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast_websocket::{Deflater, InflateError, Inflater};

fuzz_target!(|data: &[u8]| {
    let [low, high, level, window_bits, input @ ..] = data else { return };
    let max = usize::from(u16::from_le_bytes([*low, *high]));
    let mut inflater = Inflater::new();
    let first = inflater.inflate(input, max).map(<[u8]>::to_vec);
    assert!(inflater.held_bytes() <= max + 1);
    if let Ok(message) = &first {
        assert!(message.len() <= max);
        assert_eq!(inflater.inflate(input, message.len()), Ok(&message[..]), "the cap may be met exactly");
        if let Some(less) = message.len().checked_sub(1) {
            assert_eq!(inflater.inflate(input, less), Err(InflateError::TooBig));
        }
    }
    // Nothing is left over for the next message.
    if let Some(compressed) = Deflater::new(u32::from(level % 10), 9 + window_bits % 7).deflate(input) {
        assert_eq!(inflater.inflate(compressed, input.len()), Ok(input));
    }
    assert_eq!(inflater.inflate(input, max).map(<[u8]>::to_vec), first);
});
