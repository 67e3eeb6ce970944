//! What waits to be sent over a link, at either end.
//!
//! Bounded: deliveries have a limit of bytes, beyond which they are refused, and their rooms are noted as behind. Other records are not
//! refused: what they answer or ask is bounded where it is asked. Never waits to take a record.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{MAX_TOGETHER, message::message_record};
use crate::model::Room;

#[derive(Debug, Default)]
struct WaitingRecords {
    records: VecDeque<Bytes>,
    bytes: usize,
    /// Rooms of which a delivery found no place.
    behind: HashSet<Room>,
    /// Deliveries that were refused.
    refused: u64,
    closed: bool,
}

/// The records of one link.
#[derive(Debug)]
pub struct OutQueue {
    waiting: Mutex<WaitingRecords>,
    limit: usize,
    ready: Notify,
}

impl OutQueue {
    /// A queue for deliveries of so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { waiting: Mutex::default(), limit, ready: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, WaitingRecords> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a delivery. `false`: there is no place for it.
    #[must_use]
    pub fn offer(&self, record: Bytes) -> bool {
        let mut waiting = self.lock();
        let fits = !waiting.closed && waiting.bytes + record.len() <= self.limit;
        if fits {
            waiting.bytes += record.len();
            waiting.records.push_back(record);
            self.ready.notify_one();
        } else {
            waiting.refused += 1;
        }
        fits
    }

    /// How many deliveries were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.lock().refused
    }

    /// Takes a message. One that is too large for a record is left out: whatever waits for it runs into its time-out.
    pub fn send(&self, message: &impl serde::Serialize) {
        let Some(record) = message_record(message) else {
            tracing::warn!("a message between this pod and another one is too large, and was left out");
            return;
        };
        let mut waiting = self.lock();
        if !waiting.closed {
            waiting.bytes += record.len();
            waiting.records.push_back(record);
            self.ready.notify_one();
        }
    }

    /// Notes that something of a room was refused.
    pub fn fell_behind(&self, room: &Room) {
        self.lock().behind.insert(room.clone());
    }

    /// The rooms of which something was refused, once half of the queue is free again.
    #[must_use]
    pub fn caught_up(&self) -> HashSet<Room> {
        let mut waiting = self.lock();
        if waiting.behind.is_empty() || waiting.bytes > self.limit / 2 {
            return HashSet::new();
        }
        std::mem::take(&mut waiting.behind)
    }

    /// How many bytes wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Whether less waits than deliveries may take.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.bytes() < self.limit
    }

    /// Whether twice as much waits as deliveries may take: they alone never come to that.
    #[must_use]
    pub fn is_flooded(&self) -> bool {
        self.bytes() > 2 * self.limit
    }

    /// Nothing more is taken; what waits is dropped.
    pub fn close(&self) {
        *self.lock() = WaitingRecords { closed: true, ..WaitingRecords::default() };
        self.ready.notify_one();
    }

    /// Waits for records, and takes as many together as one message of the link should hold. `None`: the queue is closed.
    pub async fn next(&self) -> Option<Bytes> {
        loop {
            {
                let mut waiting = self.lock();
                if let Some(together) = together(&mut waiting) {
                    return Some(together);
                }
                if waiting.closed {
                    return None;
                }
            }
            self.ready.notified().await;
        }
    }
}

fn together(waiting: &mut WaitingRecords) -> Option<Bytes> {
    let first = waiting.records.pop_front()?;
    waiting.bytes -= first.len();
    let next_fits = |waiting: &WaitingRecords, so_far: usize| {
        waiting.records.front().is_some_and(|next| so_far + next.len() <= MAX_TOGETHER)
    };
    if !next_fits(waiting, first.len()) {
        return Some(first);
    }
    let mut out = Vec::from(first);
    while next_fits(waiting, out.len()) {
        let Some(record) = waiting.records.pop_front() else { break };
        waiting.bytes -= record.len();
        out.extend_from_slice(&record);
    }
    Some(out.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn deliveries_are_refused_above_the_limit_and_messages_are_not() {
        let (queue, room) = (OutQueue::new(10), Room::parse("a").unwrap());
        assert!(queue.offer(Bytes::from_static(&[1; 10])));
        assert!(!queue.offer(Bytes::from_static(&[2])));
        assert_eq!(queue.refused(), 1);
        queue.fell_behind(&room);
        assert!(queue.caught_up().is_empty(), "it is still full");
        queue.send(&1);
        let all = queue.next().await.unwrap();
        assert_eq!((all.len(), queue.bytes()), (16, 0));
        assert_eq!(queue.caught_up().into_iter().collect::<Vec<_>>(), [room]);
        queue.close();
        assert!(!queue.offer(Bytes::from_static(&[1])));
        assert_eq!(queue.next().await, None);
    }
}
