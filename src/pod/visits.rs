//! The sockets of a worker that are no connections, or not yet: at which stage each is, and for how long it may be.
//!
//! Owns their stages. Reads no clock by itself and touches no socket: it names the task that ends. Always holds: every stage in which
//! the pod waits for the client has a time; bytes that the client does not read have one at every stage.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use tokio::task::AbortHandle;

use crate::{config::Timeouts, hub::millis, transport::http_io::Traffic};

/// A socket that waits shorter than this is not ended for another one: an honest client needs a moment.
const YOUNG_MS: u64 = 2_000;

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
    waiting: Rc<Cell<usize>>,
    began: Instant,
}

/// A worker's visits.
pub struct Visits {
    all: Vec<Rc<VisitState>>,
    waiting: Rc<Cell<usize>>,
    began: Instant,
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
        *self.0.0.traffic.borrow_mut() = Some(traffic);
    }
}

impl VisitState {
    fn enter(&self, stage: Stage) {
        self.enter_at(stage, millis(self.began.elapsed()));
    }

    fn enter_at(&self, stage: Stage, now_ms: u64) {
        let this = self;
        let before = this.stage.get();
        if before == Stage::Over {
            return;
        }
        this.stage.set(stage);
        this.since_ms.set(now_ms);
        let waiting = this.waiting.get() + usize::from(stage.waits()) - usize::from(before.waits());
        this.waiting.set(waiting);
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
            this.behind.set(behind);
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
        let this = self;
        let since = if this.behind.get() { this.moved_ms.get() } else { this.since_ms.get() };
        this.stage.get().waits().then(|| now_ms.saturating_sub(since))
    }
}

impl Visits {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self { all: Vec::new(), waiting: Rc::default(), began: Instant::now(), none_before_ms: 0 }
    }

    /// Milliseconds since the worker began.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        millis(self.began.elapsed())
    }

    /// How many sockets wait for their clients.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.get()
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
            waiting: Rc::clone(&self.waiting),
            began: self.began,
        });
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
        let waits = |visit: &VisitState| visit.waits_ms(now_ms).filter(|waits| *waits >= YOUNG_MS);
        let mut old: Vec<(u64, usize)> =
            self.all.iter().enumerate().filter_map(|(at, visit)| waits(visit).map(|waits| (waits, at))).collect();
        if old.is_empty() {
            // Not asked of each newcomer anew.
            self.none_before_ms = now_ms + YOUNG_MS / 20;
            return 0;
        }
        let most = (self.waiting() / 8).clamp(1, old.len());
        old.select_nth_unstable_by(most - 1, |a, b| b.cmp(a));
        for (_, at) in &old[..most] {
            self.all[*at].end();
        }
        self.all.retain(|visit| visit.stage.get() != Stage::Over);
        most as u64
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    impl Visit {
        fn stage(&self) -> Stage {
            self.0.0.stage.get()
        }

        fn enter_at(&self, stage: Stage, now_ms: u64) {
            self.0.0.enter_at(stage, now_ms);
        }
    }

    fn timeouts() -> Timeouts {
        let seconds = Duration::from_secs;
        Timeouts {
            tls: seconds(1),
            head: seconds(2),
            body: seconds(3),
            idle: seconds(7),
            write: seconds(4),
            ..Timeouts::default()
        }
    }

    #[test]
    fn each_stage_has_its_time() {
        for (stage, ends) in
            [(Stage::Tls, 1), (Stage::Head, 2), (Stage::Closing, 2), (Stage::Body, 3), (Stage::Idle, 7)]
        {
            let mut visits = Visits::new();
            let visit = visits.begin(Stage::Serving, 0);
            assert_eq!(visits.sweep(1_000_000, &timeouts()), Overdue::default(), "the pod's own work has no time here");
            visit.enter_at(stage, 1_000_000);
            visits.sweep(1_000_000 + ends * 1_000 - 1, &timeouts());
            assert_eq!((visit.stage(), visits.waiting()), (stage, 1));
            visits.sweep(1_000_000 + ends * 1_000, &timeouts());
            assert_eq!((visit.stage(), visits.waiting(), visits.is_empty()), (Stage::Over, 0, true), "{stage:?}");
        }
    }

    #[test]
    fn a_head_has_its_time_from_its_first_byte() {
        let (mut visits, traffic) = (Visits::new(), Arc::new(Traffic::default()));
        let visit = visits.begin(Stage::Idle, 0);
        visit.carries(Arc::clone(&traffic));
        visits.sweep(6_000, &timeouts());
        for at in [6_500, 7_000, 7_500, 8_000] {
            traffic.read(1);
            assert_eq!(visits.sweep(at, &timeouts()), Overdue::default(), "{at}");
        }
        traffic.read(1);
        assert_eq!(visits.sweep(8_500, &timeouts()), Overdue { head: 1, ..Overdue::default() }, "however it drips");
    }

    #[test]
    fn an_answer_that_is_not_read_has_its_time_at_every_stage() {
        for stage in [Stage::Serving, Stage::Idle] {
            let (mut visits, traffic) = (Visits::new(), Arc::new(Traffic::default()));
            let visit = visits.begin(stage, 0);
            visit.carries(Arc::clone(&traffic));
            traffic.wrote(100, 50_000);
            for at in [5_000, 8_000] {
                visits.sweep(at, &timeouts());
                traffic.wrote(MOVES, 40_000);
            }
            assert_eq!(visits.sweep(11_000, &timeouts()), Overdue::default(), "it moves");
            traffic.wrote(MOVES - 1, 30_000);
            assert_eq!(visits.sweep(14_999, &timeouts()), Overdue::default());
            assert_eq!(visits.sweep(15_000, &timeouts()), Overdue { write: 1, ..Overdue::default() }, "{stage:?}");
        }
        let (mut visits, traffic) = (Visits::new(), Arc::new(Traffic::default()));
        let visit = visits.begin(Stage::Idle, 0);
        visit.carries(Arc::clone(&traffic));
        traffic.wrote(100, 50_000);
        visits.sweep(3_900, &timeouts());
        traffic.wrote(50_000, 0);
        assert_eq!(visits.sweep(10_899, &timeouts()), Overdue::default(), "it is idle since it has read the answer");
        assert_eq!(visits.sweep(10_900, &timeouts()), Overdue { idle: 1, ..Overdue::default() });
    }

    #[test]
    fn those_that_wait_longest_make_room() {
        let mut visits = Visits::new();
        let serving = visits.begin(Stage::Serving, 0);
        let old: Vec<_> = (0..16).map(|n| visits.begin(Stage::Head, n)).collect();
        assert_eq!(visits.make_room(1_500), 0, "all are young");
        assert_eq!(visits.make_room(1_599), 0, "and are not asked again at once");
        old[0].enter_at(Stage::Idle, 1_500);
        let young = visits.begin(Stage::Head, 2_500);
        assert_eq!(visits.make_room(2_600), 2);
        let over: Vec<_> = (0..16).filter(|n| old[*n].stage() == Stage::Over).collect();
        assert_eq!(over, [1, 2]);
        assert_eq!(visits.waiting(), 15);
        while visits.make_room(3_000) > 0 {}
        assert_eq!((serving.stage(), young.stage(), old[0].stage()), (Stage::Serving, Stage::Head, Stage::Idle));
        assert_eq!(visits.waiting(), 2);
    }

    #[test]
    fn what_is_over_stays_over() {
        let mut visits = Visits::new();
        let visit = visits.begin(Stage::Tls, 0);
        visit.enter_at(Stage::Over, 5);
        visit.enter_at(Stage::Idle, 6);
        assert_eq!((visit.stage(), visits.waiting()), (Stage::Over, 0));
    }

    #[test]
    fn a_visit_is_over_with_its_last_task() {
        let mut visits = Visits::new();
        let visit = visits.begin(Stage::Head, 0);
        let other = visit.clone();
        drop(visit);
        assert_eq!(visits.waiting(), 1);
        drop(other);
        assert_eq!(visits.waiting(), 0);
        visits.sweep(1, &timeouts());
        assert!(visits.is_empty());
    }
}
