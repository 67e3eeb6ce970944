//! What everything in a simulated pod reaches: the logs, the policies, the queues, the clients, the time.
//!
//! Never steps anything. Always holds: the time passes only by a step of the script.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    client::SimulatedClient,
    log::SimulatedLog,
    log_read::LogRead,
    script::{CLIENTS, ROOMS, Script},
};
use crate::{
    hub::worker::queues::WorkerQueues,
    model::{Policy, Room},
};

/// What is around the workers and sequencers of a simulated pod.
pub struct SimulatedWorld {
    pub now: Instant,
    pub rooms: Vec<Room>,
    pub policies: Vec<Arc<Policy>>,
    pub logs: Vec<SimulatedLog>,
    pub queues: WorkerQueues,
    pub clients: Vec<SimulatedClient>,
    /// Reads of the logs that are under way.
    pub reads: Vec<LogRead>,
    /// How many of the next reads fail.
    pub failing_reads: usize,
    /// Whether joiners lost what was held for them.
    pub holds_overflowed: bool,
}

impl SimulatedWorld {
    /// A world in which nothing has happened.
    pub fn new(script: &Script, queues: WorkerQueues) -> Self {
        let rooms: Vec<Room> = (0..ROOMS).map(|room| Room::parse(&format!("r{room}")).unwrap()).collect();
        let policy = |room: usize| {
            Arc::new(Policy {
                batch_window: Duration::from_millis(script.batch_window),
                slow: script.slow[room],
                conflate: script.conflate[room],
                history_size: 1_000,
                compress_from: None,
                ..Policy::default()
            })
        };
        Self {
            now: Instant::now(),
            rooms,
            policies: (0..ROOMS).map(policy).collect(),
            logs: (0..ROOMS).map(|_| SimulatedLog::new()).collect(),
            queues,
            clients: (0..CLIENTS).map(|name| SimulatedClient::new(name, &script.conflate)).collect(),
            reads: Vec::new(),
            failing_reads: 0,
            holds_overflowed: false,
        }
    }

    /// Which room a name is.
    pub fn room_at(&self, name: &Room) -> usize {
        self.rooms.iter().position(|room| room == name).unwrap()
    }

    /// Whether the next read of a log fails.
    pub fn read_fails(&mut self) -> bool {
        let fails = self.failing_reads > 0;
        self.failing_reads = self.failing_reads.saturating_sub(1);
        fails
    }
}
