//! Answers of logs that are shared for a moment by all that ask the same.
//!
//! Never reads a log: what asks does, once for each key. Always holds: what is kept is on the pod's account; beyond a share of it, or
//! beyond a number, the oldest goes first; the newest stays, however large, so that a crowd that asks for it has it read once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::OnceCell;

use crate::{
    broker::BrokerError,
    hub::connection::budget::Budget,
    model::{Position, Room, Since},
};

/// A range of a log, by where it begins and ends.
pub type Key = (Room, Since, Position);

type Cell<T> = Arc<OnceCell<Result<T, BrokerError>>>;

/// Answers, for a moment.
#[derive(Debug)]
pub struct Brief<T> {
    /// The most that are kept.
    max: usize,
    budget: Arc<Budget>,
    recent: Mutex<HashMap<Key, Kept<T>>>,
}

#[derive(Debug)]
struct Kept<T> {
    made: Instant,
    cell: Cell<T>,
    held: Held,
}

/// Bytes on the pod's account.
#[derive(Debug)]
struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Held {
    fn new(budget: &Arc<Budget>, bytes: usize) -> Self {
        budget.take(bytes);
        Self { budget: Arc::clone(budget), bytes }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

impl<T: Clone> Brief<T> {
    /// How long an answer is shared.
    const KEEP: Duration = Duration::from_secs(2);

    /// Which part of the pod's account may be answers.
    const SHARE: usize = 32;

    /// Keeps at most `max` answers, on this account.
    pub fn new(max: usize, budget: &Arc<Budget>) -> Self {
        Self { max, budget: Arc::clone(budget), recent: Mutex::default() }
    }

    /// The answer to `key`: what is kept of it, or what `read` says, which has this `weight`, in bytes.
    ///
    /// # Errors
    /// Those of `read`. They are kept for none that asks later.
    pub async fn get(
        &self,
        key: Key,
        now: Instant,
        read: impl Future<Output = Result<T, BrokerError>>,
        weight: impl FnOnce(&T) -> usize,
    ) -> Result<T, BrokerError> {
        let cell = self.cell(key.clone(), now);
        let mut is_first = false;
        let read = async {
            is_first = true;
            read.await
        };
        let answer = cell.get_or_init(|| read).await.clone();
        if let Ok(answer) = &answer
            && is_first
        {
            self.weigh(&key, &cell, weight(answer));
        }
        answer
    }

    fn cell(&self, key: Key, now: Instant) -> Cell<T> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= self.max {
            recent.retain(|_, kept| now.duration_since(kept.made) < Self::KEEP);
        }
        if recent.len() >= self.max {
            let oldest = recent.iter().min_by_key(|(_, kept)| kept.made).map(|(key, _)| key.clone());
            oldest.and_then(|key| recent.remove(&key));
        }
        let anew = || Kept { made: now, cell: Cell::default(), held: Held::new(&self.budget, 0) };
        let kept = recent.entry(key).or_insert_with(anew);
        let failed = kept.cell.get().is_some_and(Result::is_err);
        if failed || now.duration_since(kept.made) >= Self::KEEP {
            *kept = anew();
        }
        Arc::clone(&kept.cell)
    }

    /// Books what an answer weighs, unless it is kept no more, and lets go of older ones for it.
    fn weigh(&self, key: &Key, cell: &Cell<T>, bytes: usize) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = recent.get_mut(key).filter(|kept| Arc::ptr_eq(&kept.cell, cell)) else { return };
        kept.held = Held::new(&self.budget, bytes);
        let mut excess = recent.values().map(|kept| kept.held.bytes).sum::<usize>();
        excess = excess.saturating_sub(self.budget.limit() / Self::SHARE);
        while excess > 0 {
            let others = recent.iter().filter(|(other, kept)| *other != key && kept.held.bytes > 0);
            let Some(oldest) = others.min_by_key(|(_, kept)| kept.made).map(|(key, _)| key.clone()) else { return };
            let gone = recent.remove(&oldest).map_or(0, |kept| kept.held.bytes);
            excess = excess.saturating_sub(gone);
        }
    }

    /// Lets go of what was read of a log.
    pub fn forget(&self, log: &Room) {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).retain(|(room, ..), _| room != log);
    }

    /// Lets go of what was read some time ago.
    pub fn forget_old(&self, now: Instant) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|_, kept| now.duration_since(kept.made) < Self::KEEP);
    }

    /// How many answers are kept.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Epoch;

    fn key(n: u64) -> Key {
        let (room, epoch) = (Room::parse("room").unwrap(), Epoch::new("e"));
        (room, Since { epoch: epoch.clone(), offset: n }, Position::new(epoch, 1_000))
    }

    async fn ask(brief: &Brief<u64>, n: u64, bytes: usize) -> bool {
        let mut was_read = false;
        let read = async {
            was_read = true;
            Ok(n)
        };
        assert_eq!(brief.get(key(n), Instant::now(), read, |_| bytes).await.unwrap(), n);
        was_read
    }

    #[tokio::test]
    async fn a_share_of_the_account_is_kept_and_given_back() {
        let budget = Arc::new(Budget::new(32 * 1_000));
        let brief = Brief::new(100, &budget);
        for n in 0..4 {
            assert!(ask(&brief, n, 300).await);
        }
        assert_eq!((budget.held(), brief.len()), (900, 3), "a fourth is beyond the share");
        assert!(!ask(&brief, 3, 300).await && ask(&brief, 0, 300).await, "the oldest went");
        assert!(ask(&brief, 9, 5_000).await && !ask(&brief, 9, 5_000).await, "however large");
        assert_eq!((budget.held(), brief.len()), (5_000, 1));
        brief.forget_old(Instant::now() + Duration::from_secs(2));
        assert_eq!((budget.held(), brief.len()), (0, 0));
    }

    #[tokio::test]
    async fn what_failed_is_read_again_and_weighs_nothing() {
        let budget = Arc::new(Budget::new(1_000));
        let brief = Brief::<u64>::new(100, &budget);
        let fail = async { Err(BrokerError::Unknown) };
        assert!(brief.get(key(1), Instant::now(), fail, |_| 500).await.is_err());
        assert_eq!(budget.held(), 0);
        assert!(ask(&brief, 1, 20).await);
        assert_eq!(budget.held(), 20);
        brief.forget(&key(1).0);
        assert_eq!(budget.held(), 0);
    }
}
