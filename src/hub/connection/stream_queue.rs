//! What waits for space on one stream of a WebTransport session.
//!
//! Counted on its connection's account. Always holds: a message of which a part has left is neither dropped nor overtaken; a gap is
//! kept for each range that is dropped alone.

use std::collections::VecDeque;

use crate::{
    hub::{
        connection::{queue_account::QueueAccount, send_queue::Waiting},
        fanout::range::Range,
    },
    model::Room,
};

/// What waits for space on one stream.
#[derive(Debug, Default)]
pub(super) struct StreamQueue {
    pub(super) gaps: Vec<Range>,
    pub(super) waiting: VecDeque<Waiting>,
    /// How many bytes of the first one have left.
    pub(super) begun: usize,
    pub(super) queued: usize,
}

impl StreamQueue {
    /// Queues; of the first that waits so many bytes have left already.
    pub(super) fn push(&mut self, waiting: Waiting, begun: usize, account: &mut QueueAccount) {
        if self.waiting.is_empty() {
            self.begun = begun;
        }
        if let Waiting::Shared(frame) = &waiting {
            frame.book();
        }
        account.add(waiting.queued_bytes(), waiting.private());
        self.queued += waiting.queued_bytes();
        self.waiting.push_back(waiting);
    }

    /// The first has left.
    pub(super) fn take_first(&mut self, account: &mut QueueAccount) {
        if let Some(first) = self.waiting.pop_front() {
            self.forget(&first, account);
        }
    }

    fn forget(&mut self, waiting: &Waiting, account: &mut QueueAccount) {
        self.queued -= waiting.queued_bytes();
        account.settle(waiting.queued_bytes(), waiting.private());
    }

    /// Whether a shared frame waits of which nothing has left.
    pub(super) fn has_frames(&self) -> bool {
        self.waiting.iter().skip(usize::from(self.begun > 0)).any(|waiting| matches!(waiting, Waiting::Shared(_)))
    }

    /// Drops the oldest frame of which nothing has left, and keeps a gap for it.
    pub(super) fn drop_first(&mut self, account: &mut QueueAccount) {
        let mut waiting = self.waiting.iter().enumerate().skip(usize::from(self.begun > 0));
        let Some((at, _)) = waiting.find(|(_, waiting)| matches!(waiting, Waiting::Shared(_))) else { return };
        let Some(dropped) = self.waiting.remove(at) else { return };
        self.forget(&dropped, account);
        if let Waiting::Shared(frame) = &dropped
            && let Some(range) = frame.range()
        {
            match self.gaps.iter_mut().find(|gap| gap.room == range.room) {
                Some(gap) => gap.widen(range),
                None => self.gaps.push(range.clone()),
            }
        }
    }

    /// Drops every frame of a room but one that has begun. Returns the first range that was dropped, an earlier gap included.
    pub(super) fn drop_room(&mut self, room: &Room, account: &mut QueueAccount) -> Option<Range> {
        let mut first = self.gaps.iter().position(|gap| &gap.room == room).map(|at| self.gaps.remove(at).of_no_epoch());
        let begun = usize::from(self.begun > 0);
        for (at, item) in std::mem::take(&mut self.waiting).into_iter().enumerate() {
            match &item {
                Waiting::Shared(frame) if at >= begun && frame.range().is_some_and(|range| &range.room == room) => {
                    first = first.or_else(|| frame.owed_range());
                    self.forget(&item, account);
                }
                _ => self.waiting.push_back(item),
            }
        }
        first
    }

    /// Forgets everything.
    pub(super) fn settle_all(mut self, account: &mut QueueAccount) {
        while !self.waiting.is_empty() {
            self.take_first(account);
        }
    }
}
