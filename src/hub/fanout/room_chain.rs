//! The chain of one wire format in a room: a deflater that is not reset between frames, and the number of its newest frame.
//!
//! Never knows a receiver, and decides nothing: it is told whether the next frame is a keyframe. Always holds: its window has seen of
//! the room's frames only what went out compressed, or it begins anew; a frame that refers to others says behind which one it is
//! valid; what its deflater holds is given back with it.

use std::sync::Arc;

use crate::{
    hub::{
        fanout::{
            chain::{ChainPlace, ChainStep},
            shared_windows::SharedWindows,
            window_mark::{FrameWindow, WindowMark},
        },
        planted::{Fault, planted},
    },
    protocol::{Messages, WireFormat},
    transport::{
        websocket::{Deflater, frame_messages, frame_next_messages},
        webtransport::{write_compressed, write_next_compressed},
    },
};

/// One frame in so many is compressed for itself as well, to know what the chain saves.
const SAMPLED_EVERY: u64 = 128;

/// The chain of one wire format.
#[derive(Debug)]
pub struct RoomChain {
    format: WireFormat,
    deflater: Box<Deflater>,
    /// The number of the frame whose text is the newest in the window.
    newest: WindowMark,
    alone: AloneRatio,
    held: usize,
    all: Arc<SharedWindows>,
}

/// What a frame says, and how that becomes bytes.
#[derive(Debug, Clone, Copy)]
pub enum FrameContent<'a> {
    /// Messages of a WebSocket; those of at least so many bytes are compressed, where that makes them smaller. At least one is so large.
    Messages(&'a Messages, usize),
    /// A piece of a deflate stream.
    Piece(&'a [u8]),
}

impl FrameContent<'_> {
    fn plain(self) -> u64 {
        match self {
            Self::Messages(messages, _) => messages.len() as u64,
            Self::Piece(plain) => plain.len() as u64,
        }
    }

    /// Appends it, compressed for itself. Returns whether something of it is compressed.
    fn write(self, deflater: &mut Deflater, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Messages(messages, from) => frame_messages(messages, Some((deflater, from)), out),
            Self::Piece(plain) => write_compressed(deflater, plain, out),
        }
    }

    /// The same behind what was compressed before.
    fn write_next(self, deflater: &mut Deflater, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Messages(messages, from) => frame_next_messages(messages, deflater, from, out),
            Self::Piece(plain) => write_next_compressed(deflater, plain, out),
        }
    }

    /// What an uncompressed frame of it has to do with the windows of its receivers: what is stored in a deflate stream is in
    /// its window, an uncompressed message of a WebSocket is not (RFC 7692 section 7.2.1).
    fn uncompressed(self) -> FrameWindow {
        FrameWindow::independent(matches!(self, Self::Piece(_)))
    }
}

/// How small frames of late were for themselves: bytes before compression and after it, the newest counting most.
#[derive(Debug, Default)]
struct AloneRatio {
    plain: u64,
    compressed: u64,
}

impl AloneRatio {
    fn count(&mut self, plain: u64, compressed: u64) {
        self.plain = self.plain / 2 + plain;
        self.compressed = self.compressed / 2 + compressed;
    }

    /// What so many bytes would come to.
    fn of(&self, plain: u64) -> u64 {
        plain.saturating_mul(self.compressed).checked_div(self.plain).unwrap_or(0)
    }
}

impl RoomChain {
    /// A chain without frames. Its deflater holds so many bytes of those of all windows.
    #[must_use]
    pub fn new(format: WireFormat, deflater: Box<Deflater>, held: usize, all: Arc<SharedWindows>) -> Self {
        Self { format, deflater, newest: WindowMark::NONE, alone: AloneRatio::default(), held, all }
    }

    /// The wire format.
    #[must_use]
    pub fn format(&self) -> WireFormat {
        self.format
    }

    /// Whether the window holds what the receivers in the chain have.
    #[must_use]
    pub fn is_in_step(&self) -> bool {
        self.deflater.is_in_step() && self.newest != WindowMark::NONE
    }

    /// Writes the next frame. `alone` compresses some of them for itself, to compare.
    pub fn write(
        &mut self,
        (step, place): (ChainStep, ChainPlace),
        content: FrameContent<'_>,
        alone: &mut Deflater,
        out: &mut Vec<u8>,
    ) -> FrameWindow {
        let (plain, before) = (content.plain(), out.len());
        let (behind, compressed) = match step {
            ChainStep::Keyframe(reason) => {
                self.all.metrics().keyframe(reason as usize);
                (WindowMark::NONE, content.write(&mut self.deflater, out))
            }
            ChainStep::Next => (self.newest, content.write_next(&mut self.deflater, out)),
        };
        self.deflater.shrink();
        let length = (out.len() - before) as u64;
        if !compressed {
            // What went out uncompressed is in the deflater's window and in no client's.
            self.deflater.begin_anew();
            return content.uncompressed();
        }
        match step {
            ChainStep::Keyframe(_) => self.alone.count(plain, length),
            ChainStep::Next if place.age().is_multiple_of(SAMPLED_EVERY) => {
                let mut sample = Vec::new();
                content.write(alone, &mut sample);
                self.alone.count(plain, sample.len() as u64);
            }
            ChainStep::Next => {}
        }
        // A last message that did not become smaller leaves the same: the next frame is a keyframe.
        let next = if self.deflater.is_in_step() { self.all.next_mark() } else { WindowMark::NONE };
        self.newest = if planted(Fault::RepeatedMark) && behind != WindowMark::NONE { behind } else { next };
        let saved = u32::try_from(self.alone.of(plain).saturating_sub(length)).unwrap_or(u32::MAX);
        FrameWindow { behind, leaves: Some(self.newest), place: Some(place), saved }
    }
}

impl Drop for RoomChain {
    fn drop(&mut self) {
        self.all.give_back(self.held);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;

    use super::*;
    use crate::{
        hub::fanout::chain::Chain,
        metrics::WindowMetrics,
        protocol::{DialectId, Framing, MessageKind},
    };

    fn chain() -> (RoomChain, Arc<SharedWindows>) {
        let all = Arc::new(SharedWindows::new(6, 1 << 20, WindowMetrics::default()));
        let framing = Framing::websocket(NonZeroU8::new(15)).keeping_window(true);
        let format = WireFormat { dialect: DialectId::NATIVE, spelling: 0, framing };
        let (deflater, held) = all.deflater(15).expect("room for one");
        (RoomChain::new(format, deflater, held, Arc::clone(&all)), all)
    }

    /// A message that no window makes smaller, and that is like its copies.
    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed | 1;
        let byte = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            33 + (state >> 32) as u8 % 90
        };
        (0..length).map(byte).collect()
    }

    #[test]
    fn what_is_saved_follows_what_frames_come_to_for_themselves() {
        let (mut chain, _all) = chain();
        let (mut steps, mut alone, noise) = (Chain::default(), Deflater::new(6, 15), noise(7, 700));
        let mut saved = 0;
        for n in 0..1_000 {
            let mut messages = Messages::default();
            // The keyframe is of a message that nearly vanishes; those behind it hardly become smaller for themselves.
            let write = |out: &mut Vec<u8>| out.extend_from_slice(if n == 0 { &[b'a'; 700][..] } else { &noise[..] });
            messages.push(MessageKind::Text, write);
            let (step, in_step) = (steps.step(chain.is_in_step()), n == 0);
            assert_eq!(matches!(step, ChainStep::Keyframe(_)), in_step, "frame {n}");
            let mut out = Vec::new();
            saved =
                chain.write((step, steps.place()), FrameContent::Messages(&messages, 256), &mut alone, &mut out).saved;
            assert!(n < 2 || out.len() < 100, "{}", out.len());
        }
        assert!((400..700).contains(&saved), "for itself a frame comes to about 580 bytes: {saved}");
    }

    #[test]
    fn a_chain_that_ends_gives_its_memory_back() {
        let (chain, all) = chain();
        assert_eq!(all.held(), Deflater::held_bytes(15));
        drop(chain);
        assert_eq!(all.held(), 0);
    }
}
