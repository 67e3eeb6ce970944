//! What the inflater of a connection's client holds, as far as a room's chain of frames is concerned.
//!
//! Pure, and one word: the number of the chained frame that was the client's last compressed one. Always holds: a connection that
//! has a number has the text of that frame and of all those since the keyframe before it at the end of its window (RFC 7692 section
//! 7.2.2). What is not certain to reach it, because it waits and may be dropped, leaves it without one.

use crate::hub::{
    fanout::{frame::Frame, window_mark::WindowMark},
    planted::{Fault, planted},
};

/// What a client's inflater holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientWindow(WindowMark);

impl ClientWindow {
    /// Nothing that a chain could refer to.
    #[must_use]
    pub fn new() -> Self {
        Self(WindowMark::NONE)
    }

    /// Whether the client can read a frame. `waits`: whether the frame would wait behind others. What waits may be dropped, and what
    /// is chained to it could not be read then, so that only independent frames wait.
    #[inline]
    #[must_use]
    pub fn takes(self, frame: &Frame, waits: bool) -> bool {
        let behind = frame.behind();
        if behind == WindowMark::NONE {
            return true;
        }
        (behind == self.0 || planted(Fault::UncomparedWindow)) && (!waits || planted(Fault::ChainedWaits))
    }

    /// A frame goes out before anything else.
    #[inline]
    pub fn written(&mut self, frame: &Frame) {
        if let Some(mark) = frame.leaves()
            && !(mark == WindowMark::NONE && planted(Fault::WindowKept))
        {
            self.0 = mark;
        }
    }

    /// A frame waits.
    #[inline]
    pub fn queued(&mut self, frame: &Frame) {
        if planted(Fault::ChainedWaits) {
            self.written(frame);
        } else if frame.leaves().is_some() {
            self.0 = WindowMark::NONE;
        }
    }

    /// Whether a frame was the last compressed one, and the next of its chain can follow.
    #[inline]
    #[must_use]
    pub fn holds(self, frame: &Frame) -> bool {
        self.0 != WindowMark::NONE && frame.leaves() == Some(self.0)
    }
}
