//! What each worker knows of a room, as the room's sequencer sees it.
//!
//! Pure. Never knows what was sent, only whether it arrived. Always holds: a worker whose queue refused an update that has a promise
//! is told where the room stands by the next [`WorkerSeats::retry`].

use crate::{
    hub::{
        planted::{Fault, planted},
        sequencer::{effect::SequencerEffect, update::StreamUpdate},
    },
    model::Position,
};

/// What a worker knows of the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WorkerSeat {
    /// It has no members here.
    Empty,
    /// It waits for the broker's first answer.
    Waiting,
    /// It waits for the broker's answer to a sequencer that began anew, and may have missed what the one before it held.
    Restarting,
    /// It is on the list. Its queue refused the position that the stream begins at.
    Unplaced,
    /// It is on the list.
    Placed,
    /// It is on the list. Its queue refused a broadcast.
    Lagging,
}

impl WorkerSeat {
    fn is_listed(self) -> bool {
        matches!(self, Self::Placed | Self::Lagging)
    }
}

/// What all workers know of a room.
#[derive(Debug)]
pub struct WorkerSeats(Vec<WorkerSeat>);

impl WorkerSeats {
    /// So many workers without members.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self(vec![WorkerSeat::Empty; workers])
    }

    /// The same workers, of a sequencer that begins anew.
    #[must_use]
    pub fn restarted(&self) -> Self {
        let seat = |seat: &WorkerSeat| if *seat == WorkerSeat::Empty { *seat } else { WorkerSeat::Restarting };
        Self(self.0.iter().map(seat).collect())
    }

    /// Whether no worker has members.
    #[must_use]
    pub fn are_empty(&self) -> bool {
        self.0.iter().all(|seat| *seat == WorkerSeat::Empty)
    }

    /// The workers that have members and were told where the stream begins.
    pub fn listed(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().filter(|(_, seat)| seat.is_listed()).map(|(worker, _)| worker)
    }

    /// The workers that a full queue cost something which [`WorkerSeats::retry`] makes good.
    pub fn lagging(&self) -> impl Iterator<Item = usize> + '_ {
        let lags = |seat: &WorkerSeat| matches!(seat, WorkerSeat::Unplaced | WorkerSeat::Lagging);
        self.0.iter().enumerate().filter(move |(_, seat)| lags(seat)).map(|(worker, _)| worker)
    }

    /// A worker has its first member. `position`: where its stream begins; `None`: the broker has not answered.
    pub fn join(&mut self, worker: usize, position: Option<&Position>, effects: &mut Vec<SequencerEffect>) {
        let seat = &mut self.0[worker];
        match position {
            Some(position) => {
                // A worker that lags is told where the room stands as well.
                if *seat != WorkerSeat::Lagging {
                    *seat = WorkerSeat::Placed;
                }
                effects.push(SequencerEffect::Tell(worker, StreamUpdate::Placed(position.clone())));
            }
            None if *seat == WorkerSeat::Restarting => {}
            None => *seat = WorkerSeat::Waiting,
        }
    }

    /// A worker has lost its last member.
    pub fn leave(&mut self, worker: usize) {
        self.0[worker] = WorkerSeat::Empty;
    }

    /// The broker has answered: the streams of the workers that wait begin here.
    pub fn started(&mut self, position: &Position, effects: &mut Vec<SequencerEffect>) {
        for worker in 0..self.0.len() {
            let before = self.0[worker];
            if before == WorkerSeat::Restarting && planted(Fault::SilentRestart) {
                self.0[worker] = WorkerSeat::Placed;
            } else if matches!(before, WorkerSeat::Waiting | WorkerSeat::Restarting) {
                self.join(worker, Some(position), effects);
            }
        }
    }

    /// A worker's queue was full for an update.
    pub fn refused(&mut self, worker: usize, update: &StreamUpdate) {
        if planted(Fault::FullWorkerQueue) {
            return;
        }
        let seat = &mut self.0[worker];
        match update {
            StreamUpdate::Placed(_) if seat.is_listed() => *seat = WorkerSeat::Unplaced,
            StreamUpdate::Broadcast(broadcast) if *seat == WorkerSeat::Placed && broadcast.range().is_some() => {
                *seat = WorkerSeat::Lagging;
            }
            StreamUpdate::Head(_) if *seat == WorkerSeat::Placed => *seat = WorkerSeat::Lagging,
            // A stream whose rename was refused asks the log when the next batch comes under the new name; an unlogged
            // event has no promise.
            _ => {}
        }
    }

    /// Tells a worker whose queue was full where the room stands.
    pub fn retry(&mut self, worker: usize, position: &Position, effects: &mut Vec<SequencerEffect>) {
        let seat = &mut self.0[worker];
        match seat {
            // A stream that had a position keeps it, and is to hear that the room stands elsewhere.
            WorkerSeat::Unplaced => {
                effects.push(SequencerEffect::Tell(worker, StreamUpdate::Placed(position.clone())));
            }
            WorkerSeat::Lagging => {}
            WorkerSeat::Empty | WorkerSeat::Waiting | WorkerSeat::Restarting | WorkerSeat::Placed => return,
        }
        *seat = WorkerSeat::Placed;
        effects.push(SequencerEffect::Tell(worker, StreamUpdate::Head(position.clone())));
    }
}
