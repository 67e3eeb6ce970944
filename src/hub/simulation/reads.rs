//! Reads of a simulated log: by which part, of what, and what the log answers.

use std::sync::Arc;

use super::pod::SimulatedPod;
use crate::{
    broker::{BrokerError, History, HistoryQuery},
    hub::{
        Broadcast, Content,
        membership::pending_join::JoinAnswer,
        recovery::{
            cache::Missed,
            plan::{self, MAX_BYTES, MAX_EVENTS, Recovered},
        },
        sequencer::{effect::ReadTicket, shared_log::by_room},
    },
    model::{Position, Room, Since},
};

/// A read of the log: asked for, carried out, answered.
pub enum LogRead {
    /// By a sequencer.
    Sequencer { room: Room, ticket: ReadTicket, since: Since, answer: Option<History> },
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

/// What [`Recoveries`](crate::hub::Recoveries) answers.
pub fn missed(pod: &mut SimulatedPod, room: &Room, since: &Since, until: &Position) -> Result<Missed, BrokerError> {
    if pod.read_fails() {
        return Err(BrokerError::Unknown);
    }
    let at = pod.room_at(room);
    let query = HistoryQuery {
        since: Some(since.clone()),
        until: Some(until.offset),
        max_events: MAX_EVENTS,
        max_bytes: MAX_BYTES,
    };
    let (policy, now) = (&pod.policies[at], pod.now);
    Ok(match plan::plan(room, pod.logs[at].read(&query), since, until, policy) {
        Recovered::Exactly(batches) => {
            let broadcast = |batch| Arc::new(Broadcast::new(Content::Events(batch), Arc::clone(policy), now));
            Missed::All(batches.into_iter().flat_map(by_room).map(broadcast).collect())
        }
        Recovered::Not => Missed::Gone,
    })
}

/// What the log says to joins.
pub fn answer_for_join(
    pod: &mut SimulatedPod,
    room: &Room,
    since: Option<&Since>,
    target: &Position,
) -> Result<JoinAnswer, BrokerError> {
    let Some(since) = since else { return Ok(JoinAnswer::Fresh(None)) };
    if JoinAnswer::may_be_early(since, target) {
        let query = HistoryQuery { since: Some(since.clone()), until: None, max_events: 1, max_bytes: 1 };
        let history = pod.logs[pod.room_at(room)].read(&query);
        return Ok(JoinAnswer::if_early(since, &history));
    }
    Ok(match missed(pod, room, since, target)? {
        Missed::All(broadcasts) => JoinAnswer::Missed(broadcasts),
        Missed::Gone => JoinAnswer::Fresh(None),
    })
}
