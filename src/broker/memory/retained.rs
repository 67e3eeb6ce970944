//! The newest values of a room: one per room, topic or key.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::log::cost;
use crate::model::{Event, Offset, Policy, Publication, Retain};

/// Always holds: each name is that of exactly one event, and at most `retain_max` are kept; the oldest goes first.
#[derive(Default)]
pub(super) struct RetainedValues {
    by: Retain,
    names: HashMap<Box<str>, Offset>,
    events: BTreeMap<Offset, (Box<str>, Arc<Event>)>,
    bytes: usize,
}

/// What a value costs: its event, its name twice, its places in the two maps.
fn entry(name: &str, event: usize) -> usize {
    event + 2 * name.len() + 176
}

impl RetainedValues {
    /// The bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bytes that keeping the publication, which costs `event`, would add at most.
    pub(super) fn cost_of(policy: &Policy, publication: &Publication, event: usize) -> usize {
        match name(policy.retain, &publication.topic, publication.key.as_deref()) {
            Some(name)
                if policy.retain_max > 0
                    && policy.retains_topic(&publication.topic)
                    && !policy.removes_retained(&publication.topic) =>
            {
                entry(name, event)
            }
            _ => 0,
        }
    }

    /// Takes the event in: it replaces the value of its name, or removes it.
    pub(super) fn apply(&mut self, event: &Arc<Event>, policy: &Policy) {
        self.follow(policy);
        if !policy.retains_topic(&event.topic) {
            return;
        }
        let Some(name) = name(self.by, &event.topic, event.key.as_deref()) else { return };
        self.remove(name);
        if !policy.removes_retained(&event.topic) {
            self.insert(name.into(), Arc::clone(event));
            self.bound(policy);
        }
    }

    /// Removes the value that an event made. Whether it was still there.
    pub(super) fn delete(&mut self, offset: Offset) -> bool {
        let name = self.events.get(&offset).map(|(name, _)| name.clone());
        if let Some(name) = &name {
            self.remove(name);
        }
        name.is_some()
    }

    /// Whether a user published one of the values.
    pub(super) fn has_event_of(&self, user: &str) -> bool {
        self.events.values().any(|(_, event)| event.user.as_deref() == Some(user))
    }

    /// The values in the order of their offsets.
    pub(super) fn list(&mut self, policy: &Policy) -> Vec<Arc<Event>> {
        self.follow(policy);
        self.events.values().map(|(_, event)| Arc::clone(event)).collect()
    }

    /// After a change of policy: names the values anew, in their order.
    fn follow(&mut self, policy: &Policy) {
        if self.by != policy.retain {
            let events = std::mem::take(self).events;
            self.by = policy.retain;
            for (_, event) in events.into_values() {
                if let Some(name) = name(self.by, &event.topic, event.key.as_deref()) {
                    self.remove(name);
                    self.insert(name.into(), Arc::clone(&event));
                }
            }
        }
        self.bound(policy);
    }

    fn bound(&mut self, policy: &Policy) {
        while self.events.len() > policy.retain_max {
            let Some((_, (name, _))) = self.events.first_key_value() else { return };
            let name = name.clone();
            self.remove(&name);
        }
    }

    fn insert(&mut self, name: Box<str>, event: Arc<Event>) {
        self.bytes += entry(&name, cost(event.cost()));
        self.names.insert(name.clone(), event.offset);
        self.events.insert(event.offset, (name, event));
    }

    fn remove(&mut self, name: &str) {
        let offset = self.names.remove(name);
        if let Some((name, event)) = offset.and_then(|offset| self.events.remove(&offset)) {
            self.bytes -= entry(&name, cost(event.cost()));
        }
    }
}

/// What the value of an event is called; `None`: it is no value.
fn name<'a>(by: Retain, topic: &'a str, key: Option<&'a str>) -> Option<&'a str> {
    match by {
        Retain::None => None,
        Retain::Room => Some(""),
        Retain::Topic => Some(topic),
        Retain::Key => key,
    }
}

#[cfg(test)]
impl RetainedValues {
    pub(super) fn bytes_anew(&self) -> usize {
        assert_eq!(self.names.len(), self.events.len());
        self.events.values().map(|(name, event)| entry(name, cost(event.cost()))).sum()
    }
}
