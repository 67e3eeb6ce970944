//! What a simulated log answers to a read.

use std::sync::Arc;

use super::world::SimulatedWorld;
use crate::{
    broker::{BrokerError, HistoryQuery},
    hub::{
        fanout::broadcast::{Broadcast, Content},
        membership::pending_join::JoinAnswer,
        recovery::{
            cache::Missed,
            plan::{self, MAX_BYTES, MAX_EVENTS, Recovered},
        },
        sequencer::shared_log::by_room,
    },
    model::{Position, Room, Since},
};

/// What [`Recoveries`](crate::hub::Recoveries) answers.
pub fn missed(world: &mut SimulatedWorld, room: &Room, since: &Since, until: &Position) -> Result<Missed, BrokerError> {
    if world.read_fails() {
        return Err(BrokerError::Unknown);
    }
    let at = world.room_at(room);
    let query = HistoryQuery {
        since: Some(since.clone()),
        until: Some(until.offset),
        max_events: MAX_EVENTS,
        max_bytes: MAX_BYTES,
    };
    let (policy, now) = (&world.policies[at], world.now);
    Ok(match plan::plan(room, world.logs[at].read(&query), since, until, policy) {
        Recovered::Exactly(batches) => {
            let broadcast = |batch| Arc::new(Broadcast::new(Content::Events(batch), Arc::clone(policy), now));
            Missed::All(batches.into_iter().flat_map(by_room).map(broadcast).collect())
        }
        Recovered::Not => Missed::Gone,
    })
}

/// What the log says to joins.
pub fn answer_for_join(
    world: &mut SimulatedWorld,
    room: &Room,
    since: Option<&Since>,
    target: &Position,
) -> Result<JoinAnswer, BrokerError> {
    let Some(since) = since else { return Ok(JoinAnswer::Fresh(None)) };
    if JoinAnswer::may_be_early(since, target) {
        let query = HistoryQuery { since: Some(since.clone()), until: None, max_events: 1, max_bytes: 1 };
        let history = world.logs[world.room_at(room)].read(&query);
        return Ok(JoinAnswer::if_early(since, &history));
    }
    Ok(match missed(world, room, since, target)? {
        Missed::All(broadcasts) => JoinAnswer::Missed(broadcasts),
        Missed::Gone => JoinAnswer::Fresh(None),
    })
}
