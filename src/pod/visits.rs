//! The sockets of a worker that are no connections, or not yet: at which stage each is, and for how long it may be.
//!
//! Owns their stages, and what they hold of the pod's memory. Touches no socket: it names the task that ends. Always holds: every stage
//! in which the pod waits for the client has a time; bytes that the client does not read have one at every stage; what a visit holds is on
//! the pod's account, and off it when the visit is over.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use tokio::task::AbortHandle;

use crate::{
    config::Timeouts,
    hub::{Budget, millis},
    session::{UnusedSession, UnusedSessions},
    transport::http_io::Traffic,
};

/// A socket that waits shorter than this is not ended for another one: an honest client needs a moment for each step.
const YOUNG_MS: u64 = 250;

/// If all are young, none is looked for again before this has passed.
const AGAIN_MS: u64 = 25;

/// A socket that waits shorter than this is not ended for the memory that it holds.
const BRIEF_MS: u64 = 1_000;

/// What a socket holds by itself: its task, its buffers, a handshake under way.
const VISIT_BYTES: usize = 8 * 1024;

/// What it holds more while its client does not read: a piece of an answer in hyper's hands, and one on its way to the kernel.
const BEHIND_BYTES: usize = 48 * 1024;

/// So many Engine.IO sessions one TCP connection may have opened that were never used. A proxy's connections carry many clients', each
/// of which uses its session at once.
const UNUSED_SESSIONS: usize = 64;

/// A client that reads less than this within `timeouts.write` moves nothing.
const MOVES: u64 = 4 * 1024;

/// What a socket's task is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The TLS handshake.
    Tls,
    /// A request's head.
    Head,
    /// A request's body.
    Body,
    /// Nothing: it waits for the next request.
    Idle,
    /// A last answer, and the client's end.
    Closing,
    /// The pod's own work, which has times of its own.
    Serving,
    /// It is no visit any more.
    Over,
}

/// Why a visit ended by the clock.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Overdue {
    /// Heads, and handshakes before them.
    pub head: u64,
    /// Bodies.
    pub body: u64,
    /// Idle connections.
    pub idle: u64,
    /// Answers that were not read.
    pub write: u64,
}

/// One socket's visit. The tasks that carry it share it; it is over with the last of them.
#[derive(Clone)]
pub struct Visit(Rc<Carried>);

/// What a task holds of a visit.
struct Carried(Rc<VisitState>);

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.enter(Stage::Over);
    }
}

struct VisitState {
    stage: Cell<Stage>,
    since_ms: Cell<u64>,
    /// What was read and written when it was last looked at, and when that moved.
    read: Cell<u64>,
    written: Cell<u64>,
    behind: Cell<bool>,
    moved_ms: Cell<u64>,
    traffic: RefCell<Option<Arc<Traffic>>>,
    task: RefCell<Option<AbortHandle>>,
    /// What it holds of the pod's memory.
    held: Cell<usize>,
    unused: Arc<UnusedSessions>,
    of_worker: Rc<Shared>,
}

/// What a worker's visits share.
struct Shared {
    waiting: Cell<usize>,
    budget: Arc<Budget>,
    /// The pod's sessions that were never used.
    unused: Arc<UnusedSessions>,
    began: Instant,
}

/// Bytes that a visit holds. Given back when it is dropped.
pub struct HeldBytes {
    visit: Rc<VisitState>,
    bytes: usize,
}

/// A worker's visits.
pub struct Visits {
    all: Vec<Rc<VisitState>>,
    of_worker: Rc<Shared>,
    /// Nothing can be ended for another before.
    none_before_ms: u64,
}

impl Stage {
    /// Whether the pod waits for the client.
    fn waits(self) -> bool {
        !matches!(self, Self::Serving | Self::Over)
    }

    fn time_ms(self, timeouts: &Timeouts) -> Option<u64> {
        Some(millis(match self {
            Self::Tls => timeouts.tls,
            Self::Head | Self::Closing => timeouts.head,
            Self::Body => timeouts.body,
            Self::Idle => timeouts.idle,
            Self::Serving | Self::Over => return None,
        }))
    }
}

impl Visit {
    /// It is at another stage from now on.
    pub fn enter(&self, stage: Stage) {
        self.0.0.enter(stage);
    }

    /// Names the task that ends when its time is over.
    pub fn runs(&self, task: AbortHandle) {
        *self.0.0.task.borrow_mut() = Some(task);
    }

    /// Names what its bytes are counted by.
    pub fn carries(&self, traffic: Arc<Traffic>) {
        let this = &self.0.0;
        this.set_behind(false);
        this.read.set(traffic.bytes_read());
        this.written.set(traffic.bytes_written());
        *this.traffic.borrow_mut() = Some(traffic);
    }

    /// Puts bytes on its account.
    #[must_use]
    pub fn hold(&self, bytes: usize) -> HeldBytes {
        let mut held = HeldBytes { visit: Rc::clone(&self.0.0), bytes: 0 };
        held.grow(bytes);
        held
    }

    /// Whether the pod holds as much as it may.
    #[must_use]
    pub fn is_short_of_memory(&self) -> bool {
        self.0.0.of_worker.budget.is_spent()
    }

    /// Counts a session that it opens, until it is used. `None`: it, or the pod, has too many that never were.
    #[must_use]
    pub fn open_session(&self, max_connections: usize) -> Option<UnusedSession> {
        let this = &self.0.0;
        let pod_limit = (max_connections / 4).max(UNUSED_SESSIONS);
        UnusedSession::begin([(&this.unused, UNUSED_SESSIONS), (&this.of_worker.unused, pod_limit)])
    }
}

impl HeldBytes {
    /// There are more.
    pub fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.visit.take(bytes);
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.visit.give(self.bytes);
    }
}

impl VisitState {
    fn enter(&self, stage: Stage) {
        self.enter_at(stage, millis(self.of_worker.began.elapsed()));
    }

    fn take(&self, bytes: usize) {
        self.held.set(self.held.get() + bytes);
        self.of_worker.budget.take(bytes);
    }

    fn give(&self, bytes: usize) {
        self.held.set(self.held.get() - bytes);
        self.of_worker.budget.give(bytes);
    }

    /// Its client reads, or does not.
    fn set_behind(&self, behind: bool) {
        match (self.behind.replace(behind), behind) {
            (false, true) => self.take(BEHIND_BYTES),
            (true, false) => self.give(BEHIND_BYTES),
            _ => {}
        }
    }

    fn enter_at(&self, stage: Stage, now_ms: u64) {
        let this = self;
        let before = this.stage.get();
        if before == Stage::Over {
            return;
        }
        this.stage.set(stage);
        this.since_ms.set(now_ms);
        if stage == Stage::Idle
            && let Some(traffic) = &*this.traffic.borrow()
        {
            // What came until now is of the request that was answered, and no new head.
            this.read.set(traffic.bytes_read());
        }
        let waiting = &this.of_worker.waiting;
        waiting.set(waiting.get() + usize::from(stage.waits()) - usize::from(before.waits()));
        if stage == Stage::Over {
            this.set_behind(false);
            this.give(VISIT_BYTES);
        }
    }

    fn end(&self) {
        self.enter(Stage::Over);
        if let Some(task) = self.task.borrow_mut().take() {
            task.abort();
        }
    }

    /// Looks at what moved, and says whether its time is over.
    fn is_overdue(&self, now_ms: u64, timeouts: &Timeouts, overdue: &mut Overdue) -> bool {
        let this = self;
        if let Some(traffic) = &*this.traffic.borrow() {
            let read = traffic.bytes_read();
            if read != this.read.replace(read) && this.stage.get() == Stage::Idle {
                self.enter_at(Stage::Head, now_ms);
            }
            let (behind, written) = (traffic.is_behind(), traffic.bytes_written());
            if behind && (!this.behind.get() || written - this.written.get() >= MOVES) {
                this.written.set(written);
                this.moved_ms.set(now_ms);
            } else if behind && now_ms.saturating_sub(this.moved_ms.get()) >= millis(timeouts.write) {
                overdue.write += 1;
                return true;
            }
            this.set_behind(behind);
            if behind && this.stage.get() == Stage::Idle {
                // The client is still at the last answer.
                this.since_ms.set(now_ms);
            }
        }
        let stage = this.stage.get();
        let Some(time) = stage.time_ms(timeouts) else { return false };
        if now_ms.saturating_sub(this.since_ms.get()) < time {
            return false;
        }
        match stage {
            Stage::Idle => overdue.idle += 1,
            Stage::Body => overdue.body += 1,
            _ => overdue.head += 1,
        }
        true
    }

    /// For how long the pod has waited for the client; `None`: it does not.
    fn waits_ms(&self, now_ms: u64) -> Option<u64> {
        match (self.stage.get(), self.behind.get()) {
            (Stage::Over, _) => None,
            (_, true) => Some(now_ms.saturating_sub(self.moved_ms.get())),
            (stage, false) => stage.waits().then(|| now_ms.saturating_sub(self.since_ms.get())),
        }
    }
}

impl Visits {
    /// None yet.
    #[must_use]
    pub fn new(budget: Arc<Budget>, unused: Arc<UnusedSessions>) -> Self {
        let of_worker = Rc::new(Shared { waiting: Cell::default(), budget, unused, began: Instant::now() });
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
        let visit = Rc::new(VisitState {
            stage: Cell::new(Stage::Serving),
            since_ms: Cell::new(now_ms),
            read: Cell::default(),
            written: Cell::default(),
            behind: Cell::default(),
            moved_ms: Cell::new(now_ms),
            traffic: RefCell::default(),
            task: RefCell::default(),
            held: Cell::default(),
            unused: Arc::default(),
            of_worker: Rc::clone(&self.of_worker),
        });
        visit.take(VISIT_BYTES);
        visit.enter_at(stage, now_ms);
        self.all.push(Rc::clone(&visit));
        Visit(Rc::new(Carried(visit)))
    }

    /// Ends what is overdue.
    pub fn sweep(&mut self, now_ms: u64, timeouts: &Timeouts) -> Overdue {
        let mut overdue = Overdue::default();
        self.all.retain(|visit| {
            if visit.stage.get() != Stage::Over && visit.is_overdue(now_ms, timeouts, &mut overdue) {
                visit.end();
            }
            visit.stage.get() != Stage::Over
        });
        overdue
    }

    /// Ends an eighth of the sockets that wait, those that have waited longest, and says how many that were. None has waited
    /// shorter than a moment.
    pub fn make_room(&mut self, now_ms: u64) -> u64 {
        if now_ms < self.none_before_ms {
            return 0;
        }
        let mut old = self.old(now_ms, YOUNG_MS, |_, waits| waits);
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
        let mut old = self.old(now_ms, BRIEF_MS, |visit, _| visit.held.get() as u64);
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
        self.all.retain(|visit| visit.stage.get() != Stage::Over);
        chosen.len() as u64
    }
}

#[cfg(test)]
mod tests;
