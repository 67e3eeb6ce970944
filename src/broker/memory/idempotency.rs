//! The idempotency keys of a room: a repeated publish is one event.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::limits::MemoryLimits;
use crate::model::{Offset, UnixMillis};

/// The keys of the last minutes with the offsets that they got. When full, the oldest is forgotten: a publish repeated
/// after that is a second event.
#[derive(Default)]
pub(super) struct Keys {
    offsets: HashMap<Arc<str>, Offset>,
    ages: VecDeque<(UnixMillis, Arc<str>)>,
    bytes: usize,
}

/// What a key costs: its text, the counts of its `Arc`, its place in the map and in the queue.
pub(super) fn cost(key: &str) -> usize {
    key.len() + 112
}

impl Keys {
    /// The bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The offset that the key got, if it is still known.
    pub(super) fn get(&self, key: &str) -> Option<Offset> {
        self.offsets.get(key).copied()
    }

    /// Remembers a key that is not known.
    pub(super) fn insert(&mut self, key: &str, offset: Offset, limits: &MemoryLimits, now: UnixMillis) {
        let key: Arc<str> = key.into();
        self.bytes += cost(&key);
        self.ages.push_back((now, Arc::clone(&key)));
        self.offsets.insert(key, offset);
        self.expire(limits, now);
    }

    /// Forgets the keys that are too old or too many.
    pub(super) fn expire(&mut self, limits: &MemoryLimits, now: UnixMillis) {
        let age = u64::try_from(limits.idempotency_age.as_millis()).unwrap_or(u64::MAX);
        while let Some((since, key)) = self.ages.front() {
            if self.ages.len() <= limits.idempotency_keys && since.saturating_add(age) > now {
                return;
            }
            self.bytes -= cost(key);
            self.offsets.remove(key);
            self.ages.pop_front();
        }
        if self.ages.capacity() > 0 {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
impl Keys {
    pub(super) fn bytes_anew(&self) -> usize {
        assert_eq!(self.offsets.len(), self.ages.len());
        self.offsets.keys().map(|key| cost(key)).sum()
    }
}
