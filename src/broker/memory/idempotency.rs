//! The idempotency keys of a room: a repeated publish is one event.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::limits::MemoryLimits;
use crate::{
    broker::{BrokerError, log_key::LogKey},
    model::{Fingerprint, Offset, PublisherSide, UnixMillis},
};

/// When a key came last, and its number among those of that moment.
type Turn = (UnixMillis, u64);

struct Known {
    offset: Offset,
    fingerprint: Fingerprint,
    turn: Turn,
}

/// The keys of the last minutes with the offsets that they got. One that comes again is known anew from then on. When full, the one that came
/// longest ago is forgotten: a publish repeated after that is a second event.
#[derive(Default)]
pub(super) struct Keys {
    events: HashMap<Arc<str>, Known>,
    /// The oldest first.
    turns: BTreeMap<Turn, Arc<str>>,
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

/// What a key costs: its text, the counts of its `Arc`, its place in both maps.
fn cost(key: &str) -> usize {
    key.len() + 160
}

/// Behind all others: the clock may be set back, the order in which keys came is not.
fn next_turn(turns: &BTreeMap<Turn, Arc<str>>, now: UnixMillis) -> Turn {
    match turns.last_key_value() {
        Some(((at, number), _)) if *at >= now => (*at, number + 1),
        _ => (now, 0),
    }
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

    /// The offset that the key got, if it is still known; then it is known anew, also where it comes with another event.
    ///
    /// # Errors
    /// [`BrokerError::Conflict`]: another event got it.
    pub(super) fn get(&mut self, key: &KnownKey, now: UnixMillis) -> Result<Option<Offset>, BrokerError> {
        let Some(known) = self.events.get_mut(&*key.text) else { return Ok(None) };
        if let Some(text) = self.turns.remove(&known.turn) {
            known.turn = next_turn(&self.turns, now);
            self.turns.insert(known.turn, text);
        }
        if known.fingerprint == key.fingerprint { Ok(Some(known.offset)) } else { Err(BrokerError::Conflict) }
    }

    /// Remembers a key that is not known.
    pub(super) fn insert(&mut self, key: &KnownKey, offset: Offset, limits: &MemoryLimits, now: UnixMillis) {
        let text: Arc<str> = key.text.as_str().into();
        self.bytes += cost(&text);
        let turn = next_turn(&self.turns, now);
        self.turns.insert(turn, Arc::clone(&text));
        self.events.insert(text, Known { offset, fingerprint: key.fingerprint, turn });
        self.expire(limits, now);
    }

    /// Forgets the keys that are too old or too many.
    pub(super) fn expire(&mut self, limits: &MemoryLimits, now: UnixMillis) {
        let age = u64::try_from(limits.idempotency_age.as_millis()).unwrap_or(u64::MAX);
        while let Some(oldest) = self.turns.first_entry() {
            let (since, _) = *oldest.key();
            let is_young = since.saturating_add(age) > now;
            if self.events.len() <= limits.idempotency_keys && is_young {
                return;
            }
            if is_young {
                self.forgotten = self.forgotten.max(since);
            }
            let key = oldest.remove();
            self.bytes -= cost(&key);
            self.events.remove(&key);
        }
        if self.events.capacity() > 0 {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
impl Keys {
    pub(super) fn bytes_anew(&self) -> usize {
        assert_eq!(self.events.len(), self.turns.len());
        self.events.keys().map(|key| cost(key)).sum()
    }
}
