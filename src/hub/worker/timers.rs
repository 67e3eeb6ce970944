//! What happens by the clock on a worker: pings to the silent, deadlines, empty rooms, a drain.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::task::AbortHandle;

use crate::{
    hub::{ConnectionKey, Services, ToSequencer, Worker, connection::State, worker::wheel::Wheel},
    model::{Disconnect, Reply},
    protocol::DialectId,
    session::ConnectionId,
};

/// How often a worker looks at its wheel.
pub const TICK: Duration = Duration::from_millis(Wheel::<Timed>::TICK_MS);

/// What waits on the wheel.
pub enum Timed {
    /// A connection's next look: is it silent, should it be gone?
    Connection(ConnectionKey, ConnectionId),
    /// A connection's token must have come or been replaced by this time.
    Identity(ConnectionKey, ConnectionId, u64),
    /// A connection's next sign of life, in a dialect that gives some.
    Heartbeat(ConnectionKey, ConnectionId, DialectId, u64),
    /// A connection's moment in a drain.
    Leave(ConnectionKey, ConnectionId),
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

/// A drain in progress: hints go out in slices.
pub struct DrainRun {
    next: usize,
    window: Duration,
}

impl Worker {
    /// How long a room without members stays, so that a reloading page finds it.
    const LINGER: Duration = Duration::from_secs(10);
    /// How long a closing connection may take to close.
    const CLOSE_MS: u64 = 5_000;
    /// How many clients a slice of a drain tells.
    const DRAIN_STRIDE: usize = 256;

    /// Everything that is due by the clock.
    pub fn tick(&mut self) {
        let (now, now_ms) = (Instant::now(), self.now_ms());
        self.refresh_config();
        self.review_policies();
        while let Some(due) = self.wheel.turn(now_ms) {
            for timed in due {
                match timed {
                    Timed::Connection(key, id) => self.look(key, id, now_ms),
                    Timed::Identity(key, id, due) => self.check_identity(key, id, due, now_ms),
                    Timed::Heartbeat(key, id, dialect, due) => self.heartbeat(key, id, dialect, due, now_ms),
                    Timed::Leave(key, id) => {
                        if self.is(key, id) {
                            self.close(key, Disconnect::Restart);
                        }
                    }
                    Timed::Task(deadline) => self.enforce(deadline, now_ms),
                }
            }
        }
        for number in std::mem::take(&mut self.unasked) {
            if self.rooms.contains(number) {
                self.ask_sequencer(number);
            }
        }
        self.sweep(now);
        self.services.recoveries.forget_old(now);
        self.services.tails.forget_old(now);
        self.report();
    }

    /// Watches over a task until a deadline that it may move.
    pub fn watch(&mut self, deadline: Deadline) {
        self.wheel.schedule(deadline.at_ms.get(), Timed::Task(deadline));
    }

    /// Moves a deadline.
    pub fn move_deadline(&mut self, deadline: &Deadline, at_ms: u64) {
        // A later one is looked at when the old one passes.
        if at_ms < deadline.at_ms.replace(at_ms) {
            self.watch(deadline.clone());
        }
    }

    fn enforce(&mut self, deadline: Deadline, now_ms: u64) {
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

    /// Whether a key still stands for the connection of that name.
    pub(crate) fn is(&self, key: ConnectionKey, id: ConnectionId) -> bool {
        self.connections.get(key).is_some_and(|c| c.session.id == id)
    }

    /// Starts a connection's place on the wheel.
    pub(crate) fn watch_connection(&mut self, key: ConnectionKey, id: ConnectionId) {
        let at = self.now_ms() + self.limits.ping_interval_ms;
        self.wheel.schedule(at, Timed::Connection(key, id));
    }

    /// A closing connection gets a moment to say goodbye.
    pub(crate) fn expect_end(&mut self, key: ConnectionKey) {
        let at = self.now_ms() + Self::CLOSE_MS;
        if let Some(connection) = self.connections.get_mut(key) {
            connection.heard_ms = self.began.elapsed().as_millis() as u64;
            let id = connection.session.id;
            self.wheel.schedule(at, Timed::Connection(key, id));
        }
    }

    /// Pings a silent connection, closes one that stayed silent, ends one that does not close.
    pub(crate) fn look_at(&mut self, key: ConnectionKey, id: ConnectionId, now_ms: u64) {
        let ping_ms = self.limits.ping_interval_ms;
        let pong_ms = self.config().timeouts.pong.as_millis() as u64;
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.session.id != id {
            return;
        }
        let silent = now_ms.saturating_sub(connection.heard_ms);
        let next = match connection.state {
            State::Gone => return,
            State::Closing if silent >= Self::CLOSE_MS => {
                connection.state = State::Gone;
                connection.wake();
                return;
            }
            State::Closing => return,
            State::Open if connection.carrier.minds_silence() => now_ms + ping_ms,
            State::Open if silent >= ping_ms + pong_ms => {
                self.close(key, Disconnect::PingTimeout);
                return;
            }
            State::Open if silent >= ping_ms => {
                if let Some(ping) = connection.carrier.ping()
                    && connection.say_urgent(&ping, &mut self.buffers.sealed, &self.services.budget).is_err()
                {
                    connection.wake();
                }
                // Looked at again when its answer is late; whoever answers is silent for less than this by then.
                connection.heard_ms + ping_ms + pong_ms
            }
            State::Open => connection.heard_ms + ping_ms,
        };
        self.wheel.schedule(next, Timed::Connection(key, id));
    }

    /// Lets go of rooms that nobody came back to.
    fn sweep(&mut self, now: Instant) {
        while let Some(&(since, number)) = self.emptied.front()
            && now.duration_since(since) >= Self::LINGER
        {
            self.emptied.pop_front();
            let Some(local) = self.rooms.get(number) else { continue };
            if local.empty_since != Some(since) {
                continue;
            }
            let (name, log) = (local.name.clone(), local.shares());
            if !self.is_idle(number) {
                self.rooms[number].empty_since = None;
                self.note_if_empty(number);
                continue;
            }
            if let Some(log) = log {
                self.rooms.remove(number);
                if let Some(stream) = self.rooms[log].stream_mut() {
                    stream.remove_part(&name);
                }
                self.note_if_empty(log);
                continue;
            }
            if !self.services.links.tell_sequencer(&name, ToSequencer::Leave(name.clone(), self.index)) {
                self.rooms[number].empty_since = None;
                self.note_if_empty(number);
                return;
            }
            self.rooms.remove(number);
        }
        self.rooms.shrink_when_empty();
    }

    fn report(&mut self) {
        let Services { metrics, budget, .. } = &*self.services;
        metrics.held_bytes.set(budget.held() as f64);
        metrics.owed_bytes.set(budget.owed() as f64);
        metrics
            .encoded
            .add(std::mem::take(&mut self.encoder.bytes_plain), std::mem::take(&mut self.encoder.bytes_framed));
        if let Some(observer) = &metrics.observer {
            let now = (self.connections.len(), self.directory.connections());
            let before = std::mem::replace(&mut self.shown, now);
            let change = |now: usize, before: usize| now as f64 - before as f64;
            observer.connections_changed(change(now.0, before.0), change(now.1, before.1));
        }
        let own = &metrics.workers[self.index];
        own.connections.set(self.connections.len() as f64);
        let cpu = clock_gettime(ClockId::ThreadCPUTime);
        own.cpu.set(cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9);
    }

    /// Begins to send everybody away, each at its own moment in the window.
    pub fn begin_drain(&mut self, window: Duration) {
        self.drain = Some(DrainRun { next: 0, window });
    }

    /// Tells some more clients when to come back elsewhere. Returns whether more are to be told.
    pub fn drain_slice(&mut self) -> bool {
        let Some(run) = &mut self.drain else { return false };
        let window_ms = run.window.as_millis() as u64;
        let from = run.next;
        run.next += Self::DRAIN_STRIDE;
        let Some(keys) = self.connections.keys_from(from, Self::DRAIN_STRIDE) else {
            self.drain = None;
            return false;
        };
        let now_ms = self.now_ms();
        for key in keys {
            let Some(connection) = self.connections.get(key) else { continue };
            let id = connection.session.id;
            // Connection names are spread evenly: as good a die as any, and none to seed.
            let after_ms = if window_ms == 0 { 0 } else { id.0 % window_ms };
            self.reply(key, &Reply::Reconnect { after_ms }, None);
            if window_ms == 0 {
                self.close(key, Disconnect::Restart);
            } else {
                self.wheel.schedule(now_ms + after_ms, Timed::Leave(key, id));
            }
        }
        true
    }
}
