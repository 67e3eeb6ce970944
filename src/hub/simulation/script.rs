//! What happens in a simulated history: a list of steps made from a seed, independent of how the core answers them.
//!
//! Always holds: every list of steps can be carried out, so that any part of a failing one can be left out to shrink it.

use crate::model::{Conflate, SlowReceiver};

/// How many workers a history has.
pub const WORKERS: usize = 2;

/// How many clients a history has.
pub const CLIENTS: usize = 5;

/// How many rooms a history has.
pub const ROOMS: usize = 2;

/// Numbers from a seed (SplitMix64).
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One below `n`.
    pub fn below(&mut self, n: u64) -> usize {
        (self.next() % n) as usize
    }
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Time passes, in milliseconds.
    Pass(u64),
    /// An event enters a room's log.
    Publish(usize),
    /// The broker's next deliveries reach the pod.
    Deliver(usize),
    /// The broker loses its next delivery.
    Lose,
    /// The broker delivers the next one twice.
    Repeat,
    /// The broker swaps the next two.
    Reorder,
    /// The broker loses so many events of a room that it had acknowledged.
    RollBack(usize, u64),
    /// A room's log goes on under another epoch and has lost nothing.
    Rename(usize),
    /// A room's log loses its oldest events but for so many.
    Trim(usize, usize),
    /// The next reads of the log fail.
    FailReads(usize),
    /// The broker's subscription of a room is renewed.
    Renew(usize),
    /// A sequencer takes so many messages, and sends what is due.
    Sequence(usize, usize),
    /// A room's sequencer ends in a panic, and begins anew.
    Restart(usize),
    /// A read of the log goes on: it is carried out, or its answer arrives.
    Read(usize),
    /// A worker takes so many messages.
    Work(usize, usize),
    /// A worker's running fan-outs reach so many members more.
    FanOut(usize, usize),
    /// A worker gives up its empty rooms.
    Sweep(usize),
    /// A client subscribes to a room, from where it stopped if it may and wants to.
    Subscribe(usize, usize, bool),
    /// A client leaves a room.
    Unsubscribe(usize, usize),
    /// A client's connection ends.
    Disconnect(usize),
    /// A client connects to a worker.
    Connect(usize, usize),
    /// A client stops reading.
    StopReading(usize),
    /// A client reads everything that waits for it, and goes on reading.
    Resume(usize),
}

/// What a history is of.
#[derive(Debug, Clone)]
pub struct Script {
    /// What becomes of receivers that do not read, in each room.
    pub slow: [SlowReceiver; ROOMS],
    /// Whether a room conflates.
    pub conflate: [Conflate; ROOMS],
    /// The batch window in milliseconds.
    pub batch_window: u64,
    /// How many messages wait for a sequencer, and for a worker.
    pub queues: (usize, usize),
    /// What happens.
    pub steps: Vec<Step>,
}

impl Script {
    /// The history of a seed: at least 200 steps, one of them a fault of the broker.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let random = &mut random;
        let slow = [SlowReceiver::Gap, SlowReceiver::Conflate, SlowReceiver::Close];
        let slow = [slow[random.below(3)], slow[random.below(3)]];
        let conflate = [Conflate::None, if random.below(3) == 0 { Conflate::Key } else { Conflate::None }];
        let batch_window = [0, 0, 5, 20][random.below(4)];
        let queues = ([3, 8, 64][random.below(3)], [2, 6, 64][random.below(3)]);
        let mut steps: Vec<Step> = (0..CLIENTS)
            .flat_map(|client| {
                let (worker, room) = (random.below(WORKERS as u64), random.below(ROOMS as u64));
                [Step::Connect(client, worker), Step::Subscribe(client, room, false)]
            })
            .collect();
        let length = 200 + random.below(60);
        // Which faults a history has varies, so that each is also seen alone.
        let faults = 1 + random.below(255) as u64;
        while steps.len() < length {
            match random.below(60) {
                0 if allowed(faults, 3) => steps.extend(comes_back_after_a_rollback(random)),
                _ => steps.push(step(random, faults)),
            }
        }
        if !steps.iter().any(Step::is_fault_of_the_broker) {
            let at = 20 + random.below(150);
            steps.insert(at, [Step::Lose, Step::Repeat, Step::Reorder, Step::Rename(0)][random.below(4)]);
        }
        Self { slow, conflate, batch_window, queues, steps }
    }
}

fn allowed(faults: u64, fault: u64) -> bool {
    faults & (1 << fault) != 0
}

/// A client that has everything is away while its last event is lost and another one takes the same offset.
fn comes_back_after_a_rollback(random: &mut Random) -> Vec<Step> {
    let room = random.below(ROOMS as u64);
    let (client, worker) = (random.below(CLIENTS as u64), random.below(WORKERS as u64));
    let mut steps = vec![Step::Pass(30)];
    let settles = [
        Step::Deliver(8),
        Step::Sequence(0, 8),
        Step::Sequence(1, 8),
        Step::Read(0),
        Step::Read(0),
        Step::Sequence(0, 8),
        Step::Sequence(1, 8),
        Step::Pass(30),
        Step::Sequence(0, 8),
        Step::Sequence(1, 8),
        Step::Work(0, 8),
        Step::Work(1, 8),
        Step::FanOut(0, 20),
        Step::FanOut(1, 20),
    ];
    steps.extend(settles);
    steps.extend([Step::Disconnect(client), Step::RollBack(room, 1), Step::Publish(room)]);
    steps.extend(settles);
    steps.extend([Step::Connect(client, worker), Step::Subscribe(client, room, true)]);
    steps
}

fn step(random: &mut Random, faults: u64) -> Step {
    let room = random.below(ROOMS as u64);
    let client = random.below(CLIENTS as u64);
    let worker = random.below(WORKERS as u64);
    match random.below(100) {
        0..18 => Step::Publish(room),
        18..32 => Step::Deliver(1 + random.below(4)),
        32..46 => Step::Sequence(worker, 1 + random.below(6)),
        46..60 => Step::Work(worker, 1 + random.below(6)),
        60..70 => Step::FanOut(worker, 1 + random.below(4)),
        70..77 => Step::Read(random.below(8)),
        77..80 => Step::Pass(1 + random.below(30) as u64),
        80..84 => Step::Subscribe(client, room, random.below(4) > 0),
        84..86 => Step::Unsubscribe(client, room),
        86..88 => Step::Disconnect(client),
        88..91 => Step::Connect(client, worker),
        91..92 => Step::Sweep(worker),
        92..93 => Step::StopReading(client),
        93..94 => Step::Resume(client),
        94 if allowed(faults, 0) => Step::Lose,
        95 if allowed(faults, 1) => Step::Repeat,
        96 if allowed(faults, 2) => Step::Reorder,
        97 if allowed(faults, 3) => Step::RollBack(room, 1 + random.below(3) as u64),
        97 if allowed(faults, 4) => Step::Rename(room),
        98 if allowed(faults, 5) => Step::Trim(room, random.below(4)),
        98 if allowed(faults, 6) => Step::FailReads(1 + random.below(3)),
        99 if allowed(faults, 7) => [Step::Renew(room), Step::Restart(room)][random.below(2)],
        _ => Step::Publish(room),
    }
}

impl Step {
    fn is_fault_of_the_broker(&self) -> bool {
        matches!(
            self,
            Self::Lose
                | Self::Repeat
                | Self::Reorder
                | Self::RollBack(..)
                | Self::Rename(_)
                | Self::Trim(..)
                | Self::FailReads(_)
        )
    }

    /// Whether a client may be told after it that events are gone. A log that is renamed twice while it is read cannot say
    /// whether it lost something in between.
    pub fn may_cost_events(&self) -> bool {
        let loses = matches!(self, Self::RollBack(..) | Self::Trim(..) | Self::FailReads(_) | Self::StopReading(_));
        loses || matches!(self, Self::Rename(_))
    }
}
