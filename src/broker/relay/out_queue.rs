//! What waits to be sent over a link, at either end.
//!
//! Bounded: what may be dropped has a limit of bytes, an eighth of it while the pod's memory is short; beyond it deliveries are refused, and
//! their rooms are noted as behind. Other records are not refused: what they answer or ask is bounded where it is asked, and a link whose
//! other end does not take them is cut. All of it is on the pod's account until it was written. Never waits to take a record.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{
    MAX_TOGETHER, MOST_PACKED,
    message::message_record,
    pod_memory::{OnAccount, PodMemory},
};
use crate::{metrics::RareWarning, model::Room};

/// What clients say may be the reason, as often as they say it.
static TOO_LARGE: RareWarning = RareWarning::new();

/// A record, and whether it may be compressed behind others.
struct WaitingRecord {
    bytes: Bytes,
    shares: bool,
}

/// What is sent together.
pub struct QueuePart {
    /// The records.
    pub bytes: Bytes,
    /// Whether they may be compressed behind others.
    pub shares: bool,
    /// They are on the account until this is dropped.
    pub held: OnAccount,
}

#[derive(Default)]
struct WaitingRecords {
    records: VecDeque<WaitingRecord>,
    bytes: usize,
    /// Rooms of which a delivery found no place.
    behind: HashSet<Room>,
    /// Deliveries that were refused.
    refused: u64,
    closed: bool,
    /// The bytes that ever waited, and those of them that do not any more.
    told: u64,
    taken: u64,
}

/// The records of one link.
pub struct OutQueue {
    waiting: Mutex<WaitingRecords>,
    limit: usize,
    ready: Notify,
    memory: Arc<dyn PodMemory>,
}

impl OutQueue {
    /// A queue for deliveries of so many bytes.
    #[must_use]
    pub fn new(limit: usize, memory: Arc<dyn PodMemory>) -> Self {
        Self { waiting: Mutex::default(), limit, ready: Notify::new(), memory }
    }

    fn lock(&self) -> MutexGuard<'_, WaitingRecords> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What may be dropped may have so many bytes now.
    fn limit_now(&self) -> usize {
        if self.memory.is_spent() { self.limit / 8 } else { self.limit }
    }

    fn put(&self, waiting: &mut WaitingRecords, bytes: Bytes, shares: bool) {
        self.memory.take(bytes.len());
        waiting.bytes += bytes.len();
        waiting.told += bytes.len() as u64;
        waiting.records.push_back(WaitingRecord { bytes, shares });
        self.ready.notify_one();
    }

    /// Takes a record that may be dropped. `false`: there is no place for it.
    #[must_use]
    pub fn offer(&self, record: Bytes) -> bool {
        self.offer_to(record, false)
    }

    /// The same. `shares`: whether it may be compressed behind others.
    #[must_use]
    pub fn offer_to(&self, record: Bytes, shares: bool) -> bool {
        let limit = self.limit_now();
        let mut waiting = self.lock();
        let fits = !waiting.closed && waiting.bytes + record.len() <= limit;
        if fits {
            self.put(&mut waiting, record, shares);
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

    /// Takes a message. `false`: it is too large for a record, and was left out.
    pub fn send(&self, message: &impl serde::Serialize) -> bool {
        let Some(record) = message_record(message) else {
            if let Some(count) = TOO_LARGE.due(Instant::now()) {
                tracing::warn!(count, "a message between this pod and another one is too large, and was left out");
            }
            return false;
        };
        self.send_record(record);
        true
    }

    /// Takes the record of a message.
    pub fn send_record(&self, record: Bytes) {
        let mut waiting = self.lock();
        if !waiting.closed {
            self.put(&mut waiting, record, false);
        }
    }

    /// Notes that something of a room was refused.
    pub fn fell_behind(&self, room: &Room) {
        let mut waiting = self.lock();
        if !waiting.closed {
            waiting.behind.insert(room.clone());
        }
    }

    /// A room is of no interest any more.
    pub fn forget(&self, room: &Room) {
        self.lock().behind.remove(room);
    }

    /// The rooms of which something was refused, once half of the queue is free again.
    #[must_use]
    pub fn caught_up(&self) -> HashSet<Room> {
        let limit = self.limit_now();
        let mut waiting = self.lock();
        if waiting.behind.is_empty() || waiting.bytes > limit / 2 {
            return HashSet::new();
        }
        std::mem::take(&mut waiting.behind)
    }

    /// How many bytes wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// How many bytes ever waited, and how many of them were taken.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        let waiting = self.lock();
        (waiting.told, waiting.taken)
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
        let mut waiting = self.lock();
        self.memory.give(waiting.bytes);
        *waiting = WaitingRecords { closed: true, ..WaitingRecords::default() };
        self.ready.notify_one();
    }

    /// Waits for records, and takes as many together as one message of the link should hold; they are on the account until the other value
    /// is dropped. `None`: the queue is closed.
    pub async fn next(&self) -> Option<(Bytes, OnAccount)> {
        self.next_part().await.map(|part| (part.bytes, part.held))
    }

    /// The same, and whether what it takes may be compressed behind others.
    pub async fn next_part(&self) -> Option<QueuePart> {
        loop {
            {
                let mut waiting = self.lock();
                if let Some(WaitingRecord { bytes, shares }) = together(&mut waiting) {
                    waiting.taken += bytes.len() as u64;
                    let held = OnAccount::of_taken(&self.memory, bytes.len());
                    return Some(QueuePart { bytes, shares, held });
                }
                if waiting.closed {
                    return None;
                }
            }
            self.ready.notified().await;
        }
    }
}

impl Drop for OutQueue {
    fn drop(&mut self) {
        self.close();
    }
}

fn together(waiting: &mut WaitingRecords) -> Option<WaitingRecord> {
    let first = waiting.records.pop_front()?;
    waiting.bytes -= first.bytes.len();
    let (shares, most) = (first.shares, if first.shares { MOST_PACKED } else { MAX_TOGETHER });
    let next_fits = |waiting: &WaitingRecords, so_far: usize| {
        waiting.records.front().is_some_and(|next| next.shares == shares && so_far + next.bytes.len() <= most)
    };
    if !next_fits(waiting, first.bytes.len()) {
        return Some(first);
    }
    let mut out = Vec::from(first.bytes);
    while next_fits(waiting, out.len()) {
        let Some(record) = waiting.records.pop_front() else { break };
        waiting.bytes -= record.bytes.len();
        out.extend_from_slice(&record.bytes);
    }
    Some(WaitingRecord { bytes: out.into(), shares })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::broker::relay::pod_memory::TestMemory;

    #[tokio::test]
    async fn deliveries_are_refused_above_the_limit_and_messages_are_not() {
        let (queue, room) = (OutQueue::new(10, TestMemory::plenty()), Room::parse("a").unwrap());
        assert!(queue.offer(Bytes::from_static(&[1; 10])));
        assert!(!queue.offer(Bytes::from_static(&[2])));
        assert_eq!(queue.refused(), 1);
        queue.fell_behind(&room);
        assert!(queue.caught_up().is_empty(), "it is still full");
        assert!(queue.send(&1));
        let (all, _) = queue.next().await.unwrap();
        assert_eq!((all.len(), queue.bytes(), queue.progress()), (16, 0, (16, 16)));
        assert_eq!(queue.caught_up().into_iter().collect::<Vec<_>>(), std::slice::from_ref(&room));
        queue.fell_behind(&room);
        queue.forget(&room);
        assert!(queue.caught_up().is_empty(), "it is not followed any more");
        queue.close();
        assert!(!queue.offer(Bytes::from_static(&[1])));
        assert!(queue.next().await.is_none());
    }

    #[tokio::test]
    async fn all_that_waits_or_is_written_is_on_the_account() {
        let memory = TestMemory::plenty();
        let queue = OutQueue::new(1_000, Arc::clone(&memory) as _);
        assert!(queue.offer(Bytes::from_static(&[1; 100])) && queue.send(&1));
        assert_eq!(memory.held(), 106);
        let (bytes, held) = queue.next().await.unwrap();
        assert_eq!((bytes.len(), queue.bytes(), memory.held()), (106, 0, 106), "it is being written");
        drop(held);
        assert_eq!(memory.held(), 0);
        assert!(queue.offer(Bytes::from_static(&[1; 100])));
        queue.close();
        assert_eq!(memory.held(), 0);
        let dropped = OutQueue::new(1_000, Arc::clone(&memory) as _);
        assert!(dropped.send(&1));
        drop(dropped);
        assert_eq!(memory.held(), 0);
    }

    #[tokio::test]
    async fn what_may_be_compressed_behind_others_is_sent_with_its_like_in_the_order_of_all() {
        let queue = OutQueue::new(1 << 20, TestMemory::plenty());
        for (byte, shares) in [(1, true), (2, true), (3, false), (4, true)] {
            assert!(queue.offer_to(vec![byte; 10].into(), shares));
        }
        assert!(queue.offer_to(vec![5; MOST_PACKED - 9].into(), true) && queue.offer_to(vec![6].into(), true));
        let mut parts = Vec::new();
        for _ in 0..4 {
            let part = queue.next_part().await.unwrap();
            parts.push((part.bytes[0], part.bytes.len(), part.shares));
        }
        assert_eq!(parts, [(1, 20, true), (3, 10, false), (4, 10, true), (5, MOST_PACKED - 8, true)]);
    }

    #[tokio::test]
    async fn where_memory_is_short_an_eighth_of_the_queue_is_left() {
        let memory = TestMemory::plenty();
        let queue = OutQueue::new(800, Arc::clone(&memory) as _);
        memory.limit_to(0);
        assert!(queue.offer(Bytes::from_static(&[1; 100])));
        assert!(!queue.offer(Bytes::from_static(&[1; 1])));
        assert!(queue.send(&1), "an answer is not refused");
        memory.limit_to(usize::MAX);
        assert!(queue.offer(Bytes::from_static(&[1; 600])));
    }
}
