//! What waits for space on one stream of a WebTransport session.
//!
//! Counted on its connection's account. Always holds: a message that has begun is neither dropped nor overtaken; a gap is
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
    /// How many bytes of the first one have left. `None`: it has not begun. One that refers to what has left has begun with none.
    pub(super) begun: Option<usize>,
    pub(super) queued: usize,
}

impl StreamQueue {
    /// Queues; of the first that waits so many bytes have left already, if it has begun.
    pub(super) fn push(&mut self, waiting: Waiting, begun: Option<usize>, account: &mut QueueAccount) {
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

    /// Whether a shared frame waits that has not begun.
    pub(super) fn has_frames(&self) -> bool {
        self.waiting.iter().skip(usize::from(self.begun.is_some())).any(|waiting| matches!(waiting, Waiting::Shared(_)))
    }

    /// Drops the oldest frame that has not begun, and keeps a gap for it.
    pub(super) fn drop_first(&mut self, account: &mut QueueAccount) {
        let mut waiting = self.waiting.iter().enumerate().skip(usize::from(self.begun.is_some()));
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
        let begun = usize::from(self.begun.is_some());
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        hub::{connection::budget::Budget, fanout::frame::Frame},
        model::Epoch,
    };

    fn queue(begun: Option<usize>) -> (StreamQueue, QueueAccount, Room) {
        let budget = Arc::new(Budget::new(usize::MAX));
        let (mut queue, mut account) = (StreamQueue::default(), QueueAccount::new(Arc::clone(&budget)));
        let room = Room::parse("r").expect("a name");
        for offset in 1..=3 {
            let range = Range { room: room.clone(), epoch: Epoch::new("e"), after: offset - 1, offset };
            queue.push(Waiting::Shared(Frame::of(100, Some(range), &budget)), begun, &mut account);
        }
        (queue, account, room)
    }

    #[test]
    fn a_frame_that_follows_what_has_left_is_not_dropped_though_nothing_of_it_has() {
        for (begun, left) in [(None, 0), (Some(0), 1), (Some(7), 1)] {
            let (mut first, mut account, _) = queue(begun);
            while first.has_frames() {
                first.drop_first(&mut account);
            }
            assert_eq!((first.waiting.len(), first.queued), (left, 100 * left), "{begun:?}");
            assert_eq!(first.gaps.iter().map(|gap| (gap.after, gap.offset)).collect::<Vec<_>>(), [(left as u64, 3)]);
            let (mut second, mut account, room) = queue(begun);
            assert_eq!(second.drop_room(&room, &mut account).map(|range| range.after), Some(left as u64));
            assert_eq!(second.waiting.len(), left, "{begun:?}");
        }
    }
}
