//! The newest events of one followed room. Pure.
//!
//! Always holds: they are exactly those in (`after`, `end`] of one epoch, so that what is answered from them is what the home would answer;
//! what they cannot answer exactly is not answered.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    broker::{History, HistoryQuery},
    model::{Epoch, Event, Offset, Policy, Position, UnixMillis},
};

/// The newest events of a room.
#[derive(Debug)]
pub(super) struct Tail {
    epoch: Epoch,
    after: Offset,
    events: VecDeque<Arc<Event>>,
    bytes: usize,
}

impl Tail {
    /// One that begins behind a position.
    pub(super) fn behind(position: Position) -> Self {
        Self { epoch: position.epoch, after: position.offset, events: VecDeque::new(), bytes: 0 }
    }

    /// The bytes that its events hold.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The last position that it covers.
    pub(super) fn end(&self) -> Position {
        Position::new(self.epoch.clone(), self.end_offset())
    }

    fn end_offset(&self) -> Offset {
        self.after + self.events.len() as Offset
    }

    /// Takes the next event. One that does not follow begins the tail anew.
    pub(super) fn push(&mut self, epoch: &Epoch, event: &Arc<Event>, policy: &Policy) {
        // The home has taken out of its log what this names.
        if event.is_deletion() {
            self.clear();
        }
        let end = self.end_offset();
        // Before its first event a room stands in the epoch of all that have none.
        let follows = event.offset == end + 1 && (self.epoch == *epoch || end == 0);
        if !follows {
            *self = Self::behind(Position::new(epoch.clone(), event.offset.saturating_sub(1)));
        }
        self.epoch = epoch.clone();
        self.bytes += event.cost();
        self.events.push_back(Arc::clone(event));
        while self.events.len() > policy.history_size || self.bytes > policy.history_bytes {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes -= event.cost();
            self.after = event.offset;
        }
    }

    /// Drops all events.
    pub(super) fn clear(&mut self) {
        *self = Self::behind(self.end());
    }

    /// Drops what the policy does not keep so long. `now`: the home's time.
    pub(super) fn expire(&mut self, policy: &Policy, now: UnixMillis) {
        let age = u64::try_from(policy.history_age.as_millis()).unwrap_or(u64::MAX);
        while self.events.front().is_some_and(|oldest| oldest.time.saturating_add(age) <= now) {
            self.drop_oldest();
        }
    }

    /// Takes a part of the log that the home answered, as far as it reaches up to what is here.
    pub(super) fn extend_back(&mut self, history: &History, policy: &Policy) {
        if history.epoch != self.epoch || history.offset < self.after {
            return;
        }
        let after = self.after;
        for event in history.events.iter().rev().filter(|event| event.offset <= after) {
            let fits = self.events.len() < policy.history_size && self.bytes + event.cost() <= policy.history_bytes;
            if !fits || event.offset != self.after {
                return;
            }
            self.bytes += event.cost();
            self.events.push_front(Arc::clone(event));
            self.after -= 1;
        }
    }

    /// What the home would answer; `None`: only the home knows.
    pub(super) fn answer(&self, query: &HistoryQuery) -> Option<History> {
        let end = self.end_offset();
        let until = query.until.unwrap_or(end).min(end);
        match &query.since {
            Some(since) => {
                let known = since.epoch == self.epoch && (self.after..=end).contains(&since.offset);
                if !known {
                    return None;
                }
                let wanted = self.events.iter().filter(|event| event.offset > since.offset && event.offset <= until);
                let events = bounded(wanted, query);
                let offset = since.offset + events.len() as Offset;
                Some(self.history(since.offset, offset, offset >= until, events))
            }
            None => {
                if until < self.after {
                    return None;
                }
                let newest = self.events.iter().rev().filter(|event| event.offset <= until);
                let mut events = bounded(newest, query);
                events.reverse();
                let after = until - events.len() as Offset;
                // Where nothing was cut off, the home may have more.
                (after > self.after || after == 0).then(|| self.history(after, until, after == 0, events))
            }
        }
    }

    fn history(&self, after: Offset, offset: Offset, complete: bool, events: Vec<Arc<Event>>) -> History {
        History { epoch: self.epoch.clone(), after, offset, end: self.end_offset(), complete, events }
    }
}

/// The first events that stay within the query's limits.
fn bounded<'a>(events: impl Iterator<Item = &'a Arc<Event>>, query: &HistoryQuery) -> Vec<Arc<Event>> {
    let mut bytes = 0_usize;
    let fits = |event: &&Arc<Event>| {
        bytes = bytes.saturating_add(event.payload.len());
        bytes <= query.max_bytes
    };
    events.take(query.max_events).take_while(fits).map(Arc::clone).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{Payload, Publication, Since};

    fn event(offset: Offset) -> Arc<Event> {
        let payload = Payload::Binary(vec![0; 10].into());
        let publication =
            Publication { topic: "t".into(), key: None, payload, user: None, id: None, idempotency_key: None };
        Arc::new(Event::from_publication(publication, offset, offset * 1_000, None))
    }

    fn tail(after: Offset, end: Offset, policy: &Policy) -> Tail {
        let epoch = Epoch::new("e");
        let mut tail = Tail::behind(Position::new(epoch.clone(), after));
        (after + 1..=end).for_each(|offset| tail.push(&epoch, &event(offset), policy));
        tail
    }

    fn since(offset: Offset) -> HistoryQuery {
        let since = Some(Since { epoch: Epoch::new("e"), offset });
        HistoryQuery { since, ..newest() }
    }

    fn newest() -> HistoryQuery {
        HistoryQuery { since: None, until: None, max_events: usize::MAX, max_bytes: usize::MAX }
    }

    fn said(history: Option<History>) -> Option<(Offset, Offset, bool, Vec<Offset>)> {
        let History { after, offset, complete, events, .. } = history?;
        Some((after, offset, complete, events.iter().map(|event| event.offset).collect()))
    }

    #[test]
    fn what_it_covers_is_answered_and_nothing_else() {
        let tail = tail(3, 6, &Policy::default());
        assert_eq!(said(tail.answer(&since(4))), Some((4, 6, true, vec![5, 6])));
        assert_eq!(said(tail.answer(&since(3))), Some((3, 6, true, vec![4, 5, 6])));
        assert_eq!(said(tail.answer(&since(6))), Some((6, 6, true, vec![])));
        assert_eq!(said(tail.answer(&HistoryQuery { until: Some(5), ..since(3) })), Some((3, 5, true, vec![4, 5])));
        assert_eq!(said(tail.answer(&HistoryQuery { max_events: 1, ..since(3) })), Some((3, 4, false, vec![4])));
        assert_eq!(said(tail.answer(&HistoryQuery { max_bytes: 25, ..since(3) })), Some((3, 5, false, vec![4, 5])));
        assert_eq!(said(tail.answer(&HistoryQuery { max_events: 2, ..newest() })), Some((4, 6, false, vec![5, 6])));
        assert_eq!(said(tail.answer(&HistoryQuery { max_events: 0, ..newest() })), Some((6, 6, false, vec![])));
        for unknown in [since(2), since(7), newest(), HistoryQuery { max_events: 3, ..newest() }] {
            assert_eq!(tail.answer(&unknown), None, "{unknown:?}");
        }
        let other = Some(Since { epoch: Epoch::new("f"), offset: 4 });
        assert_eq!(tail.answer(&HistoryQuery { since: other, ..newest() }), None);
    }

    #[test]
    fn a_whole_log_is_known_to_be_whole() {
        let tail = tail(0, 2, &Policy::default());
        assert_eq!(said(tail.answer(&newest())), Some((0, 2, true, vec![1, 2])));
    }

    #[test]
    fn it_keeps_what_the_policy_keeps() {
        let policy = Policy { history_size: 2, ..Policy::default() };
        let mut tail = tail(0, 5, &policy);
        assert_eq!((tail.after, tail.events.len(), tail.bytes), (3, 2, 2 * event(1).cost()));
        tail.expire(&Policy { history_age: std::time::Duration::from_secs(2), ..policy }, 6_000);
        assert_eq!((tail.after, tail.events.len()), (4, 1));
        tail.clear();
        assert_eq!((tail.end().offset, tail.bytes), (5, 0));
    }

    #[test]
    fn a_hole_begins_it_anew_and_what_was_read_fills_it() {
        let policy = Policy::default();
        let mut tail = tail(0, 2, &policy);
        tail.push(&Epoch::new("e"), &event(5), &policy);
        assert_eq!(said(tail.answer(&since(4))), Some((4, 5, true, vec![5])));
        assert_eq!(tail.answer(&since(2)), None);
        let events = vec![event(3), event(4), event(5)];
        let read = History { epoch: Epoch::new("e"), after: 2, offset: 5, end: 5, complete: true, events };
        tail.extend_back(&read, &policy);
        assert_eq!(said(tail.answer(&since(2))), Some((2, 5, true, vec![3, 4, 5])));
        tail.extend_back(&History { epoch: Epoch::new("f"), ..read.clone() }, &policy);
        tail.extend_back(&History { offset: 1, events: vec![event(1)], ..read }, &policy);
        assert_eq!(tail.after, 2, "another epoch, and what does not reach up to it, are left");
    }

    #[test]
    fn another_epoch_begins_it_anew() {
        let policy = Policy::default();
        let mut tail = tail(0, 2, &policy);
        tail.push(&Epoch::new("f"), &event(3), &policy);
        assert_eq!((tail.end(), tail.after), (Position::new(Epoch::new("f"), 3), 2));
        let mut blank = Tail::behind(Position::new(Epoch::new("n1"), 0));
        blank.push(&Epoch::new("e"), &event(1), &policy);
        assert_eq!((blank.end(), blank.after), (Position::new(Epoch::new("e"), 1), 0));
    }
}
