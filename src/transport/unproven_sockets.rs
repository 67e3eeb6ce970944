//! Sockets that have not shown yet that they may be there: an edge's before it is a link, a caller's before its first call with a key. Without
//! I/O.
//!
//! Bounded: [`MOST_UNPROVEN`]; the one that has waited longest makes place for another one, unless it has waited for a moment only. Always
//! holds: a socket that has shown it, or has ended, is none of these.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// The most of them.
pub const MOST_UNPROVEN: usize = 1_024;

/// A socket that waits shorter than this makes no place for others: an honest peer needs a moment for each step.
const YOUNG: Duration = Duration::from_millis(250);

struct UnprovenSocket {
    number: u64,
    since: Instant,
    over: Arc<Notify>,
}

#[derive(Default)]
struct UnprovenLine {
    /// The one that has waited longest first.
    waiting: VecDeque<UnprovenSocket>,
    given: u64,
}

/// Those that wait.
#[derive(Default)]
pub struct UnprovenSockets(Mutex<UnprovenLine>);

/// A socket's place among them, until it is dropped.
pub struct UnprovenPlace {
    all: Arc<UnprovenSockets>,
    number: u64,
}

impl UnprovenSockets {
    fn lock(&self) -> MutexGuard<'_, UnprovenLine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a socket wait. It must end when it is notified. `None`: there is no place for it. The last value: whether another one was told
    /// to end for it.
    pub fn begin(self: &Arc<Self>, now: Instant) -> Option<(UnprovenPlace, Arc<Notify>, bool)> {
        let mut line = self.lock();
        let is_full = line.waiting.len() >= MOST_UNPROVEN;
        if is_full {
            let is_old = |oldest: &UnprovenSocket| now.duration_since(oldest.since) >= YOUNG;
            let oldest = line.waiting.pop_front_if(|oldest| is_old(oldest))?;
            oldest.over.notify_one();
        }
        line.given += 1;
        let (number, over) = (line.given, Arc::new(Notify::new()));
        line.waiting.push_back(UnprovenSocket { number, since: now, over: Arc::clone(&over) });
        Some((UnprovenPlace { all: Arc::clone(self), number }, over, is_full))
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.lock().waiting.len()
    }
}

impl Drop for UnprovenPlace {
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
        let (all, now) = (Arc::new(UnprovenSockets::default()), Instant::now());
        let mut waiting: VecDeque<_> = (0..MOST_UNPROVEN).map(|_| all.begin(now).unwrap()).collect();
        assert!(all.begin(now + YOUNG / 2).is_none(), "all of them came just now");
        let (_last, _, is_for_another) = all.begin(now + YOUNG).unwrap();
        assert!(is_for_another && all.count() == MOST_UNPROVEN);
        let (first, over, _) = waiting.pop_front().unwrap();
        assert!(over.notified().now_or_never().is_some());
        assert!(waiting.front().unwrap().1.notified().now_or_never().is_none());
        // It is none of these already.
        drop(first);
        assert_eq!(all.count(), MOST_UNPROVEN);
        drop(waiting);
        assert_eq!(all.count(), 1);
    }
}
