//! A room's log as a simulated broker has it: appended to, rolled back, renamed, trimmed, read.
//!
//! Owns the truth that the oracle asks: what each position of each epoch was. Always holds: no epoch names two events by one
//! offset.

use std::{collections::HashMap, sync::Arc};

use serde_json::value::RawValue;

use crate::{
    broker::{History, HistoryQuery},
    model::{Epoch, Event, Offset, Payload, Position, Publication, Since},
};

/// One life of a log.
struct Life {
    epoch: Epoch,
    /// Up to here it is its parent's.
    begins_after: Offset,
    /// Up to here its events are still in the log.
    holds_until: Offset,
    events: HashMap<Offset, u64>,
}

/// A room's log.
pub struct SimulatedLog {
    lives: Vec<Life>,
    events: Vec<Arc<Event>>,
    /// The offset before the oldest event.
    base: Offset,
    published: u64,
}

impl SimulatedLog {
    /// An empty log.
    pub fn new() -> Self {
        let mut log = Self { lives: Vec::new(), events: Vec::new(), base: 0, published: 0 };
        log.begin_life(0);
        log
    }

    fn begin_life(&mut self, at: Offset) {
        let epoch = Epoch::new(&format!("e{}", self.lives.len()));
        self.lives.iter_mut().for_each(|life| life.holds_until = life.holds_until.min(at));
        self.lives.push(Life { epoch, begins_after: at, holds_until: Offset::MAX, events: HashMap::new() });
    }

    fn life(&self) -> &Life {
        &self.lives[self.lives.len() - 1]
    }

    /// The last offset.
    pub fn end(&self) -> Offset {
        self.base + self.events.len() as Offset
    }

    /// Where the log stands.
    pub fn head(&self) -> Position {
        Position::new(self.life().epoch.clone(), self.end())
    }

    /// Appends an event; each has another number as its data, and one of three keys.
    pub fn append(&mut self) -> (Epoch, Arc<Event>) {
        self.published += 1;
        let number = self.published;
        let publication = Publication {
            topic: "t".into(),
            key: Some(format!("k{}", number % 3).into()),
            payload: Payload::Json(RawValue::from_string(number.to_string()).unwrap()),
            user: None,
            id: None,
            idempotency_key: None,
        };
        let offset = self.end() + 1;
        let event = Arc::new(Event::from_publication(publication, offset, 0, None));
        self.events.push(Arc::clone(&event));
        let at = self.lives.len() - 1;
        self.lives[at].events.insert(offset, number);
        (self.life().epoch.clone(), event)
    }

    /// Loses the newest events.
    pub fn roll_back(&mut self, count: u64) {
        let keep = self.events.len().saturating_sub(count as usize);
        self.events.truncate(keep);
        self.begin_life(self.end());
    }

    /// Goes on under another epoch.
    pub fn rename(&mut self) {
        self.begin_life(self.end());
    }

    /// Loses the oldest events but for `keep`.
    pub fn trim(&mut self, keep: usize) {
        let drop = self.events.len().saturating_sub(keep);
        self.events.drain(..drop);
        self.base += drop as Offset;
    }

    /// The event's number at a position, as it was when that epoch was the log's.
    pub fn number_at(&self, epoch: &str, offset: Offset) -> Option<u64> {
        let mut at = self.lives.iter().position(|life| life.epoch.as_str() == epoch)?;
        while self.lives[at].begins_after >= offset {
            at = at.checked_sub(1)?;
        }
        self.lives[at].events.get(&offset).copied()
    }

    /// Whether the log still has what an epoch had up to a position.
    pub fn continues(&self, epoch: &str, offset: Offset) -> bool {
        self.lives.iter().any(|life| life.epoch.as_str() == epoch && offset <= life.holds_until)
    }

    /// Reads a part.
    pub fn read(&self, query: &HistoryQuery) -> History {
        let (end, epoch) = (self.end(), self.life().epoch.clone());
        let until = query.until.unwrap_or(end).min(end);
        let known = match &query.since {
            Some(Since { epoch, offset }) if self.continues(epoch.as_str(), *offset) => Some(*offset),
            _ => None,
        };
        let after = known.unwrap_or(0).clamp(self.base, end);
        let first = (after - self.base) as usize;
        let last = (until.max(after) - self.base) as usize;
        let events: Vec<_> = self.events[first..last].iter().take(query.max_events).cloned().collect();
        let offset = after + events.len() as Offset;
        let complete = known == Some(after) && offset >= until;
        History { epoch, after, offset, end, complete, events }
    }
}
