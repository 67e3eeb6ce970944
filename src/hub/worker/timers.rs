//! A worker's clock, and what waits for a time on it.
//!
//! Never acts on a connection: the event loop is handed what is due. Always holds: nothing is due early; a task that outlives its
//! deadline is aborted.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::task::AbortHandle;

use crate::{
    hub::{connection::key::ConnectionKey, worker::wheel::Wheel},
    protocol::DialectId,
    session::ConnectionId,
};

/// What waits on the wheel.
pub enum Timed {
    /// A connection's next look: is it silent, should it be gone?
    Connection(ConnectionKey, ConnectionId),
    /// A connection's token must have come or been replaced by this time.
    Identity(ConnectionKey, ConnectionId, u64),
    /// A connection's message that has begun must have ended by now.
    Message(ConnectionKey, ConnectionId),
    /// A connection's next sign of life, in a dialect that gives some.
    Heartbeat(ConnectionKey, ConnectionId, DialectId, u64),
    /// A connection's moment in a drain.
    Leave(ConnectionKey, ConnectionId),
    /// A connection that sent far too many signals is read from again.
    Rested(ConnectionKey, ConnectionId),
    /// A task that must have ended by then: a handshake, a request head.
    Task(Deadline),
}

/// A deadline that its task may move.
#[derive(Clone)]
pub struct Deadline {
    at_ms: Rc<Cell<u64>>,
    task: Rc<Cell<Option<AbortHandle>>>,
}

impl Deadline {
    /// A deadline in milliseconds since the worker began.
    #[must_use]
    pub fn new(at_ms: u64) -> Self {
        Self { at_ms: Rc::new(Cell::new(at_ms)), task: Rc::default() }
    }

    /// Names the task that ends when it passes.
    pub fn ends(&self, task: AbortHandle) {
        self.task.set(Some(task));
    }
}

/// One worker's timers.
pub struct Timers {
    wheel: Wheel<Timed>,
    /// For the times of Engine.IO sessions that the other one is too coarse for; `None`: none are configured.
    fine: Option<Wheel<Timed>>,
    fine_ms: Option<u64>,
    began: Instant,
}

impl Timers {
    /// Timers whose clock begins now. `fine_ms`: the tick that the shortest configured times need beside the worker's own.
    #[must_use]
    pub fn new(fine_ms: Option<u64>) -> Self {
        let wheel = Wheel::new(Wheel::<Timed>::TICK_MS);
        Self { wheel, fine: fine_ms.map(Wheel::new), fine_ms, began: Instant::now() }
    }

    /// Milliseconds since the worker began: the coarse clock of sessions and timers.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Has something be handed out at a time, in milliseconds since the worker began.
    pub(crate) fn schedule(&mut self, at_ms: u64, timed: Timed) {
        self.wheel.schedule(at_ms, timed);
    }

    /// As [`Timers::schedule`], by the finer clock where there is one.
    pub(crate) fn schedule_finely(&mut self, at_ms: u64, timed: Timed) {
        self.fine.as_mut().unwrap_or(&mut self.wheel).schedule(at_ms, timed);
    }

    /// How often the finer clock is looked at; `None`: there is none.
    #[must_use]
    pub(crate) fn fine_tick(&self) -> Option<Duration> {
        self.fine_ms.map(Duration::from_millis)
    }

    /// Hands out some of what is due by the finer clock, if anything is.
    pub(crate) fn turn_finely(&mut self, now_ms: u64) -> Option<Vec<Timed>> {
        self.fine.as_mut()?.turn(now_ms)
    }

    /// Hands out some of what is due, if anything is.
    pub(crate) fn turn(&mut self, now_ms: u64) -> Option<Vec<Timed>> {
        self.wheel.turn(now_ms)
    }

    /// Watches over a task until a deadline that it may move.
    pub fn watch(&mut self, deadline: Deadline) {
        self.schedule(deadline.at_ms.get(), Timed::Task(deadline));
    }

    /// Moves a deadline.
    pub fn move_deadline(&mut self, deadline: &Deadline, at_ms: u64) {
        // A later one is looked at when the old one passes.
        if at_ms < deadline.at_ms.replace(at_ms) {
            self.watch(deadline.clone());
        }
    }

    /// Ends a task whose time is up, or watches on.
    pub(crate) fn enforce(&mut self, deadline: Deadline, now_ms: u64) {
        let Some(task) = deadline.task.take() else { return };
        if task.is_finished() {
            return;
        }
        if deadline.at_ms.get() <= now_ms {
            task.abort();
            return;
        }
        deadline.ends(task);
        self.watch(deadline);
    }
}
