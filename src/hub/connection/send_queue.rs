//! What waits for a connection that reads slower than its rooms speak.
//!
//! Empty, and without memory, for a connection that keeps up. Bounded by the bytes it owes; what is above the bound
//! leaves by [`SendQueue::drop_oldest`], which keeps a gap for each range it drops, or by the caller closing the connection.
//! Always holds: a record begun on the wire leaves first; a gap leaves after the replies that stood before what was dropped,
//! and before any later frame of its room.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    hub::{
        connection::{
            budget::Budget,
            offer::{OfferOutcome, QueueBounds},
            queue_account::QueueAccount,
        },
        fanout::{frame::Frame, range::Range},
        planted::{Fault, planted},
    },
    model::Room,
    protocol::DialectId,
};

/// One thing that waits.
#[derive(Debug)]
pub enum Waiting {
    /// A shared frame, not yet sealed.
    Shared(Frame),
    /// A frame for this connection alone, not yet sealed.
    Private(Box<[u8]>),
}

impl Waiting {
    /// Its bytes.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        match self {
            Self::Shared(frame) => frame.bytes().len(),
            Self::Private(bytes) => bytes.len(),
        }
    }

    /// What this connection alone holds of the pod's memory: a shared frame's bytes are on the frame's own account.
    #[must_use]
    pub fn private(&self) -> usize {
        match self {
            Self::Shared(_) => size_of::<Self>(),
            Self::Private(bytes) => size_of::<Self>() + bytes.len(),
        }
    }
}

/// A slow connection's queue.
#[derive(Debug)]
pub struct SendQueue {
    /// The rest of a write that the kernel took in part.
    sealed: Vec<u8>,
    urgent: VecDeque<Box<[u8]>>,
    /// With the dialect in which each is told.
    gaps: Vec<(DialectId, Range)>,
    waiting: VecDeque<Waiting>,
    account: QueueAccount,
    /// Since when the kernel has taken nothing, as far as that was looked at, in milliseconds since the worker began.
    stuck_ms: Option<u64>,
}

impl SendQueue {
    /// An empty queue; costs nothing until something waits.
    #[must_use]
    pub fn new(budget: Arc<Budget>) -> Self {
        Self {
            sealed: Vec::new(),
            urgent: VecDeque::new(),
            gaps: Vec::new(),
            waiting: VecDeque::new(),
            account: QueueAccount::new(budget),
            stuck_ms: None,
        }
    }

    /// The kernel takes something.
    pub fn moves(&mut self) {
        self.stuck_ms = None;
    }

    /// Whether the kernel has taken nothing for `time_ms`, since this was first asked. Whatever else the client sends, it does not
    /// read.
    pub fn is_stuck(&mut self, now_ms: u64, time_ms: u64) -> bool {
        now_ms.saturating_sub(*self.stuck_ms.get_or_insert(now_ms)) >= time_ms
    }

    /// Whether nothing waits: the next frame may be written at once.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.urgent.is_empty() && self.gaps.is_empty() && self.waiting.is_empty()
    }

    /// The bytes that this connection is owed, each shared frame in full.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.account.queued_bytes()
    }

    /// Keeps the rest of a write: it leaves first.
    pub fn keep_sealed(&mut self, rest: Vec<u8>) {
        debug_assert!(self.sealed.is_empty());
        self.account.add(rest.len(), rest.len());
        self.sealed = rest;
    }

    /// Queues a control frame ahead of everything that is not yet on the wire. The caller limits their rate.
    pub fn push_urgent(&mut self, bytes: &[u8]) {
        self.account.add(bytes.len(), bytes.len());
        self.urgent.push_back(bytes.into());
    }

    /// Queues.
    pub fn push(&mut self, waiting: Waiting) {
        if let Waiting::Shared(frame) = &waiting {
            frame.book();
        }
        self.account.add(waiting.queued_bytes(), waiting.private());
        self.waiting.push_back(waiting);
    }

    /// Queues a room's frame, and says whether the connection owes too much.
    pub fn offer(&mut self, frame: &Frame, bounds: QueueBounds) -> OfferOutcome {
        let outcome = bounds.outcome(self.queued_bytes());
        self.push(Waiting::Shared(frame.clone()));
        outcome
    }

    /// Drops shared frames, oldest first, until at most `limit` bytes are owed; a gap is kept for each range. Private
    /// replies stay: they answer commands, whose rate is limited. Returns how many frames went.
    pub fn drop_oldest(&mut self, limit: usize) -> usize {
        let mut dropped = 0;
        let mut kept = VecDeque::new();
        while self.account.queued_bytes() > limit {
            let Some(waiting) = self.waiting.pop_front() else { break };
            let Waiting::Shared(frame) = &waiting else {
                kept.push_back(waiting);
                continue;
            };
            self.forget(&waiting);
            dropped += 1;
            if let Some(range) = frame.range() {
                self.keep_gap(frame.dialect(), range);
            }
        }
        kept.append(&mut self.waiting);
        self.waiting = kept;
        dropped
    }

    /// Drops every frame of one room, without gaps: the caller remembers where the connection stopped. Returns the
    /// first range of the log that was dropped, an earlier gap included: see [`Frame::owed_range`].
    pub fn drop_room(&mut self, room: &Room) -> Option<Range> {
        let gap = self.gaps.iter().position(|(_, g)| &g.room == room).map(|at| self.gaps.remove(at).1);
        let mut first = gap.map(Range::of_no_epoch);
        let waiting = std::mem::take(&mut self.waiting);
        for item in waiting {
            match &item {
                Waiting::Shared(frame) if frame.range().is_some_and(|r| &r.room == room) => {
                    first = first.or_else(|| frame.owed_range());
                    self.forget(&item);
                }
                _ => self.waiting.push_back(item),
            }
        }
        first
    }

    /// What leaves next: the sealed rest.
    pub fn take_sealed(&mut self) -> Option<Vec<u8>> {
        if self.sealed.is_empty() {
            return None;
        }
        let sealed = std::mem::take(&mut self.sealed);
        self.account.settle(sealed.len(), sealed.len());
        Some(sealed)
    }

    /// What leaves then: control frames.
    pub fn take_urgent(&mut self) -> Option<Box<[u8]>> {
        let bytes = self.urgent.pop_front()?;
        self.account.settle(bytes.len(), bytes.len());
        Some(bytes)
    }

    /// What leaves then: gaps, for the caller to write in the connection's dialect. None while replies stand before whatever
    /// else waits: one of them may be the `subscribed` that a gap follows.
    pub fn take_gap(&mut self) -> Option<(DialectId, Range)> {
        let replies_first = matches!(self.waiting.front(), Some(Waiting::Private(_)));
        (!replies_first && !self.gaps.is_empty()).then(|| self.gaps.remove(0))
    }

    /// What leaves last.
    pub fn take(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        self.forget(&waiting);
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        Some(waiting)
    }

    /// Writes everything anew that is not on the wire, for a connection whose framing changes.
    pub fn rewrite(&mut self, mut rewritten: impl FnMut(&[u8]) -> Vec<u8>) {
        let waiting = std::mem::take(&mut self.waiting);
        for item in waiting {
            let bytes = match &item {
                Waiting::Shared(frame) => rewritten(frame.bytes()),
                Waiting::Private(bytes) => rewritten(bytes),
            };
            self.forget(&item);
            self.push(Waiting::Private(bytes.into()));
        }
    }

    /// Forgets everything but what is on the wire: the connection closes.
    pub fn clear(&mut self) {
        while self.take().is_some() {}
        while self.take_urgent().is_some() {}
        self.gaps = Vec::new();
    }

    fn keep_gap(&mut self, dialect: DialectId, range: &Range) {
        if planted(Fault::UntoldDrop) {
            return;
        }
        match self.gaps.iter_mut().find(|(_, gap)| gap.room == range.room) {
            Some((_, gap)) => gap.widen(range),
            None => self.gaps.push((dialect, range.clone())),
        }
    }

    fn forget(&mut self, waiting: &Waiting) {
        self.account.settle(waiting.queued_bytes(), waiting.private());
    }
}

#[cfg(test)]
mod tests;
