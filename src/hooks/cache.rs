//! Answers that are kept for as long as they say, within a number of bytes.
//!
//! Pure: takes the time from its caller. Always holds: what is kept never exceeds its bound, the oldest goes first; an
//! answer whose time is over is as good as gone.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

/// What an answer is found by: the SHA-256 of its question.
pub(super) type Key = [u8; 32];

/// What an entry costs beside its answer.
const OVERHEAD: usize = 256;

/// Answers by question.
#[derive(Debug)]
pub(super) struct Cache<T> {
    most: usize,
    bytes: usize,
    kept: HashMap<Key, Kept<T>>,
    /// In the order in which they came; an entry of a question that was answered anew since has another serial.
    order: VecDeque<(Key, u64)>,
    serial: u64,
}

#[derive(Debug)]
struct Kept<T> {
    answer: Arc<T>,
    until: Instant,
    bytes: usize,
    serial: u64,
}

impl<T> Cache<T> {
    /// A cache of at most `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { most, bytes: 0, kept: HashMap::new(), order: VecDeque::new(), serial: 0 }
    }

    /// The answer that is kept, if its time is not over.
    pub(super) fn get(&mut self, key: &Key, now: Instant) -> Option<Arc<T>> {
        let kept = self.kept.get(key)?;
        if kept.until > now {
            return Some(Arc::clone(&kept.answer));
        }
        self.remove(key);
        None
    }

    /// Keeps an answer of so many bytes until then. One that is too large for all of the cache is not kept.
    pub(super) fn put(&mut self, key: Key, answer: Arc<T>, bytes: usize, until: Instant, now: Instant) {
        let bytes = bytes + OVERHEAD;
        self.remove(&key);
        if bytes > self.most || until <= now {
            return;
        }
        self.serial += 1;
        self.kept.insert(key, Kept { answer, until, bytes, serial: self.serial });
        self.order.push_back((key, self.serial));
        self.bytes += bytes;
        while let Some((oldest, serial)) = self.order.front().copied() {
            let current = self.kept.get(&oldest).filter(|kept| kept.serial == serial);
            if current.is_some_and(|kept| kept.until > now) && self.bytes <= self.most {
                break;
            }
            if current.is_some() {
                self.remove(&oldest);
            }
            self.order.pop_front();
        }
    }

    /// How many bytes are kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn remove(&mut self, key: &Key) {
        if let Some(kept) = self.kept.remove(key) {
            self.bytes -= kept.bytes;
        }
        // Entries of `order` that lead nowhere go when they are first, or here when they are most.
        if self.order.len() > 2 * self.kept.len() + 64 {
            let kept = &self.kept;
            self.order.retain(|(key, serial)| kept.get(key).is_some_and(|kept| kept.serial == *serial));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(n: u32) -> Key {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&n.to_be_bytes());
        key
    }

    #[test]
    fn answers_are_kept_for_their_time() {
        let (mut cache, now) = (Cache::new(10_000), Instant::now());
        let later = |ms| now + Duration::from_millis(ms);
        cache.put(key(1), Arc::new("a"), 10, later(100), now);
        assert_eq!(cache.get(&key(1), later(99)).as_deref(), Some(&"a"));
        assert_eq!((cache.get(&key(1), later(100)), cache.bytes()), (None, 0));
        cache.put(key(1), Arc::new("a"), 10, now, now);
        assert_eq!(cache.get(&key(1), now), None, "its time was over when it came");
        cache.put(key(1), Arc::new("a"), 10, later(100), now);
        cache.put(key(1), Arc::new("b"), 20, later(200), now);
        assert_eq!((cache.get(&key(1), later(150)).as_deref(), cache.bytes()), (Some(&"b"), 20 + OVERHEAD));
    }

    #[test]
    fn the_bound_holds_and_the_oldest_goes_first() {
        let (mut cache, now) = (Cache::new(3 * (OVERHEAD + 100)), Instant::now());
        let until = now + Duration::from_secs(9);
        for n in 0..4 {
            cache.put(key(n), Arc::new(n), 100, until, now);
        }
        let there: Vec<_> = (0..4).filter(|n| cache.get(&key(*n), now).is_some()).collect();
        assert_eq!(there, [1, 2, 3]);
        cache.put(key(1), Arc::new(9), 100, until, now);
        cache.put(key(4), Arc::new(4), 100, until, now);
        let there: Vec<_> = (0..5).filter(|n| cache.get(&key(*n), now).is_some()).collect();
        assert_eq!(there, [1, 3, 4], "what was answered anew is as young as its newest answer");
        cache.put(key(7), Arc::new(7), 10_000, until, now);
        assert!(cache.get(&key(7), now).is_none() && cache.get(&key(4), now).is_some(), "too large for all of it");
        for n in 0..100_000 {
            cache.put(key(n % 7), Arc::new(n), 100, until, now);
            assert!(cache.bytes() <= 3 * (OVERHEAD + 100) && cache.order.len() < 100);
        }
    }

    #[test]
    fn a_cache_of_nothing_keeps_nothing() {
        let (mut cache, now) = (Cache::new(0), Instant::now());
        cache.put(key(1), Arc::new(1), 0, now + Duration::from_secs(1), now);
        assert!(cache.get(&key(1), now).is_none() && cache.bytes() == 0);
    }
}
