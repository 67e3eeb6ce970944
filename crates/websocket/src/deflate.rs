//! Compression of one message (RFC 7692 section 7.2.1).
//!
//! A message is compressed for itself, so that one result serves every connection with the same window size and the state
//! (some 300 KiB) belongs to the worker; or behind others that all its receivers have, whose text it then refers to. Always holds:
//! what is compressed behind others refers to nothing that went out uncompressed.

use flate2::{Compress, Compression, FlushCompress, Status};

/// The output buffer is given back above this size.
const KEPT: usize = 64 * 1024;

/// What a flush ends with, and the sender removes (RFC 7692 section 7.2.1 step 3).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Compresses messages for one window size.
#[derive(Debug)]
pub struct Deflater {
    stream: Compress,
    output: Vec<u8>,
    /// Whether the window holds what receivers have: nothing went into it that did not go out compressed.
    in_step: bool,
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
        Self { stream, output: Vec::new(), in_step: false }
    }

    /// The bytes that a deflater holds between messages, as zlib-rs allocates them: the window twice, a chain of its positions, the hash
    /// table, what is pending, symbols, its state. Its output comes to this ([`Deflater::shrink`]).
    #[must_use]
    pub const fn held_bytes(window_bits: u8) -> usize {
        let bits = match window_bits {
            0..9 => 9,
            9..=15 => window_bits,
            _ => 15,
        };
        (4 << bits) + 244 * 1024
    }

    /// Gives the memory of the last message's output back: for one of many deflaters.
    pub fn shrink(&mut self) {
        self.output = Vec::new();
    }

    /// Compresses a whole message for itself, to the payload of a frame with RSV1. `None` if compression does not make it smaller:
    /// then it is sent as it is.
    pub fn deflate(&mut self, message: &[u8]) -> Option<&[u8]> {
        self.in_step = false;
        self.deflate_next(message)
    }

    /// The same behind the messages since the last [`Deflater::deflate`] or [`Deflater::begin_anew`]: for receivers that keep their
    /// window and got those as the last compressed ones, in that order. Behind a message that did not become smaller it is
    /// compressed for itself, because no window of a receiver has that one.
    pub fn deflate_next(&mut self, message: &[u8]) -> Option<&[u8]> {
        if self.output.capacity() > KEPT {
            self.output = Vec::new();
        }
        self.output.clear();
        if !self.in_step {
            self.stream.reset();
        }
        self.in_step = false;
        // What does not fit here is not smaller, even without the tail.
        self.output.reserve(message.len() + TAIL.len());
        let status = self.stream.compress_vec(message, &mut self.output, FlushCompress::Sync);
        let whole = matches!(status, Ok(Status::Ok)) && self.output.len() < self.output.capacity();
        let payload = if whole { self.output.strip_suffix(&TAIL)? } else { return None };
        self.in_step = payload.len() < message.len();
        self.in_step.then_some(payload)
    }

    /// The next message is compressed for itself, whatever was before it.
    pub fn begin_anew(&mut self) {
        self.in_step = false;
    }

    /// Whether the next message is compressed behind others.
    #[must_use]
    pub fn is_in_step(&self) -> bool {
        self.in_step
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
