//! A broadcast's bytes for one wire format, shared by every receiver on every worker.
//!
//! Always holds: the bytes never change, and the pod's budget counts them once, from the moment that a queue holds them until the
//! last queue lets go.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use bytes::Bytes;

use crate::{
    hub::{
        connection::budget::Budget,
        fanout::{
            range::Range,
            window_mark::{FrameWindow, WindowMark},
        },
    },
    protocol::DialectId,
};

/// Bytes ready for the wire below TLS. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Frame(Arc<FrameBytes>);

/// What the clones of a frame share.
#[derive(Debug)]
pub(super) struct FrameBytes {
    pub(super) bytes: Bytes,
    pub(super) datagram: Option<Bytes>,
    pub(super) plain: usize,
    pub(super) range: Option<Range>,
    pub(super) is_gap: bool,
    pub(super) dialect: DialectId,
    pub(super) budget: Arc<Budget>,
    pub(super) booked: AtomicBool,
    pub(super) window: FrameWindow,
}

impl Frame {
    pub(super) fn new(bytes: FrameBytes) -> Self {
        Self(Arc::new(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The bytes, to be held beyond the frame.
    #[must_use]
    pub fn shared(&self) -> Bytes {
        self.0.bytes.clone()
    }

    /// The bytes as a datagram, for rooms of which only the latest matters.
    #[must_use]
    pub fn datagram(&self) -> Option<&Bytes> {
        self.0.datagram.as_ref()
    }

    /// The bytes of its messages before compression and framing.
    #[must_use]
    pub fn plain(&self) -> usize {
        self.0.plain
    }

    /// The events that the frame stands for. Those of no log have the epoch that is none.
    #[must_use]
    pub fn range(&self) -> Option<&Range> {
        self.0.range.as_ref()
    }

    /// The events that the frame stands for, as a receiver that stands before them must ask for them. No epoch is known to
    /// have what that receiver has if the frame is a gap: the range then names none, so that no log takes it for its own.
    /// `None`: the frame stands for no event of a log.
    #[must_use]
    pub fn owed_range(&self) -> Option<Range> {
        let range = self.range().filter(|range| !range.epoch.is_none())?.clone();
        Some(if self.0.is_gap { range.of_no_epoch() } else { range })
    }

    /// The frame of a chain that must have been the receiver's last compressed one. None: every client can read this one.
    #[inline]
    #[must_use]
    pub fn behind(&self) -> WindowMark {
        self.0.window.behind
    }

    /// Whether every client can read it.
    #[must_use]
    pub fn is_independent(&self) -> bool {
        self.behind() == WindowMark::NONE
    }

    /// What the receiver's window holds behind it; `None`: what it held before, because nothing is compressed.
    #[inline]
    #[must_use]
    pub fn leaves(&self) -> Option<WindowMark> {
        self.0.window.leaves
    }

    /// What it has to do with the windows of its receivers.
    #[must_use]
    pub fn window(&self) -> FrameWindow {
        self.0.window
    }

    /// In which dialect it is.
    #[must_use]
    pub fn dialect(&self) -> DialectId {
        self.0.dialect
    }

    /// Books the bytes on the pod's account, once, because a queue now holds them.
    pub fn book(&self) {
        if !self.0.booked.swap(true, Relaxed) {
            self.0.budget.take(self.0.bytes.len());
        }
    }
}

#[cfg(test)]
impl Frame {
    /// A frame of so many bytes, for tests of what queues do with it.
    pub(crate) fn of(len: usize, range: Option<Range>, budget: &Arc<Budget>) -> Self {
        Self::in_window(len, range, budget, FrameWindow::independent(false))
    }

    /// A frame without bytes, for tests of what clients can read.
    pub(crate) fn with_window(window: FrameWindow) -> Self {
        Self::in_window(0, None, &Arc::new(Budget::new(usize::MAX)), window)
    }

    fn in_window(len: usize, range: Option<Range>, budget: &Arc<Budget>, window: FrameWindow) -> Self {
        let (budget, booked) = (Arc::clone(budget), AtomicBool::new(false));
        let (dialect, datagram, bytes) = (DialectId::NATIVE, None, vec![0; len].into());
        Self(Arc::new(FrameBytes {
            bytes,
            datagram,
            plain: len,
            range,
            is_gap: false,
            dialect,
            budget,
            booked,
            window,
        }))
    }
}

impl Drop for FrameBytes {
    fn drop(&mut self) {
        if *self.booked.get_mut() {
            self.budget.give(self.bytes.len());
        }
    }
}
