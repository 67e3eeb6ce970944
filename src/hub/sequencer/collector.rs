//! Events on their way into batches: collected, conflated, cut to size. Pure: no clock, no queue.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{Hash, Hasher},
    sync::Arc,
};

use crate::model::{Batch, Conflate, Epoch, Event, Offset, Policy, Position, Room, among};

/// The events of a room that follow a position. Holds survivors only, so that a conflating room stays as small as its
/// subjects are many. Always holds: the batches cut so far and the events collected cover the log without a hole.
#[derive(Debug)]
pub struct Collector {
    room: Room,
    policy: Arc<Policy>,
    /// The last event that a batch has covered.
    position: Position,
    survivors: BTreeMap<Offset, (Epoch, Arc<Event>)>,
    /// Whose newest event stands where; empty where the room does not conflate.
    newest: HashMap<Subject, Offset>,
    bytes: usize,
}

impl Collector {
    /// Collects what follows `position`.
    #[must_use]
    pub fn new(room: Room, policy: Arc<Policy>, position: Position) -> Self {
        Self { room, policy, position, survivors: BTreeMap::new(), newest: HashMap::new(), bytes: 0 }
    }

    /// Where the next batch begins.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Whether nothing is collected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.survivors.is_empty()
    }

    /// Whether what is collected makes a batch of the greatest size.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.survivors.len() >= self.policy.batch_max_events || self.bytes >= self.policy.batch_max_bytes
    }

    /// Takes in the event that follows the last one.
    pub fn push(&mut self, epoch: Epoch, event: Arc<Event>) {
        let last = self.survivors.last_key_value().map_or(self.position.offset, |(offset, _)| *offset);
        debug_assert_eq!(event.offset, last + 1, "{}: the events must follow one another", self.room);
        if let Some(subject) = Subject::of(&event, &self.policy) {
            // Removed first: the map would keep the old key, and with it the old event.
            if let Some(replaced) = self.newest.remove(&subject) {
                self.remove(replaced);
            }
            self.newest.insert(subject, event.offset);
        }
        self.bytes += event.payload.len();
        self.survivors.insert(event.offset, (epoch, event));
    }

    /// The next batch: as many of the oldest events as the policy lets into one, at least one.
    pub fn cut(&mut self) -> Option<Batch> {
        let mut events = Vec::new();
        let mut position = None;
        let mut bytes = 0;
        while let Some(entry) = self.survivors.first_entry() {
            let size = entry.get().1.payload.len();
            let full = events.len() >= self.policy.batch_max_events || bytes + size > self.policy.batch_max_bytes;
            if full && !events.is_empty() {
                break;
            }
            let (epoch, event) = entry.remove();
            if let Some(subject) = Subject::of(&event, &self.policy) {
                self.newest.remove(&subject);
            }
            bytes += size;
            position = Some(Position::new(epoch, event.offset));
            events.push(event);
        }
        self.bytes -= bytes;
        let after = std::mem::replace(&mut self.position, position?).offset;
        let Position { epoch, offset } = self.position.clone();
        Some(Batch { room: self.room.clone(), epoch, after, offset, events })
    }

    fn remove(&mut self, offset: Offset) {
        if let Some((_, event)) = self.survivors.remove(&offset) {
            self.bytes -= event.payload.len();
        }
    }
}

/// What an event is about: of two with the same subject only the newer survives.
#[derive(Debug)]
struct Subject {
    event: Arc<Event>,
    by_key: bool,
}

impl Subject {
    fn of(event: &Arc<Event>, policy: &Policy) -> Option<Self> {
        // Each is about another event.
        if event.is_deletion() {
            return None;
        }
        let by_key = match policy.conflate {
            Conflate::None => return None,
            Conflate::Topic => false,
            Conflate::Key => {
                event.key.as_ref()?;
                true
            }
        };
        among(&policy.conflate_topics, &event.topic).then(|| Self { event: Arc::clone(event), by_key })
    }

    fn parts(&self) -> (&str, Option<&str>) {
        (&self.event.topic, if self.by_key { self.event.key.as_deref() } else { None })
    }
}

impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Subject {}

impl Hash for Subject {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}
