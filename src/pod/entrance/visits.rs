//! The sockets of a worker that are no connections, or not yet, and which of them end.
//!
//! Owns the list of them; what each is at is a [`Visit`]'s. Always holds: what is overdue ends at the next sweep; none is ended for
//! another one, or for its memory, that has not waited for a moment.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Instant};

use super::visit::{Overdue, Shared, Stage, Visit, VisitState};
use crate::{
    config::Timeouts,
    hub::{Budget, millis},
    session::UnusedSessions,
};

/// A socket that waits shorter than this is not ended for another one: an honest client needs a moment for each step.
const YOUNG_MS: u64 = 250;

/// If all are young, none is looked for again before this has passed.
const AGAIN_MS: u64 = 25;

/// A socket that waits shorter than this is not ended for the memory that it holds.
const BRIEF_MS: u64 = 1_000;

/// A worker's visits.
pub struct Visits {
    all: Vec<Rc<VisitState>>,
    of_worker: Rc<Shared>,
    /// Nothing can be ended for another before.
    none_before_ms: u64,
}

impl Visits {
    /// None yet.
    #[must_use]
    pub fn new(budget: Arc<Budget>, unused: Arc<UnusedSessions>) -> Self {
        let of_worker = Rc::new(Shared {
            waiting: Cell::default(),
            budget,
            unused,
            began: Instant::now(),
            turns_late: Cell::default(),
        });
        Self { all: Vec::new(), of_worker, none_before_ms: 0 }
    }

    /// Milliseconds since the worker began.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        millis(self.of_worker.began.elapsed())
    }

    /// How many sockets wait for their clients.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.of_worker.waiting.get()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Takes a socket in.
    pub fn begin(&mut self, stage: Stage, now_ms: u64) -> Visit {
        let (visit, state) = Visit::begin(stage, now_ms, &self.of_worker);
        self.all.push(state);
        visit
    }

    /// Ends what is overdue.
    pub fn sweep(&mut self, now_ms: u64, timeouts: &Timeouts) -> Overdue {
        let mut overdue = Overdue::default();
        self.all.retain(|visit| {
            if !visit.is_over() && visit.is_overdue(now_ms, timeouts, &mut overdue) {
                visit.end();
            }
            !visit.is_over()
        });
        overdue
    }

    /// Ends an eighth of the sockets that wait, those that have waited longest, and says how many that were. None has waited
    /// shorter than a moment, and than the pod itself is late.
    pub fn make_room(&mut self, now_ms: u64) -> u64 {
        if now_ms < self.none_before_ms {
            return 0;
        }
        // A busy pod hears of what a client has sent as late as it begins with it.
        let mut old = self.old(now_ms, YOUNG_MS + self.of_worker.lag_ms(now_ms), |_, waits| waits);
        if old.is_empty() {
            // Not asked of each newcomer anew.
            self.none_before_ms = now_ms + AGAIN_MS;
            return 0;
        }
        let most = old.len().div_ceil(8);
        old.select_nth_unstable_by(most - 1, |a, b| b.cmp(a));
        self.end_all(&old[..most])
    }

    /// Ends sockets that wait, those that hold most first, until an eighth of the pod's memory is free: for when none is.
    pub fn shed(&mut self, now_ms: u64) -> u64 {
        let budget = &self.of_worker.budget;
        let mut excess = budget.held().saturating_sub(budget.limit() / 8 * 7) as u64;
        let mut old = self.old(now_ms, BRIEF_MS, |visit, _| visit.held() as u64);
        old.sort_unstable_by(|a, b| b.cmp(a));
        let enough = old.iter().position(|(held, _)| {
            let done = excess == 0;
            excess = excess.saturating_sub(*held);
            done
        });
        self.end_all(&old[..enough.unwrap_or(old.len())])
    }

    /// Those that have waited for so long at least, with their rank.
    fn old(&self, now_ms: u64, least_ms: u64, rank: impl Fn(&VisitState, u64) -> u64) -> Vec<(u64, usize)> {
        let waits = |visit: &VisitState| visit.waits_ms(now_ms).filter(|waits| *waits >= least_ms);
        let ranked = self.all.iter().enumerate();
        ranked.filter_map(|(at, visit)| waits(visit).map(|waits| (rank(visit, waits), at))).collect()
    }

    fn end_all(&mut self, chosen: &[(u64, usize)]) -> u64 {
        for (_, at) in chosen {
            self.all[*at].end();
        }
        self.all.retain(|visit| !visit.is_over());
        chosen.len() as u64
    }
}

#[cfg(test)]
mod tests;
