//! A worker's loop: messages in, slices of fan-out, ticks of the clock.
//!
//! Never waits for anything but its queue and its clock. Always holds: a slice is short, and every other task of the thread has a turn
//! between two of them.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::{sync::mpsc::Receiver, task::yield_now};

use crate::{
    hub::{
        commands::signal::carry_signals,
        core::clients::Clients,
        fanout::fan_out::SLICE,
        worker::{
            Worker, drain::DrainRun, policy_reload::PolicyReload, queues::ToWorker, services::Services,
            shedding::shed_stuck, timers::Timed, wheel::Wheel,
        },
    },
    model::Disconnect,
};

/// How often a worker looks at its timers.
const TICK: Duration = Duration::from_millis(Wheel::<Timed>::TICK_MS);

/// Starts a worker's loop on its thread. It ends when the queue is closed.
pub fn start(worker: &Rc<RefCell<Worker>>, inbox: Receiver<ToWorker>) {
    tokio::task::spawn_local(take_turns(Rc::clone(worker), inbox));
    tokio::task::spawn_local(tick(Rc::clone(worker)));
    let (doorway, services) = (worker.borrow().core.doorway.clone(), Arc::clone(&worker.borrow().services));
    tokio::task::spawn_local(carry_signals(doorway, services));
    if let Some(fine) = worker.borrow_mut().timers().fine_tick() {
        tokio::task::spawn_local(tick_finely(Rc::clone(worker), fine));
    }
}

/// Takes what the sequencers send, and gives each active room its slices.
async fn take_turns(worker: Rc<RefCell<Worker>>, mut inbox: Receiver<ToWorker>) {
    let mut messages = Vec::new();
    let mut busy = false;
    let activity = Rc::clone(&worker.borrow().core.fan_outs.activity);
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
            ToWorker::Room(room, update) => worker.core.update_room(&room, update),
            ToWorker::Drain(window) => worker.drain = Some(DrainRun::new(window)),
            ToWorker::Call(call) => call.run(worker),
        }
        worker.settle();
    }
    let fanning = worker.run_slice();
    let draining = worker.drain_slice();
    worker.sweep_slice() || draining || fanning
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
        let now_ms = worker.timers().now_ms();
        while let Some(due) = worker.timers().turn_finely(now_ms) {
            due.into_iter().for_each(|timed| worker.perform_due(timed, now_ms));
        }
    }
}

impl Worker {
    /// Serves active rooms for one slice. Returns whether any room is still active.
    fn run_slice(&mut self) -> bool {
        let deadline = Instant::now() + SLICE;
        while let Some(index) = self.core.fan_outs.take() {
            self.core.serve_room(index, deadline);
            // Before another frame is offered: a connection that is to be closed gets none.
            self.settle();
            if Instant::now() >= deadline {
                break;
            }
        }
        !self.core.fan_outs.is_empty()
    }

    /// Tells some more clients of a drain. Returns whether more are to be told.
    fn drain_slice(&mut self) -> bool {
        let Some(run) = &mut self.drain else { return false };
        let more = run.tell_some(&mut self.core.clients);
        if !more {
            self.drain = None;
        }
        self.settle();
        more
    }

    /// Gives up some more of the rooms that have lingered. Returns whether more may be due.
    fn sweep_slice(&mut self) -> bool {
        if self.sweeping {
            self.sweeping = self.core.sweep(Instant::now());
        }
        self.sweeping
    }

    /// Everything that is due by the clock.
    fn tick(&mut self) {
        let (now, now_ms) = (Instant::now(), self.core.clients.timers.now_ms());
        self.core.clients.settings.refresh(&self.services.config.load());
        self.review_policies();
        while let Some(due) = self.core.clients.timers.turn(now_ms) {
            due.into_iter().for_each(|timed| self.perform_due(timed, now_ms));
        }
        shed_stuck(&mut self.core, now_ms);
        self.settle();
        self.core.ask_sequencers_again();
        self.sweeping = true;
        self.core.fan_outs.activity.notify_one();
        self.services.recoveries.forget_old(now);
        self.services.event_index.forget_old(now);
        self.services.windows.sweep();
        self.settle();
        self.report();
    }

    /// What waited for a time is due.
    fn perform_due(&mut self, timed: Timed, now_ms: u64) {
        let clients = &mut self.core.clients;
        match timed {
            Timed::Connection(key, id) => self.look(key, id, now_ms),
            Timed::Identity(key, id, due) => clients.check_identity(key, id, due, now_ms),
            Timed::Message(key, id) => clients.check_message(key, id, now_ms),
            Timed::Heartbeat(key, id, dialect, due) => clients.heartbeat(key, id, dialect, due, now_ms),
            Timed::Leave(key, id) => {
                if clients.connections.is(key, id) {
                    clients.request_close(key, Disconnect::Restart);
                }
            }
            Timed::Rested(key, id) => {
                if clients.connections.is(key, id) {
                    clients.connections.wake(key);
                }
            }
            Timed::Task(deadline) => clients.timers.enforce(deadline, now_ms),
        }
        self.settle();
    }

    /// Gives held rooms the policies that were reloaded, for one slice.
    fn review_policies(&mut self) {
        let policies = self.services.policies.load_full();
        let deadline = PolicyReload::slice_end();
        self.policy_reload.begin(&policies, self.core.rooms.names());
        loop {
            let rooms = self.policy_reload.next(deadline);
            if rooms.is_empty() {
                return;
            }
            for room in rooms {
                self.core.review_policy(&room, &policies);
            }
        }
    }

    /// Brings the gauges up to date.
    fn report(&mut self) {
        let Services { metrics, budget, .. } = &*self.services;
        let Clients { connections, encoder, .. } = &mut self.core.clients;
        metrics.held_bytes.set(budget.held() as f64);
        metrics.owed_bytes.set(budget.queued_bytes() as f64);
        metrics.encoded.add(std::mem::take(&mut encoder.bytes_plain), std::mem::take(&mut encoder.bytes_framed));
        if let Some(observer) = &metrics.observer {
            let now = (connections.len(), connections.users.connections());
            let before = std::mem::replace(&mut self.reported, now);
            let change = |now: usize, before: usize| now as f64 - before as f64;
            observer.connections_changed(change(now.0, before.0), change(now.1, before.1));
        }
        let own = &metrics.workers[self.index];
        own.connections.set(connections.len() as f64);
        let cpu = clock_gettime(ClockId::ThreadCPUTime);
        own.cpu.set(cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9);
    }
}
