//! The queues between broker, sequencers and workers.
//!
//! Always holds: no sender ever waits. A full queue to a sequencer marks the room as lagging; a full queue to a worker
//! leaves a hole: both are recovered from history.

use std::{
    collections::HashSet,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::{
    broker::{Deliver, Delivery, History},
    hub::{
        sequencer::{effect::ReadTicket, update::StreamUpdate},
        worker::worker_call::WorkerCall,
    },
    model::Room,
};

/// What a sequencer is told.
#[derive(Debug)]
pub enum ToSequencer {
    /// Something happened in a room, and when this pod heard of it.
    Delivery(Room, Delivery, Instant),
    /// A worker has its first member of a room.
    Join(Room, usize),
    /// A worker has lost its last one.
    Leave(Room, usize),
    /// The log answered a read.
    HistoryRead(Room, ReadTicket, History),
}

/// What a worker is told.
#[derive(Debug)]
pub enum ToWorker {
    /// What its sequencer tells a room's stream.
    Room(Room, StreamUpdate),
    /// The pod goes away: each client is told a moment in this window, and closed then.
    Drain(Duration),
    /// Something to do on its thread.
    Call(WorkerCall),
}

/// Rooms whose sequencer missed deliveries because its queue was full.
#[derive(Debug, Default)]
pub struct Lagging {
    any: AtomicBool,
    rooms: Mutex<HashSet<Room>>,
}

impl Lagging {
    fn mark(&self, room: &Room) {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner).insert(room.clone());
        self.any.store(true, Ordering::Release);
    }

    /// Whether rooms are marked.
    #[must_use]
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Takes at most so many of the marked rooms. Costs one load where there are none.
    #[must_use]
    pub fn take(&self, most: usize) -> Vec<Room> {
        if most == 0 || !self.any() {
            return Vec::new();
        }
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let taken: Vec<Room> = rooms.iter().take(most).cloned().collect();
        for room in &taken {
            rooms.remove(room);
        }
        // Still under the lock: a room that is marked meanwhile says so after this.
        self.any.store(!rooms.is_empty(), Ordering::Release);
        taken
    }
}

/// The sending ends of a pod's queues.
#[derive(Debug)]
pub struct WorkerQueues {
    sequencers: Vec<Sender<ToSequencer>>,
    lagging: Vec<Lagging>,
    workers: Vec<Sender<ToWorker>>,
}

/// The receiving ends of one worker's thread.
#[derive(Debug)]
pub struct Inboxes {
    /// The sequencer's.
    pub sequencer: Receiver<ToSequencer>,
    /// The worker's.
    pub worker: Receiver<ToWorker>,
}

impl WorkerQueues {
    /// The most deliveries that wait for a sequencer.
    const SEQUENCER_QUEUE: usize = 65_536;
    /// The most broadcasts that wait for a worker.
    const WORKER_QUEUE: usize = 4_096;

    /// Queues for so many workers.
    #[must_use]
    pub fn new(workers: usize) -> (Self, Vec<Inboxes>) {
        Self::with_capacities(workers, Self::SEQUENCER_QUEUE, Self::WORKER_QUEUE)
    }

    /// Queues for so many workers that hold so many messages.
    #[must_use]
    pub fn with_capacities(workers: usize, sequencer: usize, worker: usize) -> (Self, Vec<Inboxes>) {
        let mut queues = Self { sequencers: Vec::new(), lagging: Vec::new(), workers: Vec::new() };
        let inboxes = (0..workers)
            .map(|_| {
                let (to_sequencer, sequencer) = channel(sequencer);
                let (to_worker, worker) = channel(worker);
                queues.sequencers.push(to_sequencer);
                queues.workers.push(to_worker);
                queues.lagging.push(Lagging::default());
                Inboxes { sequencer, worker }
            })
            .collect();
        (queues, inboxes)
    }

    /// Tells a room's sequencer. `false`: its queue is full.
    #[must_use]
    pub fn tell_sequencer(&self, room: &Room, message: ToSequencer) -> bool {
        self.sequencers[self.sequencer_of(room)].try_send(message).is_ok()
    }

    /// Tells a worker. `false`: its queue is full.
    #[must_use]
    pub fn tell_worker(&self, worker: usize, message: ToWorker) -> bool {
        self.workers[worker].try_send(message).is_ok()
    }

    /// The rooms that a sequencer missed something of.
    #[must_use]
    pub fn lagging(&self, sequencer: usize) -> &Lagging {
        &self.lagging[sequencer]
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    fn sequencer_of(&self, room: &Room) -> usize {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(room.as_str());
        (hash % self.sequencers.len() as u64) as usize
    }
}

impl Deliver for WorkerQueues {
    fn deliver(&self, room: &Room, delivery: Delivery) {
        let sequencer = self.sequencer_of(room);
        // Nothing brings back a signal or a notice that was lost.
        let is_kept = !matches!(delivery, Delivery::Signal(_) | Delivery::Notice(_));
        let message = ToSequencer::Delivery(room.clone(), delivery, Instant::now());
        if self.sequencers[sequencer].try_send(message).is_err() && is_kept {
            self.lagging[sequencer].mark(room);
        }
    }
}
