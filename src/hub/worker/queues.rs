//! The queues between broker, owners and workers.
//!
//! Always holds: no sender ever waits. A full queue to an owner marks the room as behind; a full queue to a worker
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
    hub::{Broadcast, Question},
    model::{Position, Room},
};

/// What an owner is told.
#[derive(Debug)]
pub enum ToOwner {
    /// Something happened in a room, and when this pod heard of it.
    Delivery(Room, Delivery, Instant),
    /// A worker has its first member of a room.
    Join(Room, usize),
    /// A worker has lost its last one.
    Leave(Room, usize),
    /// The answer to the owner's question for what it missed.
    Healed(Room, History),
}

/// What a worker is told.
#[derive(Debug)]
pub enum ToWorker {
    /// The worker is on the room's list; broadcasts continue from here.
    Joined(Room, Position),
    /// Something to fan out.
    Broadcast(Room, std::sync::Arc<Broadcast>),
    /// The room stands here: a worker that stands before it has lost broadcasts.
    Tip(Room, Position),
    /// The room's log goes on under another epoch, and lost nothing: one position has two names.
    Renamed(Room, Position, Position),
    /// The pod goes away: each client is told a moment in this window, and closed then.
    Drain(Duration),
    /// Something to do on its thread.
    Ask(Question),
}

/// Rooms whose owner missed deliveries because its queue was full.
#[derive(Debug, Default)]
pub struct Behind {
    any: AtomicBool,
    rooms: Mutex<HashSet<Room>>,
}

impl Behind {
    fn mark(&self, room: &Room) {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner).insert(room.clone());
        self.any.store(true, Ordering::Release);
    }

    /// Takes the marked rooms. Costs one load where there are none.
    #[must_use]
    pub fn take(&self) -> HashSet<Room> {
        if !self.any.swap(false, Ordering::Acquire) {
            return HashSet::new();
        }
        std::mem::take(&mut *self.rooms.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The sending ends of a pod's queues.
#[derive(Debug)]
pub struct Links {
    owners: Vec<Sender<ToOwner>>,
    behind: Vec<Behind>,
    workers: Vec<Sender<ToWorker>>,
}

/// The receiving ends of one worker's thread.
#[derive(Debug)]
pub struct Inboxes {
    /// The owner's.
    pub owner: Receiver<ToOwner>,
    /// The worker's.
    pub worker: Receiver<ToWorker>,
}

impl Links {
    /// The most deliveries that wait for an owner.
    const OWNER_QUEUE: usize = 65_536;
    /// The most broadcasts that wait for a worker.
    const WORKER_QUEUE: usize = 4_096;

    /// Queues for so many workers.
    #[must_use]
    pub fn new(workers: usize) -> (Self, Vec<Inboxes>) {
        let mut links = Self { owners: Vec::new(), behind: Vec::new(), workers: Vec::new() };
        let inboxes = (0..workers)
            .map(|_| {
                let (to_owner, owner) = channel(Self::OWNER_QUEUE);
                let (to_worker, worker) = channel(Self::WORKER_QUEUE);
                links.owners.push(to_owner);
                links.workers.push(to_worker);
                links.behind.push(Behind::default());
                Inboxes { owner, worker }
            })
            .collect();
        (links, inboxes)
    }

    /// Tells a room's owner. `false`: its queue is full.
    #[must_use]
    pub fn tell_owner(&self, room: &Room, message: ToOwner) -> bool {
        self.owners[self.owner_of(room)].try_send(message).is_ok()
    }

    /// Tells a worker. `false`: its queue is full.
    #[must_use]
    pub fn tell_worker(&self, worker: usize, message: ToWorker) -> bool {
        self.workers[worker].try_send(message).is_ok()
    }

    /// The rooms that an owner missed something of.
    #[must_use]
    pub fn behind(&self, owner: usize) -> &Behind {
        &self.behind[owner]
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    fn owner_of(&self, room: &Room) -> usize {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(room.as_str());
        (hash % self.owners.len() as u64) as usize
    }
}

impl Deliver for Links {
    fn deliver(&self, room: &Room, delivery: Delivery) {
        let owner = self.owner_of(room);
        let message = ToOwner::Delivery(room.clone(), delivery, Instant::now());
        if self.owners[owner].try_send(message).is_err() {
            self.behind[owner].mark(room);
        }
    }
}
