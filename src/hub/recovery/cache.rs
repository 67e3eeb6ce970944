//! What clients missed, read once and encoded once however many ask for it, on whatever worker.
//!
//! Owns small, short-lived caches of recovered ranges, and of pages of logs that rooms share: clients that come back to such a log
//! stopped at as many places as they are, and read the same pages. Never decides which connection gets them. Always holds: one history
//! read per room and range while it is in the cache.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::OnceCell;

use crate::{
    broker::{Broker, BrokerError, History, HistoryQuery},
    hub::{
        fanout::broadcast::{Broadcast, Content},
        recovery::plan::{self, Recovered},
        sequencer::shared_log::by_room,
    },
    model::{Batch, Event, Offset, Policy, Position, Room, Since},
};

/// What a client missed: frames to send in order, or the news that they cannot be had.
#[derive(Debug, Clone)]
pub enum Missed {
    /// Exactly the range, in broadcasts.
    All(Vec<Arc<Broadcast>>),
    /// Not, or not all of it: nothing is sent.
    Gone,
}

/// A range, by where it begins and ends.
type Key = (Room, Since, Position);

/// A page of a shared log.
#[derive(Debug, Clone)]
struct Page {
    /// The offset that it continues from.
    after: Offset,
    /// The last one that it covers.
    offset: Offset,
    /// Whether it is exactly what was asked for: the epoch that was named goes on there.
    complete: bool,
    /// One broadcast an event.
    broadcasts: Arc<[(Offset, Arc<Broadcast>)]>,
}

/// The recovered ranges of a pod.
#[derive(Debug)]
pub struct Recoveries {
    ranges: Brief<Missed>,
    pages: Brief<Option<Page>>,
}

impl Default for Recoveries {
    fn default() -> Self {
        Self { ranges: Brief::new(1_024), pages: Brief::new(64) }
    }
}

impl Recoveries {
    /// How many events a page of a shared log has.
    const PAGE: Offset = 256;
    /// And the most bytes of payload; an event has at most half of that.
    const PAGE_BYTES: usize = 16 * 1024 * 1024;

    /// What lies between `since` and `target`.
    ///
    /// # Errors
    /// The broker's.
    pub async fn missed(
        &self,
        broker: &dyn Broker,
        policy: &Arc<Policy>,
        room: &Room,
        since: &Since,
        target: &Position,
    ) -> Result<Missed, BrokerError> {
        let now = Instant::now();
        let cell = self.ranges.cell((room.clone(), since.clone(), target.clone()), now);
        let read = async {
            let query = HistoryQuery {
                since: Some(since.clone()),
                until: Some(target.offset),
                max_events: plan::MAX_EVENTS,
                max_bytes: plan::MAX_BYTES,
            };
            let history = broker.history(room, query).await?;
            Ok(match plan::plan(room, history, since, target, policy) {
                Recovered::Exactly(batches) => Missed::All(
                    batches
                        .into_iter()
                        .flat_map(by_room)
                        .map(|batch| {
                            Arc::new(Broadcast::new(Content::Events(batch), Arc::clone(policy), now).recovered())
                        })
                        .collect(),
                ),
                Recovered::Not => Missed::Gone,
            })
        };
        cell.get_or_init(|| read).await.clone()
    }

    /// What lies between `since` and `target` of a log that rooms share, of those that are `wanted`, each behind an offset of its
    /// own.
    ///
    /// # Errors
    /// The broker's.
    pub async fn missed_of_parts(
        &self,
        broker: &dyn Broker,
        policy: &Arc<Policy>,
        log: &Room,
        since: &Since,
        target: &Position,
        wanted: &HashMap<Room, Offset>,
    ) -> Result<Missed, BrokerError> {
        let (mut at, mut found, mut bytes) = (since.clone(), Vec::new(), 0);
        while at.offset != target.offset || at.epoch != target.epoch {
            let Some(page) = self.page_behind(broker, policy, log, &at, target).await? else { return Ok(Missed::Gone) };
            for (offset, broadcast) in page.broadcasts.iter().filter(|(offset, _)| *offset > at.offset) {
                if wanted.get(broadcast.room()).is_some_and(|floor| offset > floor) {
                    bytes += broadcast.bytes();
                    found.push(Arc::clone(broadcast));
                }
            }
            if found.len() > plan::MAX_EVENTS || bytes > plan::MAX_BYTES {
                return Ok(Missed::Gone);
            }
            at = Since { epoch: target.epoch.clone(), offset: page.offset };
        }
        Ok(Missed::All(found))
    }

    /// A page that goes on behind a position; `None`: the log does not, or ends before `target`.
    async fn page_behind(
        &self,
        broker: &dyn Broker,
        policy: &Arc<Policy>,
        log: &Room,
        at: &Since,
        target: &Position,
    ) -> Result<Option<Page>, BrokerError> {
        if at.offset > target.offset {
            return Ok(None);
        }
        if at.epoch == target.epoch {
            let start = at.offset / Self::PAGE * Self::PAGE;
            let end = (start + Self::PAGE).min(target.offset);
            let since = Since { epoch: at.epoch.clone(), offset: start };
            // What is older than the client may be gone.
            let page = self.page(broker, policy, log, since, Position::new(target.epoch.clone(), end)).await?;
            if let Some(page) = page.filter(|page| page.after <= at.offset && page.offset > at.offset) {
                return Ok(Some(page));
            }
        }
        let end = (at.offset + Self::PAGE).min(target.offset);
        let page = self.page(broker, policy, log, at.clone(), Position::new(target.epoch.clone(), end)).await?;
        // Only the log knows whether an earlier epoch goes on in its own at that place.
        let goes_on = |page: &Page| page.complete || (at.epoch == target.epoch && page.after == at.offset);
        let ends = |page: &Page| page.offset > at.offset || at.offset == target.offset;
        Ok(page.filter(|page| goes_on(page) && ends(page)))
    }

    /// Reads a page. `None`: the log is in another epoch by now, or has none of the client's.
    async fn page(
        &self,
        broker: &dyn Broker,
        policy: &Arc<Policy>,
        log: &Room,
        since: Since,
        end: Position,
    ) -> Result<Option<Page>, BrokerError> {
        let now = Instant::now();
        let cell = self.pages.cell((log.clone(), since.clone(), end.clone()), now);
        let read = async {
            let (max_events, max_bytes) = (usize::MAX, Self::PAGE_BYTES);
            let query = HistoryQuery { since: Some(since), until: Some(end.offset), max_events, max_bytes };
            let History { epoch, after, offset, complete, events, .. } = broker.history(log, query).await?;
            let broadcast = |(before, event): (Offset, Arc<Event>)| {
                let (room, at) = (event.room.as_ref().unwrap_or(log).clone(), event.offset);
                let batch = Batch { room, epoch: epoch.clone(), after: before, offset: at, events: vec![event] };
                (at, Arc::new(Broadcast::new(Content::Events(batch), Arc::clone(policy), now).recovered()))
            };
            let broadcasts = (after..).zip(events).map(broadcast).collect();
            Ok((epoch == end.epoch).then_some(Page { after, offset, complete, broadcasts }))
        };
        cell.get_or_init(|| read).await.clone()
    }

    /// Lets go of what was read of a log: it has other events in places where that has deleted ones.
    pub fn forget(&self, log: &Room) {
        self.ranges.forget(log);
        self.pages.forget(log);
    }

    /// Lets go of ranges that were not asked for lately. Each worker calls it on its timer.
    pub fn forget_old(&self, now: Instant) {
        self.ranges.forget_old(now);
        self.pages.forget_old(now);
    }
}

type Cell<T> = Arc<OnceCell<Result<T, BrokerError>>>;

/// Answers of the log, shared by everything that asks within a short time.
#[derive(Debug)]
struct Brief<T> {
    /// The most kept; beyond it the oldest go first.
    max: usize,
    recent: Mutex<HashMap<Key, (Instant, Cell<T>)>>,
}

impl<T> Brief<T> {
    /// How long an answer is shared.
    const KEEP: Duration = Duration::from_secs(2);

    fn new(max: usize) -> Self {
        Self { max, recent: Mutex::default() }
    }

    fn cell(&self, key: Key, now: Instant) -> Cell<T> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= self.max {
            recent.retain(|_, (made, _)| now.duration_since(*made) < Self::KEEP);
        }
        if recent.len() >= self.max {
            let oldest = recent.iter().min_by_key(|(_, (made, _))| *made).map(|(key, _)| key.clone());
            oldest.and_then(|key| recent.remove(&key));
        }
        let (made, cell) = recent.entry(key).or_insert_with(|| (now, Cell::default()));
        let failed = cell.get().is_some_and(Result::is_err);
        if failed || now.duration_since(*made) >= Self::KEEP {
            (*made, *cell) = (now, Cell::default());
        }
        Arc::clone(cell)
    }

    fn forget(&self, log: &Room) {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).retain(|(room, ..), _| room != log);
    }

    fn forget_old(&self, now: Instant) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|_, (made, _)| now.duration_since(*made) < Self::KEEP);
    }
}

#[cfg(test)]
mod tests;
