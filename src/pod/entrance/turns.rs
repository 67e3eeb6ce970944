//! Turns of a worker's thread for handshakes, so that a crowd that comes at once does not hold up those that are there.
//!
//! Owns which of them waits for a turn. Never looks at a socket. Always holds: between two turns of everything else on the thread handshakes
//! have had at most a slice and the end of one step; of four turns one is a newcomer's; each that waits gets its turn.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::{sync::Notify, task::yield_now};

/// How long handshakes may hold the thread before everything else on it has a turn: as long as fan-outs may.
const SLICE: Duration = Duration::from_micros(500);

/// So many are called when a slice begins.
const CHAINS: usize = 8;

/// Of so many turns one is a newcomer's, however many wait: those that have begun and drip their bytes keep none out.
const NEWCOMER_EVERY: usize = 4;

/// The turns of one thread.
pub struct Turns {
    queue: RefCell<TurnQueue<Weak<Ticket>>>,
    asked: Notify,
}

/// One handshake's place.
#[derive(Default)]
struct Ticket {
    state: Cell<TicketState>,
    has_begun: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum TicketState {
    #[default]
    Free,
    Waits,
    Called,
}

impl Turns {
    /// The turns of this thread. Needs a `LocalSet`.
    #[must_use]
    pub fn open() -> Rc<Self> {
        let this = Rc::new(Self { queue: RefCell::new(TurnQueue::new()), asked: Notify::new() });
        tokio::task::spawn_local(Rc::clone(&this).go_round());
        this
    }

    /// Does a handshake step by step, each when it has its turn.
    pub async fn pace<T>(self: Rc<Self>, handshake: impl Future<Output = T>) -> T {
        let mut handshake = pin!(handshake);
        let ticket = Rc::new(Ticket::default());
        poll_fn(|cx| {
            if !self.may_step(&ticket, cx) {
                return Poll::Pending;
            }
            let began = Instant::now();
            let step = handshake.as_mut().poll(cx);
            ticket.has_begun.set(true);
            let mut queue = self.queue.borrow_mut();
            queue.spend(began.elapsed());
            call(&mut queue);
            step
        })
        .await
    }

    /// Whether it is this one's turn; if not, it waits from now on.
    fn may_step(&self, ticket: &Rc<Ticket>, cx: &Context<'_>) -> bool {
        let mut queue = self.queue.borrow_mut();
        let state = ticket.state.get();
        let may = match state {
            TicketState::Waits => return false,
            TicketState::Free => queue.is_open(),
            // Another one that was called with it may have taken what was left.
            TicketState::Called => queue.has_time(),
        };
        if may {
            ticket.state.set(TicketState::Free);
            return true;
        }
        ticket.state.set(TicketState::Waits);
        *ticket.waker.borrow_mut() = Some(cx.waker().clone());
        let (it, has_begun) = (Rc::downgrade(ticket), ticket.has_begun.get());
        if state == TicketState::Called {
            queue.wait_first(it, has_begun)
        } else {
            queue.wait(it, has_begun)
        }
        self.asked.notify_one();
        false
    }

    /// Begins a slice whenever everything else that was ready has had a turn.
    async fn go_round(self: Rc<Self>) {
        loop {
            if !self.queue.borrow().has_waiting() {
                self.asked.notified().await;
            }
            yield_now().await;
            let mut queue = self.queue.borrow_mut();
            queue.renew();
            // Each that steps calls the next: where other tasks stand between them, several chains fill the slice.
            (0..CHAINS).for_each(|_| call(&mut queue));
        }
    }
}

/// Calls the next one that still waits, if there is time left.
fn call(queue: &mut TurnQueue<Weak<Ticket>>) {
    while let Some(ticket) = queue.next() {
        // Its handshake may have been ended by the clock.
        let Some(ticket) = ticket.upgrade() else { continue };
        ticket.state.set(TicketState::Called);
        if let Some(waker) = ticket.waker.borrow_mut().take() {
            waker.wake();
        }
        return;
    }
}

/// The order in which they step, and what is left of the slice.
struct TurnQueue<T> {
    left: Duration,
    begun: VecDeque<T>,
    newcomers: VecDeque<T>,
    calls: usize,
}

impl<T> TurnQueue<T> {
    fn new() -> Self {
        Self { left: SLICE, begun: VecDeque::new(), newcomers: VecDeque::new(), calls: 0 }
    }

    /// Whether one may step without waiting.
    fn is_open(&self) -> bool {
        self.has_time() && !self.has_waiting()
    }

    fn has_time(&self) -> bool {
        !self.left.is_zero()
    }

    fn has_waiting(&self) -> bool {
        !self.begun.is_empty() || !self.newcomers.is_empty()
    }

    /// Those that have begun hold buffers and a client that counts the seconds: they go first.
    fn wait(&mut self, it: T, has_begun: bool) {
        self.line(has_begun).push_back(it);
    }

    fn wait_first(&mut self, it: T, has_begun: bool) {
        self.line(has_begun).push_front(it);
    }

    fn line(&mut self, has_begun: bool) -> &mut VecDeque<T> {
        if has_begun { &mut self.begun } else { &mut self.newcomers }
    }

    fn spend(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }

    fn renew(&mut self) {
        self.left = SLICE;
    }

    fn next(&mut self) -> Option<T> {
        if !self.has_time() {
            return None;
        }
        self.calls = (self.calls + 1) % NEWCOMER_EVERY;
        let (first, second) = if self.calls == 0 {
            (&mut self.newcomers, &mut self.begun)
        } else {
            (&mut self.begun, &mut self.newcomers)
        };
        first.pop_front().or_else(|| second.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_spent_before_the_next_one_and_what_has_begun_goes_first() {
        let mut queue = TurnQueue::new();
        assert!(queue.is_open());
        queue.wait("newcomer", false);
        queue.wait("begun", true);
        assert!(!queue.is_open(), "one that comes now goes behind those that wait");
        assert_eq!(queue.next(), Some("begun"));
        queue.spend(SLICE - Duration::from_micros(1));
        queue.wait("later", true);
        assert_eq!(queue.next(), Some("later"), "there is some time left");
        queue.spend(Duration::from_micros(300));
        assert_eq!(queue.next(), None);
        assert!(queue.has_waiting());
        queue.renew();
        assert_eq!((queue.next(), queue.next()), (Some("newcomer"), None));
        assert!(queue.is_open());
    }

    #[test]
    fn one_turn_of_four_is_a_newcomers() {
        let mut queue = TurnQueue::new();
        (0..6).for_each(|_| queue.wait("begun", true));
        queue.wait("newcomer", false);
        queue.wait_first("first", true);
        let calls: Vec<_> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!(calls, ["first", "begun", "begun", "newcomer", "begun", "begun", "begun", "begun"]);
    }

    fn spin(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    async fn on_a_thread<T>(test: impl Future<Output = T>) -> T {
        tokio::task::LocalSet::new().run_until(test).await
    }

    #[tokio::test]
    async fn a_crowd_leaves_the_others_their_turns() {
        on_a_thread(async {
            let turns = Turns::open();
            let steps = Rc::new(Cell::new(0_usize));
            let crowd: Vec<_> = (0..300)
                .map(|_| {
                    let steps = Rc::clone(&steps);
                    tokio::task::spawn_local(Rc::clone(&turns).pace(async move {
                        for _ in 0..2 {
                            spin(SLICE / 5);
                            steps.set(steps.get() + 1);
                            yield_now().await;
                        }
                    }))
                })
                .collect();
            let (mut most, mut before) = (0, 0);
            while crowd.iter().any(|task| !task.is_finished()) {
                yield_now().await;
                most = most.max(steps.get() - before);
                before = steps.get();
            }
            assert_eq!(steps.get(), 600, "all have stepped to their end");
            // Five fill a slice; the slices before and after a turn of this task may meet.
            assert!(most <= 10, "{most} steps between two turns");
        })
        .await;
    }

    #[tokio::test]
    async fn steps_that_were_cheap_and_are_dear_all_at_once_leave_them_too() {
        on_a_thread(async {
            let turns = Turns::open();
            let (ready, steps) = (Rc::new(Notify::new()), Rc::new(Cell::new(0_usize)));
            let crowd: Vec<_> = (0..60)
                .map(|_| {
                    let (ready, steps) = (Rc::clone(&ready), Rc::clone(&steps));
                    tokio::task::spawn_local(Rc::clone(&turns).pace(async move {
                        ready.notified().await;
                        spin(SLICE);
                        steps.set(steps.get() + 1);
                    }))
                })
                .collect();
            for _ in 0..100 {
                yield_now().await;
            }
            ready.notify_waiters();
            let (mut most, mut before) = (0, 0);
            while crowd.iter().any(|task| !task.is_finished()) {
                yield_now().await;
                most = most.max(steps.get() - before);
                before = steps.get();
            }
            assert_eq!(steps.get(), 60, "all have stepped to their end");
            assert!(most <= 2, "{most} slices between two turns");
        })
        .await;
    }

    #[tokio::test]
    async fn one_that_ends_while_it_waits_holds_up_no_other() {
        on_a_thread(async {
            let turns = Turns::open();
            let first = tokio::task::spawn_local(Rc::clone(&turns).pace(async { spin(SLICE) }));
            let ended = tokio::task::spawn_local(Rc::clone(&turns).pace(std::future::pending::<()>()));
            let last = tokio::task::spawn_local(Rc::clone(&turns).pace(async { 7 }));
            first.await.expect("it steps at once");
            ended.abort();
            assert_eq!(last.await.expect("it gets its turn"), 7);
        })
        .await;
    }
}
