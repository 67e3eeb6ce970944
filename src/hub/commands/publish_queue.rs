//! A connection's publishes that wait for the one before them, so that they enter a room's log in order.
//!
//! Always holds: what waits is bounded, and on the pod's account.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    hub::connection::budget::Budget,
    model::{CommandId, Publication, Room},
};

/// A publish that waits: its command, its room, and what is published.
pub type QueuedPublish = (Option<CommandId>, Room, Publication);

/// Why a publish is not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueRefusal {
    /// [`PublishQueue::MAX`] wait.
    Full,
    /// The pod holds as much as it may.
    ShortOfMemory,
}

/// One connection's waiting publishes. Full: the newest is refused with an error.
#[derive(Debug)]
pub struct PublishQueue {
    waiting: VecDeque<QueuedPublish>,
    held: usize,
    budget: Arc<Budget>,
}

impl PublishQueue {
    /// The most that wait.
    pub const MAX: usize = 64;

    /// An empty queue.
    #[must_use]
    pub fn new(budget: Arc<Budget>) -> Self {
        Self { waiting: VecDeque::new(), held: 0, budget }
    }

    /// Queues a publish.
    ///
    /// # Errors
    /// It is full, or the pod holds as much as it may: then none waits behind another.
    pub fn push(&mut self, id: Option<CommandId>, room: Room, publication: Publication) -> Result<(), QueueRefusal> {
        if self.waiting.len() >= Self::MAX {
            return Err(QueueRefusal::Full);
        }
        if !self.waiting.is_empty() && self.budget.is_spent() {
            return Err(QueueRefusal::ShortOfMemory);
        }
        let publish = (id, room, publication);
        let bytes = bytes_of(&publish);
        self.held += bytes;
        self.budget.take(bytes);
        self.waiting.push_back(publish);
        Ok(())
    }

    /// The next publish.
    pub fn take(&mut self) -> Option<QueuedPublish> {
        let next = self.waiting.pop_front()?;
        let bytes = bytes_of(&next);
        self.held -= bytes;
        self.budget.give(bytes);
        Some(next)
    }
}

fn bytes_of((id, room, publication): &QueuedPublish) -> usize {
    id.as_ref().map_or(0, |id| id.len()) + room.as_str().len() + publication.held()
}

impl Drop for PublishQueue {
    fn drop(&mut self) {
        self.budget.give(self.held);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Payload;

    #[test]
    fn what_waits_counts_until_it_is_taken() {
        let budget = Arc::new(Budget::new(10_000));
        let mut queue = PublishQueue::new(Arc::clone(&budget));
        let push = |queue: &mut PublishQueue| {
            let payload = Payload::Binary(vec![0; 4_000].into());
            let publication =
                Publication { topic: "t".into(), key: None, payload, user: None, id: None, idempotency_key: None };
            queue.push(None, Room::parse("a").unwrap(), publication)
        };
        assert_eq!((push(&mut queue), push(&mut queue)), (Ok(()), Ok(())));
        assert!((8_000..10_000).contains(&budget.held()));
        budget.take(2_000);
        assert_eq!(push(&mut queue), Err(QueueRefusal::ShortOfMemory));
        budget.give(2_000);
        assert!(queue.take().is_some() && (4_000..5_000).contains(&budget.held()));
        drop(queue);
        assert_eq!(budget.held(), 0);
        let budget = Arc::new(Budget::new(1_000_000));
        let mut queue = PublishQueue::new(budget);
        let queued = (0..100).take_while(|_| push(&mut queue).is_ok()).count();
        assert_eq!((queued, push(&mut queue)), (PublishQueue::MAX, Err(QueueRefusal::Full)));
    }
}
