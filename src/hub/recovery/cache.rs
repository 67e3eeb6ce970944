//! What clients missed, read once and encoded once however many ask for it, on whatever worker.
//!
//! Owns small, short-lived caches of recovered ranges, and of pages of logs that rooms share: clients that come back to such a log
//! stopped at as many places as they are, and read the same pages. Never decides which connection gets them. Always holds: one history
//! read per room and range while it is in the cache; what is kept is on the pod's account, and no more than a share of it.

use std::{collections::HashMap, sync::Arc, time::Instant};

use crate::{
    broker::{Broker, BrokerError, History, HistoryQuery},
    hub::{
        connection::budget::Budget,
        fanout::broadcast::{Broadcast, Content},
        recovery::{
            brief::Brief,
            plan::{self, Recovered},
        },
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

impl Recoveries {
    /// What is kept holds each event, and its frames once they are made: for each way in which a client reads them, compressed and not.
    const FORMS: usize = 3;
    /// How many events a page of a shared log has.
    const PAGE: Offset = 256;
    /// And the most bytes of payload; an event has at most half of that.
    const PAGE_BYTES: usize = 16 * 1024 * 1024;

    /// No ranges yet; what is kept is on this account.
    #[must_use]
    pub fn new(budget: &Arc<Budget>) -> Self {
        Self { ranges: Brief::new(1_024, budget), pages: Brief::new(64, budget) }
    }

    fn weight<'a>(broadcasts: impl Iterator<Item = &'a Arc<Broadcast>>) -> usize {
        broadcasts.map(|broadcast| Self::FORMS * broadcast.bytes() + size_of::<Broadcast>()).sum()
    }

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
        let key = (room.clone(), since.clone(), target.clone());
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
        let weight = |missed: &Missed| match missed {
            Missed::All(broadcasts) => Self::weight(broadcasts.iter()),
            Missed::Gone => 0,
        };
        self.ranges.get(key, now, read, weight).await
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
        let key = (log.clone(), since.clone(), end.clone());
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
        let weight = |page: &Option<Page>| {
            page.as_ref().map_or(0, |page| Self::weight(page.broadcasts.iter().map(|(_, broadcast)| broadcast)))
        };
        self.pages.get(key, now, read, weight).await
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

#[cfg(test)]
mod tests;
