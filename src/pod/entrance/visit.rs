//! One socket that is no connection, or not yet: at which stage it is, since when, and what it holds of the pod's memory.
//!
//! Touches no socket: it names the task that ends. Always holds: every stage in which the pod waits for the client has a time, here or with what is done then; what it
//! holds is on the pod's account, and off it when it is over; no time of the client's runs before its task has had a turn.

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

/// How long it took a socket's task to get its first turn counts for so long: the pod is that busy.
const BUSY_MS: u64 = 2_000;

/// What a socket holds by itself: its task, its buffers, a handshake under way.
pub(super) const VISIT_BYTES: usize = 8 * 1024;

/// What it holds more while its client does not read: a piece of an answer in hyper's hands, and one on its way to the kernel.
pub(super) const BEHIND_BYTES: usize = 48 * 1024;

/// A body of so many bytes is small.
const SMALL_BODY: usize = 16 * 1024;

/// So many Engine.IO sessions one TCP connection may have opened that were never used. A proxy's connections carry many clients', each
/// of which uses its session at once.
pub(super) const UNUSED_SESSIONS: usize = 64;

/// A client that reads less than this within `timeouts.write` moves nothing.
pub(super) const MOVES: u64 = 4 * 1024;

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
    /// A WebSocket that may take over a session, which has a time of its own.
    Probing,
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

/// What is known of it.
pub(super) struct VisitState {
    stage: Cell<Stage>,
    since_ms: Cell<u64>,
    /// Its task has not had a turn yet: it waits for the pod, whatever its stage says.
    is_queued: Cell<bool>,
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
pub(super) struct Shared {
    pub(super) waiting: Cell<usize>,
    pub(super) budget: Arc<Budget>,
    /// The pod's sessions that were never used.
    pub(super) unused: Arc<UnusedSessions>,
    pub(super) began: Instant,
    /// How long the last tasks waited for their first turn, at most, and when that was.
    pub(super) turns_late: Cell<(u64, u64)>,
}

impl Shared {
    /// How late tasks have their turns.
    pub(super) fn lag_ms(&self, now_ms: u64) -> u64 {
        let (lag_ms, at) = self.turns_late.get();
        if now_ms.saturating_sub(at) < BUSY_MS { lag_ms } else { 0 }
    }

    fn turned(&self, waited_ms: u64, now_ms: u64) {
        if waited_ms >= self.lag_ms(now_ms) {
            self.turns_late.set((waited_ms, now_ms));
        }
    }
}

/// Bytes that a visit holds. Given back when it is dropped.
pub struct HeldBytes {
    visit: Rc<VisitState>,
    bytes: usize,
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
            Self::Probing | Self::Serving | Self::Over => return None,
        }))
    }
}

impl Visit {
    /// A socket begins at a stage. What its worker keeps of it is the other half.
    pub(super) fn begin(stage: Stage, now_ms: u64, of_worker: &Rc<Shared>) -> (Self, Rc<VisitState>) {
        let state = Rc::new(VisitState {
            stage: Cell::new(Stage::Serving),
            since_ms: Cell::new(now_ms),
            is_queued: Cell::default(),
            read: Cell::default(),
            written: Cell::default(),
            behind: Cell::default(),
            moved_ms: Cell::new(now_ms),
            traffic: RefCell::default(),
            task: RefCell::default(),
            held: Cell::default(),
            unused: Arc::default(),
            of_worker: Rc::clone(of_worker),
        });
        state.take(VISIT_BYTES);
        state.enter_at(stage, now_ms);
        (Self(Rc::new(Carried(Rc::clone(&state)))), state)
    }

    /// It is at another stage from now on.
    pub fn enter(&self, stage: Stage) {
        self.0.0.enter(stage);
    }

    /// Its task is made, and waits for its first turn: until then no time of the client's runs.
    pub fn queue(&self) {
        self.0.0.is_queued.set(true);
    }

    /// Its task has its first turn.
    pub fn turn(&self) {
        let state = &self.0.0;
        state.turn_at(millis(state.of_worker.began.elapsed()));
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

    /// Whether the pod holds so much that it takes no body of so many bytes: a small one as long as there is any room.
    #[must_use]
    pub fn has_no_memory_for(&self, bytes: usize) -> bool {
        let budget = &self.0.0.of_worker.budget;
        budget.is_spent() || bytes > SMALL_BODY && budget.is_tight()
    }

    /// Counts a session that it opens, until it is used. `None`: it, or the pod, has too many that never were.
    #[must_use]
    pub fn open_session(&self, max_connections: usize) -> Option<UnusedSession> {
        let this = &self.0.0;
        let pod_limit = (max_connections / 4).max(UNUSED_SESSIONS);
        UnusedSession::begin([(&this.unused, UNUSED_SESSIONS), (&this.of_worker.unused, pod_limit)])
    }
}

#[cfg(test)]
impl Visit {
    pub(super) fn turn_at(&self, now_ms: u64) {
        self.0.0.turn_at(now_ms);
    }

    /// What it is at.
    pub(super) fn stage(&self) -> Stage {
        self.0.0.stage.get()
    }

    /// It is at another stage since a moment of the test's.
    pub(super) fn enter_at(&self, stage: Stage, now_ms: u64) {
        self.0.0.enter_at(stage, now_ms);
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
    /// Whether it is no visit any more.
    pub(super) fn is_over(&self) -> bool {
        self.stage.get() == Stage::Over
    }

    /// What it holds of the pod's memory.
    pub(super) fn held(&self) -> usize {
        self.held.get()
    }

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

    /// Ends it, and its task.
    /// Its task has its first turn.
    fn turn_at(&self, now_ms: u64) {
        if self.is_queued.replace(false) {
            let waited_ms = now_ms.saturating_sub(self.since_ms.replace(now_ms));
            self.of_worker.turned(waited_ms, now_ms);
        }
    }

    pub(super) fn end(&self) {
        self.enter(Stage::Over);
        if let Some(task) = self.task.borrow_mut().take() {
            task.abort();
        }
    }

    /// Looks at what moved, and says whether its time is over.
    pub(super) fn is_overdue(&self, now_ms: u64, timeouts: &Timeouts, overdue: &mut Overdue) -> bool {
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
        if this.is_queued.get() {
            return false;
        }
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
    pub(super) fn waits_ms(&self, now_ms: u64) -> Option<u64> {
        match (self.stage.get(), self.behind.get()) {
            (Stage::Over, _) => None,
            _ if self.is_queued.get() => None,
            (_, true) => Some(now_ms.saturating_sub(self.moved_ms.get())),
            (stage, false) => stage.waits().then(|| now_ms.saturating_sub(self.since_ms.get())),
        }
    }
}
