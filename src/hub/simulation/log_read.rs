//! A read of a simulated log: asked for, carried out, answered.

use crate::{
    broker::{BrokerError, History},
    hub::{membership::pending_join::JoinAnswer, recovery::cache::Missed, sequencer::effect::ReadTicket},
    model::{Offset, Position, Room, Since},
};

/// A read of the log: asked for, carried out, answered.
pub enum LogRead {
    /// By a sequencer.
    Sequencer { room: Room, ticket: ReadTicket, since: Since, until: Option<Offset>, answer: Option<History> },
    /// By a stream, for all members.
    Hole { worker: usize, room: Room, since: Since, until: Position, answer: Option<Result<Missed, BrokerError>> },
    /// By a stream, for joins.
    Join {
        worker: usize,
        room: Room,
        ticket: u64,
        since: Option<Since>,
        target: Position,
        answer: Option<Result<JoinAnswer, BrokerError>>,
    },
}

impl LogRead {
    /// Which worker asked.
    pub fn worker(&self) -> usize {
        match self {
            Self::Sequencer { .. } => 0,
            Self::Hole { worker, .. } | Self::Join { worker, .. } => *worker,
        }
    }
}
