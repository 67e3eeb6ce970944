//! What clients missed, read once and encoded once however many ask for it, on whatever worker.
//!
//! Owns a small, short-lived cache of recovered ranges; never decides who gets them. Always holds: one history read per
//! room and range while it is in the cache.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::OnceCell;

use super::{
    Broadcast, Content,
    recovery::{self, Recovered},
};
use crate::{
    broker::{Broker, BrokerError, HistoryQuery},
    model::{Policy, Position, Room, Since},
};

/// What a client missed: frames to send in order, or the news that they cannot be had.
#[derive(Debug, Clone)]
pub enum Missed {
    /// Exactly the range, in broadcasts.
    All(Vec<Arc<Broadcast>>),
    /// Not, or not all of it: nothing is sent.
    Gone,
}

type Cell = Arc<OnceCell<Result<Missed, BrokerError>>>;

/// A range, by where it begins and ends.
type Key = (Room, Since, Position);

/// The recovered ranges of a pod.
#[derive(Debug, Default)]
pub struct Recoveries {
    recent: Mutex<HashMap<Key, (Instant, Cell)>>,
}

impl Recoveries {
    /// How long a range is shared.
    const KEEP: Duration = Duration::from_secs(2);
    /// The most ranges kept; beyond it the oldest go first.
    const MAX: usize = 1_024;

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
        let cell = self.cell(room, since, target, now);
        let read = async {
            let query = HistoryQuery {
                since: Some(since.clone()),
                until: Some(target.offset),
                max_events: recovery::MAX_EVENTS,
                max_bytes: recovery::MAX_BYTES,
            };
            let history = broker.history(room, query).await?;
            Ok(match recovery::plan(room, history, since, target, policy) {
                Recovered::Exactly(batches) => Missed::All(
                    batches
                        .into_iter()
                        .map(|batch| Arc::new(Broadcast::new(Content::Events(batch), Arc::clone(policy), now)))
                        .collect(),
                ),
                Recovered::Not => Missed::Gone,
            })
        };
        cell.get_or_init(|| read).await.clone()
    }

    fn cell(&self, room: &Room, since: &Since, target: &Position, now: Instant) -> Cell {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= Self::MAX {
            recent.retain(|_, (made, _)| now.duration_since(*made) < Self::KEEP);
        }
        if recent.len() >= Self::MAX {
            let oldest = recent.iter().min_by_key(|(_, (made, _))| *made).map(|(key, _)| key.clone());
            oldest.and_then(|key| recent.remove(&key));
        }
        let key = (room.clone(), since.clone(), target.clone());
        let (made, cell) = recent.entry(key).or_insert_with(|| (now, Cell::default()));
        let failed = cell.get().is_some_and(Result::is_err);
        if failed || now.duration_since(*made) >= Self::KEEP {
            (*made, *cell) = (now, Cell::default());
        }
        Arc::clone(cell)
    }

    /// Lets go of ranges nobody has asked for lately: each worker calls it on its timer.
    pub fn forget_old(&self, now: Instant) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|_, (made, _)| now.duration_since(*made) < Self::KEEP);
    }
}
