//! The idempotency keys of a room: a repeated publish is one event.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::limits::MemoryLimits;
use crate::{
    broker::{BrokerError, log_key::LogKey},
    model::{Fingerprint, Offset, PublisherSide, UnixMillis},
};

/// The keys of the last minutes with the offsets that they got. When full, the oldest is forgotten: a publish repeated
/// after that is a second event.
#[derive(Default)]
pub(super) struct Keys {
    events: HashMap<Arc<str>, (Offset, Fingerprint)>,
    ages: VecDeque<(UnixMillis, Arc<str>)>,
    bytes: usize,
    /// When the newest key came that was forgotten before its time.
    forgotten: UnixMillis,
}

/// A publication's key among all of the room's.
pub(super) struct KnownKey {
    text: String,
    fingerprint: Fingerprint,
}

impl KnownKey {
    /// That of what a log remembers.
    pub(super) fn of(LogKey { side, name, fingerprint }: LogKey) -> Self {
        let letter = match side {
            PublisherSide::Backend => 'b',
            PublisherSide::Clients => 'c',
        };
        Self { text: format!("{letter}{name}"), fingerprint }
    }

    /// What it costs to remember.
    pub(super) fn cost(&self) -> usize {
        cost(&self.text)
    }
}

/// What a key costs: its text, the counts of its `Arc`, its place in the map and in the queue.
fn cost(key: &str) -> usize {
    key.len() + 120
}

impl Keys {
    /// The bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether each key is known that came since then and is not too old.
    pub(super) fn knows_since(&self, since: UnixMillis) -> bool {
        self.forgotten < since
    }

    /// The offset that the key got, if it is still known.
    ///
    /// # Errors
    /// [`BrokerError::Conflict`]: another event got it.
    pub(super) fn get(&self, key: &KnownKey) -> Result<Option<Offset>, BrokerError> {
        match self.events.get(&*key.text) {
            Some((_, fingerprint)) if *fingerprint != key.fingerprint => Err(BrokerError::Conflict),
            known => Ok(known.map(|(offset, _)| *offset)),
        }
    }

    /// Remembers a key that is not known.
    pub(super) fn insert(&mut self, key: &KnownKey, offset: Offset, limits: &MemoryLimits, now: UnixMillis) {
        let text: Arc<str> = key.text.as_str().into();
        self.bytes += cost(&text);
        self.ages.push_back((now, Arc::clone(&text)));
        self.events.insert(text, (offset, key.fingerprint));
        self.expire(limits, now);
    }

    /// Forgets the keys that are too old or too many.
    pub(super) fn expire(&mut self, limits: &MemoryLimits, now: UnixMillis) {
        let age = u64::try_from(limits.idempotency_age.as_millis()).unwrap_or(u64::MAX);
        while let Some((since, key)) = self.ages.front() {
            let is_young = since.saturating_add(age) > now;
            if self.ages.len() <= limits.idempotency_keys && is_young {
                return;
            }
            if is_young {
                self.forgotten = *since;
            }
            self.bytes -= cost(key);
            self.events.remove(key);
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
        assert_eq!(self.events.len(), self.ages.len());
        self.events.keys().map(|key| cost(key)).sum()
    }
}
