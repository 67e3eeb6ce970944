//! What a frame needs of its receiver's window, and what it leaves there.
//!
//! Shapes only. Always holds: a frame without compressed messages needs nothing and changes nothing.

use crate::hub::fanout::chain::ChainPlace;

/// The number of a frame of a chain: no two frames of a pod have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowMark(u64);

impl WindowMark {
    /// Of no chain.
    pub const NONE: Self = Self(0);

    /// The mark of a number, which begin with 1.
    #[must_use]
    pub fn of(number: u64) -> Self {
        Self(number)
    }
}

/// What a frame has to do with the windows of its receivers.
#[derive(Debug, Clone, Copy)]
pub struct FrameWindow {
    /// The frame that must have been the receiver's last compressed one. None: every client can read it.
    pub behind: WindowMark,
    /// What the receiver's window holds behind it; `None`: what it held before.
    pub leaves: Option<WindowMark>,
    /// Where it stands in a chain, if it is of one.
    pub place: Option<ChainPlace>,
    /// The bytes that it is smaller than an independent frame, estimated.
    pub saved: u32,
}

impl FrameWindow {
    /// Of a frame that every client can read and that begins no chain. `enters`: its text is in the receiver's window behind it.
    #[must_use]
    pub fn independent(enters: bool) -> Self {
        let leaves = enters.then_some(WindowMark::NONE);
        Self { behind: WindowMark::NONE, leaves, place: None, saved: 0 }
    }
}
