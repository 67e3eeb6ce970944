//! A simulated pod: the pure core, the real queues, members, encoder and send queues, and drivers that step them by hand.
//!
//! Never decides what the core decides. Always holds: nothing happens but by a step of the script.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    client::Violation,
    log_read::LogRead,
    script::{CLIENTS, ROOMS, Script, Step, WORKERS},
    worker::SimulatedWorker,
    world::SimulatedWorld,
};
use crate::{
    broker::{Deliver, Delivery, HistoryQuery},
    hub::{
        connection::budget::Budget,
        sequencer::{effect::SequencerEffect, room_sequencer::RoomSequencer},
        worker::queues::{Inboxes, ToSequencer, ToWorker, WorkerQueues},
    },
    model::Room,
};

/// The rooms' sequencers of one thread.
struct Sequencers {
    rooms: HashMap<Room, RoomSequencer>,
    lives: u64,
}

/// Everything that a history consists of.
pub struct SimulatedPod {
    pub world: SimulatedWorld,
    inboxes: Vec<Inboxes>,
    subscribed: Vec<bool>,
    /// What the broker has sent and the pod has not heard.
    pipe: VecDeque<(usize, Delivery)>,
    sequencers: Vec<Sequencers>,
    workers: Vec<SimulatedWorker>,
    /// Which worker each client is connected to.
    connected: Vec<Option<usize>>,
}

impl SimulatedPod {
    /// A pod that nothing has happened to.
    pub fn new(script: &Script) -> Self {
        let (queues, inboxes) = WorkerQueues::with_capacities(WORKERS, script.queues.0, script.queues.1);
        let budget = Arc::new(Budget::new(usize::MAX));
        Self {
            world: SimulatedWorld::new(script, queues),
            inboxes,
            subscribed: vec![false; ROOMS],
            pipe: VecDeque::new(),
            sequencers: (0..WORKERS).map(|_| Sequencers { rooms: HashMap::new(), lives: 0 }).collect(),
            workers: (0..WORKERS).map(|index| SimulatedWorker::new(index, &budget)).collect(),
            connected: vec![None; CLIENTS],
        }
    }

    /// Does one step.
    pub fn step(&mut self, step: Step) -> Result<(), Violation> {
        match step {
            Step::Pass(ms) => self.world.now += Duration::from_millis(ms),
            Step::Publish(room) => {
                let (epoch, event) = self.world.logs[room].append();
                if self.subscribed[room] {
                    self.pipe.push_back((room, Delivery::Event { epoch, event }));
                }
            }
            Step::Deliver(count) => (0..count).for_each(|_| self.deliver()),
            Step::Lose => {
                // The answer to a subscription is not lost: the broker repeats it until it is heard.
                if matches!(self.pipe.front(), Some((_, Delivery::Event { .. }))) {
                    self.pipe.pop_front();
                }
            }
            Step::Repeat => {
                if let Some(first) = self.pipe.front().cloned() {
                    self.pipe.push_front(first);
                }
            }
            Step::Reorder => {
                if self.pipe.len() > 1 {
                    self.pipe.swap(0, 1);
                }
            }
            Step::RollBack(room, count) => {
                self.world.logs[room].roll_back(count);
                self.renew(room);
            }
            Step::Rename(room) => {
                self.world.logs[room].rename();
                self.renew(room);
            }
            Step::Trim(room, keep) => self.world.logs[room].trim(keep),
            Step::FailReads(count) => self.world.failing_reads += count,
            Step::Renew(room) => self.renew(room),
            Step::Restart(room) => self.restart(room),
            Step::Sequence(thread, count) => self.sequence(thread, count),
            Step::Read(at) => return self.read(at),
            Step::Work(worker, count) => return self.work(worker, count),
            Step::FanOut(worker, count) => {
                return self.with_worker(worker, |worker, world| worker.fan_out(count, world));
            }
            Step::Sweep(worker) => return self.with_worker(worker, |worker, world| worker.sweep(world)),
            Step::Subscribe(client, room, continues) => {
                let Some(worker) = self.connected[client] else { return Ok(()) };
                let Some(since) = self.world.clients[client].subscribe(room, continues) else { return Ok(()) };
                return self.with_worker(worker, |worker, world| worker.subscribe(client, room, since, world));
            }
            Step::Unsubscribe(client, room) => {
                let Some(worker) = self.connected[client] else { return Ok(()) };
                if self.world.clients[client].leave(room) {
                    return self.with_worker(worker, |worker, world| worker.unsubscribe(client, room, world));
                }
            }
            Step::Disconnect(client) => return self.disconnect(client),
            Step::Connect(client, worker) => {
                if self.connected[client].is_none() {
                    self.connected[client] = Some(worker);
                    self.workers[worker].connect(client);
                }
            }
            Step::StopReading(client) => {
                if let Some(worker) = self.connected[client] {
                    self.workers[worker].stop_reading(client);
                }
            }
            Step::Resume(client) => {
                if let Some(worker) = self.connected[client] {
                    return self.with_worker(worker, |worker, world| worker.resume(client, world));
                }
            }
        }
        Ok(())
    }

    /// Steps a worker, and ends the connections that it closed.
    fn with_worker(
        &mut self,
        index: usize,
        step: impl FnOnce(&mut SimulatedWorker, &mut SimulatedWorld) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let worker = &mut self.workers[index];
        let result = step(worker, &mut self.world);
        let closed = std::mem::take(&mut worker.closed);
        result?;
        closed.into_iter().try_for_each(|client| self.disconnect(client))
    }

    fn disconnect(&mut self, client: usize) -> Result<(), Violation> {
        let Some(worker) = self.connected[client].take() else { return Ok(()) };
        self.world.clients[client].disconnected();
        self.with_worker(worker, |worker, world| worker.disconnect(client, world))
    }

    fn renew(&mut self, room: usize) {
        if self.subscribed[room] {
            self.pipe.push_back((room, Delivery::Started(self.world.logs[room].head())));
        }
    }

    fn subscribe(&mut self, room: usize) {
        self.subscribed[room] = true;
        self.renew(room);
    }

    /// What a driver does after a panic in a room's step.
    fn restart(&mut self, room: usize) {
        let name = &self.world.rooms[room];
        let Some(sequencers) = self.sequencers.iter_mut().find(|thread| thread.rooms.contains_key(name)) else {
            return;
        };
        sequencers.lives += 1;
        let life = sequencers.lives;
        if let Some(sequencer) = sequencers.rooms.get_mut(name) {
            *sequencer = sequencer.restarted(life);
            self.subscribe(room);
        }
    }

    fn deliver(&mut self) {
        if let Some((room, delivery)) = self.pipe.pop_front() {
            self.world.queues.deliver(&self.world.rooms[room], delivery);
        }
    }

    fn sequence(&mut self, thread: usize, count: usize) {
        for _ in 0..count {
            let Ok(message) = self.inboxes[thread].sequencer.try_recv() else { break };
            self.sequence_message(thread, message);
        }
        for room in self.world.queues.lagging(thread).take(usize::MAX) {
            let started = self.sequencers[thread].rooms.get(&room).map(RoomSequencer::has_started);
            match started {
                Some(true) => self.sequencer_step(thread, &room, RoomSequencer::missed_deliveries),
                Some(false) => self.subscribe(self.world.room_at(&room)),
                None => {}
            }
        }
        let now = self.world.now;
        for room in self.world.rooms.clone() {
            let due = |s: &RoomSequencer| s.deadline().is_some_and(|at| at <= now);
            let lagging = self.sequencers[thread].rooms.get(&room).map(|room| room.lagging().collect::<Vec<usize>>());
            for worker in lagging.unwrap_or_default() {
                self.sequencer_step(thread, &room, |sequencer, effects| sequencer.retry(worker, effects));
            }
            if self.sequencers[thread].rooms.get(&room).is_some_and(due) {
                self.sequencer_step(thread, &room, |sequencer, effects| sequencer.on_deadline(now, effects));
            }
        }
    }

    fn sequence_message(&mut self, thread: usize, message: ToSequencer) {
        let now = self.world.now;
        match message {
            ToSequencer::Join(room, worker) => {
                if !self.sequencers[thread].rooms.contains_key(&room) {
                    let at = self.world.room_at(&room);
                    let sequencers = &mut self.sequencers[thread];
                    sequencers.lives += 1;
                    let policy = Arc::clone(&self.world.policies[at]);
                    let sequencer = RoomSequencer::new(room.clone(), policy, WORKERS, sequencers.lives);
                    sequencers.rooms.insert(room.clone(), sequencer);
                    self.subscribe(at);
                }
                self.sequencer_step(thread, &room, |sequencer, effects| sequencer.join(worker, effects));
            }
            ToSequencer::Leave(room, worker) => {
                self.sequencer_step(thread, &room, |sequencer, _| sequencer.leave(worker));
                if self.sequencers[thread].rooms.get(&room).is_some_and(RoomSequencer::is_empty) {
                    self.sequencers[thread].rooms.remove(&room);
                    let at = self.world.room_at(&room);
                    self.subscribed[at] = false;
                }
            }
            ToSequencer::Delivery(room, delivery, _) => {
                self.sequencer_step(thread, &room, |sequencer, effects| match delivery {
                    Delivery::Event { epoch, event } => sequencer.event(epoch, event, now, effects),
                    Delivery::Started(position) => sequencer.started(position, effects),
                    Delivery::Unlogged { .. }
                    | Delivery::Signal(_)
                    | Delivery::Notice(_)
                    | Delivery::Joined(_)
                    | Delivery::Left(_) => {}
                });
            }
            ToSequencer::HistoryRead(room, ticket, history) => {
                self.sequencer_step(thread, &room, |sequencer, effects| {
                    sequencer.history_read(ticket, history, now, effects);
                });
            }
        }
    }

    fn sequencer_step(
        &mut self,
        thread: usize,
        room: &Room,
        input: impl FnOnce(&mut RoomSequencer, &mut Vec<SequencerEffect>),
    ) {
        let Some(sequencer) = self.sequencers[thread].rooms.get_mut(room) else { return };
        let mut effects = Vec::new();
        input(sequencer, &mut effects);
        for effect in effects {
            match effect {
                SequencerEffect::Tell(worker, update) => {
                    if !self.world.queues.tell_worker(worker, ToWorker::Room(room.clone(), update.clone())) {
                        sequencer.refused(worker, &update);
                    }
                }
                SequencerEffect::ReadHistory { ticket, since, until } => {
                    self.world.reads.push(LogRead::Sequencer {
                        room: room.clone(),
                        ticket,
                        since,
                        until,
                        answer: None,
                    });
                }
                SequencerEffect::AnnouncePresence { .. } | SequencerEffect::Flushed { .. } => {}
            }
        }
    }

    /// Carries out a read that was asked for, or lets its answer arrive.
    fn read(&mut self, at: usize) -> Result<(), Violation> {
        if self.world.reads.is_empty() {
            return Ok(());
        }
        let mut read = self.world.reads.swap_remove(at % self.world.reads.len());
        if let LogRead::Sequencer { room, ticket, since, until, answer } = &mut read {
            if let Some(history) = answer.take() {
                let message = ToSequencer::HistoryRead(room.clone(), *ticket, history);
                if self.world.queues.tell_sequencer(room, message) {
                    return Ok(());
                }
            } else if !self.world.read_fails() {
                let (max_events, max_bytes) = (usize::MAX, usize::MAX);
                let query = HistoryQuery { since: Some(since.clone()), until: *until, max_events, max_bytes };
                *answer = Some(self.world.logs[self.world.room_at(room)].read(&query));
            }
            // One that failed, or whose answer found a full queue, is tried again.
            self.world.reads.push(read);
            return Ok(());
        }
        let worker = read.worker();
        self.with_worker(worker, |worker, world| worker.read(read, world))
    }

    fn work(&mut self, worker: usize, count: usize) -> Result<(), Violation> {
        let mut messages = Vec::new();
        while messages.len() < count
            && let Ok(message) = self.inboxes[worker].worker.try_recv()
        {
            messages.push(message);
        }
        self.with_worker(worker, |worker, world| worker.work(messages, world))
    }

    /// Lets everything come to rest, without faults, and asks the oracle whether each client has what it should.
    pub fn settle(&mut self) -> Result<(), Violation> {
        self.world.failing_reads = 0;
        for client in 0..CLIENTS {
            self.step(Step::Resume(client))?;
        }
        // A broker that lost a delivery notices by its own reading of positions.
        (0..ROOMS).for_each(|room| self.renew(room));
        for _ in 0..2_000 {
            self.world.now += Duration::from_millis(50);
            self.step(Step::Deliver(1))?;
            for thread in 0..WORKERS {
                self.step(Step::Sequence(thread, 8))?;
                self.step(Step::Work(thread, 8))?;
                self.step(Step::FanOut(thread, 64))?;
            }
            self.step(Step::Read(0))?;
            if self.is_quiet() {
                return self.world.clients.iter().try_for_each(|client| client.settled(&self.world.logs));
            }
        }
        Err(Violation("it never comes to rest".to_owned()))
    }

    /// Whether nothing is under way and nothing is due.
    fn is_quiet(&self) -> bool {
        let mut sequencers = self.sequencers.iter().flat_map(|s| s.rooms.values());
        self.pipe.is_empty()
            && self.world.reads.is_empty()
            && self.inboxes.iter().all(|inbox| inbox.sequencer.is_empty() && inbox.worker.is_empty())
            && sequencers.all(|sequencer| sequencer.lagging().next().is_none() && sequencer.deadline().is_none())
            && self.workers.iter().all(SimulatedWorker::is_quiet)
    }
}
