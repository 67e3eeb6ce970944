//! Whatever comes in, no more than the cap comes out or is held; and what the deflater made comes out as it was, each message for
//! itself or behind those before.

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
    // One that comes at message `joins` reads from the next that is compressed for itself on.
    let mut deflater = Deflater::new(u32::from(level % 10), 9 + window_bits % 7);
    let (mut reads, mut late, joins) = (Inflater::with_takeover(), None, usize::from(*low) % 8);
    for (n, message) in input.chunks(usize::from(*high).max(1)).enumerate() {
        if n % 5 == 4 && level % 2 == 0 {
            deflater.begin_anew();
        }
        let for_itself = !deflater.is_in_step();
        let Some(compressed) = deflater.deflate_next(message) else { continue };
        assert_eq!(reads.inflate(compressed, message.len()), Ok(message));
        if n >= joins && for_itself {
            late.get_or_insert_with(Inflater::with_takeover);
        }
        if let Some(late) = &mut late {
            assert_eq!(late.inflate(compressed, message.len()), Ok(message));
        }
    }
});
