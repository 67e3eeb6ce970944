//! Compression of one message (RFC 7692 section 7.2.1).
//!
//! Every message is compressed for itself, so that one result serves every connection with the same window size and the
//! state (some 300 KiB) belongs to the worker. Never keeps anything of a message for the next one.

use flate2::{Compress, Compression, FlushCompress, Status};

/// The output buffer is given back above this size.
const KEPT: usize = 64 * 1024;

/// What a flush ends with, and the sender removes (RFC 7692 section 7.2.1 step 3).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Compresses messages for one window size, each for itself.
#[derive(Debug)]
pub struct Deflater {
    stream: Compress,
    output: Vec<u8>,
}

impl Deflater {
    /// The level that is worth its time on JSON of about 1 KiB (`examples/deflate_levels.rs` measures).
    pub const DEFAULT_LEVEL: u32 = 6;

    /// A deflater at `level` (0 to 9) for a window of 2^`window_bits` bytes (9 to 15; others are brought into the
    /// range, the negotiation lets none through).
    #[must_use]
    pub fn new(level: u32, window_bits: u8) -> Self {
        let window_bits = window_bits.clamp(9, 15);
        let stream = Compress::new_with_window_bits(Compression::new(level.min(9)), false, window_bits);
        Self { stream, output: Vec::new() }
    }

    /// Compresses a whole message to the payload of a frame with RSV1. `None` if compression does not make it smaller:
    /// then it is sent as it is.
    pub fn deflate(&mut self, message: &[u8]) -> Option<&[u8]> {
        if self.output.capacity() > KEPT {
            self.output = Vec::new();
        }
        self.output.clear();
        self.stream.reset();
        // What does not fit here is not smaller, even without the tail.
        self.output.reserve(message.len() + TAIL.len());
        let status = self.stream.compress_vec(message, &mut self.output, FlushCompress::Sync);
        let whole = matches!(status, Ok(Status::Ok)) && self.output.len() < self.output.capacity();
        let payload = if whole { self.output.strip_suffix(&TAIL)? } else { return None };
        (payload.len() < message.len()).then_some(payload)
    }
}

/// A worker's deflaters, one for each window size that its connections negotiated, made at first use.
#[derive(Debug)]
pub struct Deflaters {
    level: u32,
    by_window_bits: [Option<Box<Deflater>>; 7],
}

impl Deflaters {
    /// No deflaters yet; they will compress at `level` (0 to 9).
    #[must_use]
    pub fn new(level: u32) -> Self {
        Self { level, by_window_bits: [const { None }; 7] }
    }

    /// The deflater for a window of 2^`window_bits` bytes (9 to 15; others are brought into the range).
    pub fn window(&mut self, window_bits: u8) -> &mut Deflater {
        let window_bits = window_bits.clamp(9, 15);
        let slot = &mut self.by_window_bits[usize::from(window_bits - 9)];
        slot.get_or_insert_with(|| Box::new(Deflater::new(self.level, window_bits)))
    }
}
