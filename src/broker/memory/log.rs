//! A room's log: the newest events without a hole, and how far it has counted.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    broker::{History, HistoryQuery},
    model::{Deletion, Epoch, Event, Offset, Policy, Room, Since, UnixMillis},
};

/// Always holds: `events` are those in (`end - events.len()`, `end`], in order.
#[derive(Default)]
pub(super) struct Log {
    end: Offset,
    time: UnixMillis,
    events: VecDeque<Arc<Event>>,
    bytes: usize,
}

/// What an event that costs `event` alone costs in a log: itself, its place, and what the allocator adds to its parts.
/// This constant and those like it are measured: within a quarter of what the process grows by.
pub(super) fn cost(event: usize) -> usize {
    event + 80
}

/// Whether the policy keeps a log at all.
pub(super) fn keeps(policy: &Policy) -> bool {
    policy.history_size > 0 && policy.history_bytes > 0 && !policy.history_age.is_zero()
}

impl Log {
    /// The last offset, 0 before the first event.
    pub(super) fn end(&self) -> Offset {
        self.end
    }

    /// The bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The time of the newest event, 0 before the first.
    pub(super) fn time(&self) -> UnixMillis {
        self.time
    }

    /// Counts the event, and keeps it if the policy keeps any. Its offset is `end + 1`.
    pub(super) fn append(&mut self, event: Arc<Event>, policy: &Policy) {
        debug_assert_eq!(event.offset, self.end + 1);
        (self.end, self.time) = (event.offset, event.time);
        if keeps(policy) {
            self.bytes += cost(event.cost());
            self.events.push_back(event);
        } else {
            self.clear();
        }
    }

    /// Drops the oldest events until the policy's bounds hold with `more` events of `bytes` added.
    pub(super) fn trim(&mut self, policy: &Policy, now: UnixMillis, more: usize, bytes: usize) {
        if !keeps(policy) {
            return self.clear();
        }
        let age = u64::try_from(policy.history_age.as_millis()).unwrap_or(u64::MAX);
        while let Some(oldest) = self.events.front() {
            let aged = oldest.time.saturating_add(age) <= now;
            let excess = self.events.len() + more > policy.history_size || self.bytes + bytes > policy.history_bytes;
            if !aged && !excess {
                break;
            }
            self.drop_oldest();
        }
        self.shrink();
    }

    /// Drops the oldest events until `bytes` are free or none is left.
    pub(super) fn give_up(&mut self, bytes: usize) {
        let keep = self.bytes.saturating_sub(bytes);
        while self.bytes > keep {
            self.drop_oldest();
        }
        self.shrink();
    }

    fn clear(&mut self) {
        self.events = VecDeque::new();
        self.bytes = 0;
    }

    fn drop_oldest(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes -= cost(event.cost());
        }
    }

    /// A room that was busy once must not keep the room for it.
    fn shrink(&mut self) {
        if self.events.capacity() > 32 && self.events.len() < self.events.capacity() / 4 {
            self.events.shrink_to(self.events.len() * 2);
        }
    }

    /// Puts what says that it is deleted in the place of an event. Whether there is one.
    pub(super) fn replace(&mut self, deletion: &Deletion, part: Option<&Room>) -> bool {
        let (offset, base) = (deletion.at.offset, self.base());
        let place = offset.checked_sub(base + 1).and_then(|at| self.events.get_mut(usize::try_from(at).ok()?));
        let Some(event) = place else { return false };
        let tombstone = Event::from_publication(deletion.in_place(), offset, event.time, part.cloned());
        self.bytes = self.bytes + cost(tombstone.cost()) - cost(event.cost());
        *event = Arc::new(tombstone);
        true
    }

    /// Whether a user published one of the events.
    pub(super) fn has_event_of(&self, user: &str) -> bool {
        self.events.iter().any(|event| event.user.as_deref() == Some(user))
    }

    /// The offset before the oldest event kept.
    fn base(&self) -> Offset {
        self.end - self.events.len() as Offset
    }

    /// The events in (`after`, `until`]; both within (`base`, `end`].
    fn range(&self, after: Offset, until: Offset) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        // Both differences are at most `events.len()`, a usize.
        let (first, last) = ((after - self.base()) as usize, (until - self.base()) as usize);
        self.events.range(first..last)
    }

    /// A part of the log; from `since` on the oldest come first, without it the newest are wanted.
    pub(super) fn query(&self, epoch: &Epoch, query: &HistoryQuery) -> History {
        let until = query.until.unwrap_or(self.end).min(self.end);
        let (after, offset, events) = match &query.since {
            Some(since) => self.forward(epoch, since, until, query),
            None => self.newest(until, query),
        };
        let wanted = match &query.since {
            Some(since) => (since.epoch == *epoch).then_some(since.offset),
            None => Some(0),
        };
        let complete = wanted == Some(after) && offset >= until;
        History { epoch: epoch.clone(), after, offset, end: self.end, complete, events }
    }

    fn forward(
        &self,
        epoch: &Epoch,
        since: &Since,
        until: Offset,
        query: &HistoryQuery,
    ) -> (Offset, Offset, Vec<Arc<Event>>) {
        let known = if since.epoch == *epoch { since.offset } else { 0 };
        // Where nothing behind it is wanted, what the log has dropped since is not missing.
        if since.epoch == *epoch && until <= known && known <= self.end {
            return (known, known, Vec::new());
        }
        let after = known.clamp(self.base(), self.end);
        let events = bounded(self.range(after, until.max(after)), query);
        (after, after + events.len() as Offset, events)
    }

    fn newest(&self, until: Offset, query: &HistoryQuery) -> (Offset, Offset, Vec<Arc<Event>>) {
        let base = self.base().min(until);
        let mut events = if until > base { bounded(self.range(base, until).rev(), query) } else { Vec::new() };
        events.reverse();
        (until - events.len() as Offset, until, events)
    }
}

/// The first events that stay within the query's limits.
fn bounded<'a>(events: impl Iterator<Item = &'a Arc<Event>>, query: &HistoryQuery) -> Vec<Arc<Event>> {
    let mut bytes = 0_usize;
    events
        .take(query.max_events)
        .take_while(|event| {
            bytes = bytes.saturating_add(event.payload.len());
            bytes <= query.max_bytes
        })
        .map(Arc::clone)
        .collect()
}

#[cfg(test)]
impl Log {
    pub(super) fn bytes_anew(&self) -> usize {
        self.events.iter().map(|event| cost(event.cost())).sum()
    }
}
