//! Decompression of one message (RFC 7692 section 7.2.2).
//!
//! Owns one inflate state and one output buffer for all connections of a worker: a message is inflated only when it is
//! complete, and nothing is carried over to the next; or for one connection whose window it keeps. Never produces more than it is
//! told to, whatever comes in.

use flate2::{Decompress, FlushDecompress, Status};

/// The output buffer is given back above this size.
const KEPT: usize = 64 * 1024;

/// The least that the output buffer grows to.
const LEAST: usize = 4 * 1024;

/// What ends a message: the empty stored block that the sender removed (RFC 7692 section 7.2.2 step 1), then an empty
/// *final* block, so that the end of the stream proves the message to have ended at a block's boundary.
const TAIL: [u8; 9] = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];

/// Why a message does not inflate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// The bytes are no deflate stream, or one that is cut short or followed by something else.
    #[error("the compressed message is not a whole deflate stream (RFC 7692 section 7.2.2)")]
    Invalid,
    /// The message is larger than allowed.
    #[error("the message is larger than allowed after decompression")]
    TooBig,
}

/// Inflates messages, each for itself, or those of one connection behind each other.
#[derive(Debug)]
pub struct Inflater {
    stream: Decompress,
    output: Vec<u8>,
    keeps_window: bool,
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

impl Inflater {
    /// An inflater for every window size: 15 bits hold what fewer bits can refer to.
    #[must_use]
    pub fn new() -> Self {
        Self { stream: Decompress::new(false), output: Vec::new(), keeps_window: false }
    }

    /// An inflater of one connection, whose server may refer to earlier messages (RFC 7692 section 7.1.1.1). It takes no final
    /// blocks, which would end the window, and after an error nothing any more.
    #[must_use]
    pub fn with_takeover() -> Self {
        Self { keeps_window: true, ..Self::new() }
    }

    /// Inflates the payload of a whole compressed message to at most `max` bytes.
    ///
    /// # Errors
    /// [`InflateError::TooBig`] as soon as one byte more than `max` comes out; [`InflateError::Invalid`] if the message
    /// is not a whole number of deflate blocks.
    pub fn inflate(&mut self, message: &[u8], max: usize) -> Result<&[u8], InflateError> {
        self.shrink();
        self.output.clear();
        // A sender writes an empty message as one zero byte (section 7.2.3.6); some send nothing at all.
        if message.is_empty() {
            return Ok(&[]);
        }
        if self.keeps_window {
            return match (self.step(message, max)?, self.step(&TAIL[..4], max)?) {
                ((taken, false), (4, false)) if taken == message.len() => Ok(&self.output),
                _ => Err(InflateError::Invalid),
            };
        }
        self.stream.reset(false);
        let mut rest = message;
        loop {
            let (taken, ended) = self.step(rest, max)?;
            rest = &rest[taken..];
            match (ended, rest.is_empty()) {
                // A final block (section 7.2.3.4) ended the message. Its sender should have added a zero byte.
                (true, true) => return Ok(&self.output),
                // Blocks follow the final one: a new deflate stream.
                (true, false) => self.stream.reset(false),
                (false, _) => break,
            }
        }
        match self.step(&TAIL, max)? {
            (taken, true) if taken == TAIL.len() => Ok(&self.output),
            _ => Err(InflateError::Invalid),
        }
    }

    /// Gives back what a large message made the output buffer grow by.
    pub fn shrink(&mut self) {
        if self.output.capacity() > KEPT {
            self.output = Vec::new();
        }
    }

    /// The bytes that the output buffer holds.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.output.capacity()
    }

    /// Inflates `input` until it is used up or its stream has ended; how much was used, and whether it ended.
    fn step(&mut self, input: &[u8], max: usize) -> Result<(usize, bool), InflateError> {
        let start = self.stream.total_in();
        let mut taken = 0;
        loop {
            if self.output.len() == self.output.capacity() {
                // One byte more than `max`, so that an overflow shows.
                let target = self.output.capacity().saturating_mul(2).max(LEAST).min(max.saturating_add(1));
                self.output.reserve_exact(target.saturating_sub(self.output.len()));
            }
            let status = self.stream.decompress_vec(&input[taken..], &mut self.output, FlushDecompress::None);
            // Before the status: what is too big and then broken is too big, whatever the buffer had room for.
            if self.output.len() > max {
                return Err(InflateError::TooBig);
            }
            taken = usize::try_from(self.stream.total_in() - start).map_err(|_| InflateError::Invalid)?;
            match status.map_err(|_| InflateError::Invalid)? {
                Status::StreamEnd => return Ok((taken, true)),
                // A full output may hide more of it; room in the output means that the input is used up.
                Status::Ok | Status::BufError if self.output.len() < self.output.capacity() => {
                    return if taken == input.len() { Ok((taken, false)) } else { Err(InflateError::Invalid) };
                }
                Status::Ok | Status::BufError => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    fn raw(message: &[u8], flush: FlushCompress) -> Vec<u8> {
        let mut out = Vec::with_capacity(message.len() + 1024);
        Compress::new(Compression::new(6), false).compress_vec(message, &mut out, flush).expect("compress");
        out
    }

    fn compress(message: &[u8]) -> Vec<u8> {
        let mut out = raw(message, FlushCompress::Sync);
        assert!(out.ends_with(&TAIL[..4]));
        out.truncate(out.len() - 4);
        out
    }

    #[test]
    fn the_rfcs_examples_inflate() {
        // RFC 7692 sections 7.2.3.1, .3, .4, .5, .6.
        let examples: [(&[u8], &[u8]); 5] = [
            (&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], b"Hello"),
            (&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00], b"Hello"),
            (&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], b"Hello"),
            (&[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00], b"Hello"),
            (&[0x00], b""),
        ];
        let mut inflater = Inflater::new();
        for (compressed, plain) in examples {
            assert_eq!(inflater.inflate(compressed, 100), Ok(plain), "{compressed:x?}");
        }
        assert_eq!(inflater.inflate(&[], 100), Ok(&[][..]));
    }

    #[test]
    fn final_blocks_may_end_a_message_and_be_followed_by_others() {
        let mut inflater = Inflater::new();
        let last = raw(b"one ", FlushCompress::Finish);
        assert_eq!(inflater.inflate(&last, 100), Ok(&b"one "[..]));
        let both = [last, compress(b"two")].concat();
        assert_eq!(inflater.inflate(&both, 100), Ok(&b"one two"[..]));
    }

    #[test]
    fn what_is_not_a_whole_stream_is_invalid() {
        let mut inflater = Inflater::new();
        let whole = compress(b"a message that is cut short, a message that is cut short");
        for end in 1..whole.len() {
            // A cut at a block's boundary cannot be seen; this message has one block and the flush's marker.
            let cut = inflater.inflate(&whole[..end], 1000).map(<[u8]>::len);
            assert!(cut.is_err() || end == whole.len(), "cut at {end} of {}: {cut:?}", whole.len());
        }
        let garbage = [&raw(b"final", FlushCompress::Finish)[..], b"\xff\xff\xff"].concat();
        assert_eq!(inflater.inflate(&garbage, 1000), Err(InflateError::Invalid));
        let garbage = [&whole[..], b"\x07"].concat();
        assert_eq!(inflater.inflate(&garbage, 1000), Err(InflateError::Invalid));
        assert_eq!(inflater.inflate(&[0xff; 30], 1000), Err(InflateError::Invalid));
        // Too big before it is broken: the same whatever room an earlier message has left.
        let broken = [0x93, 0x93, 0x93, 0x93, 0x93, 0x93, 0x93, 0x93, 0x93, 0x00, 0x7a, 0x2c];
        assert_eq!(Inflater::new().inflate(&broken, 0), Err(InflateError::TooBig));
        assert_eq!(inflater.inflate(&broken, 0), Err(InflateError::TooBig));
        // And the inflater is none the worse for it.
        assert!(inflater.inflate(&whole, 1000).is_ok());
    }

    #[test]
    fn a_window_is_kept_where_that_was_agreed() {
        let mut deflater = crate::Deflater::new(6, 15);
        let messages: Vec<_> =
            (0..20).map(|n| format!("message {n} of a room, {{\"topic\":\"position\"}}").repeat(3)).collect();
        let (mut keeps, mut forgets) = (Inflater::with_takeover(), Inflater::new());
        for (n, message) in messages.iter().enumerate() {
            if n == 10 {
                deflater.begin_anew();
            }
            let compressed = deflater.deflate_next(message.as_bytes()).expect("it is smaller").to_vec();
            assert_eq!(keeps.inflate(&compressed, 1_000), Ok(message.as_bytes()), "message {n}");
            let fresh = n % 10 == 0;
            assert_eq!(forgets.inflate(&compressed, 1_000) == Ok(message.as_bytes()), fresh, "message {n}");
            assert_eq!(compressed.len() > 35, fresh, "message {n}: {} bytes", compressed.len());
        }
        // What does not become smaller is in no receiver's window: what follows it is compressed for itself.
        assert_eq!(deflater.deflate_next(b"x"), None);
        assert!(!deflater.is_in_step());
        let compressed = deflater.deflate_next(messages[0].as_bytes()).expect("it is smaller").to_vec();
        assert_eq!(forgets.inflate(&compressed, 1_000), Ok(messages[0].as_bytes()));
        assert_eq!(keeps.inflate(&compressed, 1_000), Ok(messages[0].as_bytes()));
        assert_eq!(keeps.inflate(&raw(b"final", FlushCompress::Finish), 1_000), Err(InflateError::Invalid));
    }

    #[test]
    fn the_cap_holds_inside_the_loop() {
        let mut inflater = Inflater::new();
        let message = vec![b'x'; 100_000];
        let compressed = compress(&message);
        assert_eq!(inflater.inflate(&compressed, 100_000).map(<[u8]>::len), Ok(100_000));
        assert_eq!(inflater.inflate(&compressed, 99_999), Err(InflateError::TooBig));
        let bomb = compress(&vec![0; 10 << 20]);
        assert!(bomb.len() < 64 * 1024);
        assert_eq!(inflater.inflate(&bomb, 64 * 1024), Err(InflateError::TooBig));
        assert!(inflater.held_bytes() <= 64 * 1024 + 1, "grew to {}", inflater.held_bytes());
        assert_eq!(inflater.inflate(&compress(b""), 0), Ok(&[][..]));
        assert_eq!(inflater.inflate(&compress(b"x"), 0), Err(InflateError::TooBig));
    }

    #[test]
    fn a_large_message_leaves_no_large_buffer() {
        let mut inflater = Inflater::new();
        let large = compress(&vec![7; 1 << 20]);
        assert!(inflater.inflate(&large, 1 << 20).is_ok());
        inflater.shrink();
        assert_eq!(inflater.held_bytes(), 0);
        assert!(inflater.inflate(&compress(b"small"), 1 << 20).is_ok());
        inflater.shrink();
        assert_eq!(inflater.held_bytes(), LEAST);
    }
}
