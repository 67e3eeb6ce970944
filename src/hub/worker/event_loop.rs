//! A worker's loop: messages in, slices of fan-out, ticks of the clock.
//!
//! Never waits for anything but its queue and its clock. Always holds: a slice is short, and every other task of the thread has a turn
//! between two of them.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::{sync::mpsc::Receiver, task::yield_now};

use crate::{
    hub::{
        Services, ToWorker, Worker,
        worker::{timers::Timed, wheel::Wheel},
    },
    model::Disconnect,
};

/// How often a worker looks at its timers.
const TICK: Duration = Duration::from_millis(Wheel::<Timed>::TICK_MS);

/// Starts a worker's loop on its thread. It ends when the queue is closed.
pub fn start(worker: &Rc<RefCell<Worker>>, inbox: Receiver<ToWorker>) {
    tokio::task::spawn_local(take_turns(Rc::clone(worker), inbox));
    tokio::task::spawn_local(tick(Rc::clone(worker)));
    if let Some(fine) = worker.borrow().timers.fine_tick() {
        tokio::task::spawn_local(tick_finely(Rc::clone(worker), fine));
    }
}

/// Takes what the sequencers send, and gives each active room its slices.
async fn take_turns(worker: Rc<RefCell<Worker>>, mut inbox: Receiver<ToWorker>) {
    let mut messages = Vec::new();
    let mut busy = false;
    let activity = Rc::clone(&worker.borrow().activity);
    loop {
        if busy {
            while messages.len() < 64
                && let Ok(message) = inbox.try_recv()
            {
                messages.push(message);
            }
        } else {
            tokio::select! {
                count = inbox.recv_many(&mut messages, 64) => if count == 0 { return },
                () = activity.notified() => {}
            }
        }
        busy = take_turn(&mut worker.borrow_mut(), &mut messages);
        if busy {
            yield_now().await;
        }
    }
}

/// Takes messages and gives one room its slice. Returns whether more is to be done.
fn take_turn(worker: &mut Worker, messages: &mut Vec<ToWorker>) -> bool {
    for message in messages.drain(..) {
        match message {
            ToWorker::Room(room, update) => worker.update_room(&room, update),
            ToWorker::Drain(window) => worker.begin_drain(window),
            ToWorker::Call(question) => question.put(worker),
        }
    }
    let fanning = worker.run_slice();
    worker.drain_slice() || fanning
}

async fn tick(worker: Rc<RefCell<Worker>>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        worker.borrow_mut().tick();
    }
}

/// Only where times are configured that the other tick does not keep.
async fn tick_finely(worker: Rc<RefCell<Worker>>, tick: Duration) {
    let mut interval = tokio::time::interval(tick);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let mut worker = worker.borrow_mut();
        let now_ms = worker.timers.now_ms();
        while let Some(due) = worker.timers.turn_finely(now_ms) {
            due.into_iter().for_each(|timed| worker.due(timed, now_ms));
        }
    }
}

impl Worker {
    /// What waited for a time is due.
    fn due(&mut self, timed: Timed, now_ms: u64) {
        match timed {
            Timed::Connection(key, id) => self.look(key, id, now_ms),
            Timed::Identity(key, id, due) => self.check_identity(key, id, due, now_ms),
            Timed::Message(key, id) => self.check_message(key, id, now_ms),
            Timed::Heartbeat(key, id, dialect, due) => self.heartbeat(key, id, dialect, due, now_ms),
            Timed::Leave(key, id) => {
                if self.connections.is(key, id) {
                    self.close(key, Disconnect::Restart);
                }
            }
            Timed::Task(deadline) => self.timers.enforce(deadline, now_ms),
        }
    }

    /// Everything that is due by the clock.
    pub fn tick(&mut self) {
        let (now, now_ms) = (Instant::now(), self.timers.now_ms());
        self.refresh_config();
        self.review_policies();
        while let Some(due) = self.timers.turn(now_ms) {
            due.into_iter().for_each(|timed| self.due(timed, now_ms));
        }
        for number in std::mem::take(&mut self.unasked) {
            if self.rooms.contains(number) {
                self.ask_sequencer(number);
            }
        }
        self.sweep(now);
        self.services.recoveries.forget_old(now);
        self.services.event_index.forget_old(now);
        self.report();
    }

    /// Brings the gauges up to date.
    fn report(&mut self) {
        let Services { metrics, budget, .. } = &*self.services;
        metrics.held_bytes.set(budget.held() as f64);
        metrics.owed_bytes.set(budget.queued_bytes() as f64);
        metrics
            .encoded
            .add(std::mem::take(&mut self.encoder.bytes_plain), std::mem::take(&mut self.encoder.bytes_framed));
        if let Some(observer) = &metrics.observer {
            let now = (self.connections.len(), self.connections.users.connections());
            let before = std::mem::replace(&mut self.shown, now);
            let change = |now: usize, before: usize| now as f64 - before as f64;
            observer.connections_changed(change(now.0, before.0), change(now.1, before.1));
        }
        let own = &metrics.workers[self.index];
        own.connections.set(self.connections.len() as f64);
        let cpu = clock_gettime(ClockId::ThreadCPUTime);
        own.cpu.set(cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9);
    }
}
