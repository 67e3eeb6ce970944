//! What waits for its time, in the order in which it came.
//!
//! Pure. Always holds: it has at most so many entries, and when it is full the oldest goes.

use std::collections::VecDeque;

/// Entries that wait, each for the same time.
#[derive(Debug)]
pub(super) struct DropsOldest<T> {
    waiting: VecDeque<(u64, T)>,
    most: usize,
}

impl<T> DropsOldest<T> {
    pub(super) fn new(most: usize) -> Self {
        Self { waiting: VecDeque::new(), most }
    }

    /// Adds one that is due then; whether an older one went for it.
    pub(super) fn push(&mut self, due_ms: u64, entry: T) -> bool {
        let is_full = self.waiting.len() >= self.most;
        if is_full {
            self.waiting.pop_front();
        }
        self.waiting.push_back((due_ms, entry));
        is_full
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.waiting.front().map(|(due_ms, _)| *due_ms)
    }

    /// Takes those that are due, `most` of them at most.
    pub(super) fn take(&mut self, now_ms: u64, most: usize) -> Vec<T> {
        let due = self.waiting.iter().take(most).take_while(|(due_ms, _)| *due_ms <= now_ms).count();
        self.waiting.drain(..due).map(|(_, entry)| entry).collect()
    }

    /// Lets go of those for which `keep` does not hold.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.waiting.retain(|(_, entry)| keep(entry));
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_wait_for_their_time_and_the_oldest_goes_first() {
        let mut queue = DropsOldest::<u64>::new(3);
        assert_eq!([1, 2, 3].map(|n| queue.push(n * 10, n)), [false; 3]);
        assert!(queue.push(40, 4));
        assert_eq!((queue.len(), queue.next_due()), (3, Some(20)));
        assert!(queue.take(19, 10).is_empty());
        assert_eq!(queue.take(30, 1), [2]);
        assert_eq!(queue.take(30, 10), [3]);
        queue.retain(|n| *n != 4);
        assert_eq!((queue.next_due(), queue.take(u64::MAX, 10)), (None, vec![]));
    }
}
