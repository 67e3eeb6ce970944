//! Sockets that have not shown yet that they may be there: no links of edges, no callers with a key. Without I/O.
//!
//! Bounded: [`MOST_NEWCOMERS`]; the one that has waited longest makes place for another one, unless it has waited for a moment only. Always
//! holds: a socket that has shown it, or has ended, is none of these.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// The most of them.
pub const MOST_NEWCOMERS: usize = 1_024;

/// A socket that waits shorter than this makes no place for others: an honest peer needs a moment for each step.
const YOUNG: Duration = Duration::from_millis(250);

struct Newcomer {
    number: u64,
    since: Instant,
    over: Arc<Notify>,
}

#[derive(Default)]
struct NewcomersLine {
    /// The one that has waited longest first.
    waiting: VecDeque<Newcomer>,
    given: u64,
}

/// Those that wait.
#[derive(Default)]
pub struct Newcomers(Mutex<NewcomersLine>);

/// A socket's place among them, until it is dropped.
pub struct NewcomerPlace {
    all: Arc<Newcomers>,
    number: u64,
}

impl Newcomers {
    fn lock(&self) -> MutexGuard<'_, NewcomersLine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a socket wait. It must end when it is notified. `None`: there is no place for it. The last value: whether another one was told
    /// to end for it.
    pub fn begin(self: &Arc<Self>, now: Instant) -> Option<(NewcomerPlace, Arc<Notify>, bool)> {
        let mut line = self.lock();
        let is_full = line.waiting.len() >= MOST_NEWCOMERS;
        if is_full {
            let is_old = |oldest: &Newcomer| now.duration_since(oldest.since) >= YOUNG;
            let oldest = line.waiting.pop_front_if(|oldest| is_old(oldest))?;
            oldest.over.notify_one();
        }
        line.given += 1;
        let (number, over) = (line.given, Arc::new(Notify::new()));
        line.waiting.push_back(Newcomer { number, since: now, over: Arc::clone(&over) });
        Some((NewcomerPlace { all: Arc::clone(self), number }, over, is_full))
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.lock().waiting.len()
    }
}

impl Drop for NewcomerPlace {
    fn drop(&mut self) {
        self.all.lock().waiting.retain(|waiting| waiting.number != self.number);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_one_that_has_waited_longest_makes_place() {
        let (all, now) = (Arc::new(Newcomers::default()), Instant::now());
        let mut waiting: VecDeque<_> = (0..MOST_NEWCOMERS).map(|_| all.begin(now).unwrap()).collect();
        assert!(all.begin(now + YOUNG / 2).is_none(), "all of them came just now");
        let (_newcomer, _, is_for_another) = all.begin(now + YOUNG).unwrap();
        assert!(is_for_another && all.count() == MOST_NEWCOMERS);
        let (first, over, _) = waiting.pop_front().unwrap();
        assert!(over.notified().now_or_never().is_some());
        assert!(waiting.front().unwrap().1.notified().now_or_never().is_none());
        // It is none of these already.
        drop(first);
        assert_eq!(all.count(), MOST_NEWCOMERS);
        drop(waiting);
        assert_eq!(all.count(), 1);
    }
}
