//! A connection on its way into a room, and what the log answers about it.
//!
//! Pure: no log is read here.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::{
    broker::History,
    hub::{
        access::opening_request::FirstRoom,
        connection::key::ConnectionKey,
        fanout::{broadcast::Broadcast, room_index::RoomIndex},
    },
    model::{CommandId, Event, Offset, Position, Since},
};

/// Why a connection joins a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinPurpose {
    /// It subscribes.
    Subscribe(Option<CommandId>),
    /// Its dialect begins with the room.
    Begin(Box<FirstRoom>),
    /// It had fallen behind.
    CatchUp,
    /// Its session comes back, on whatever worker.
    Resume,
}

impl Default for JoinPurpose {
    fn default() -> Self {
        Self::Subscribe(None)
    }
}

/// A connection on its way into a room.
#[derive(Debug, Clone)]
pub struct PendingJoin {
    /// The connection.
    pub key: ConnectionKey,
    /// Where it stopped.
    pub since: Option<Since>,
    /// Why it joins.
    pub purpose: JoinPurpose,
    /// What the backend shows it where nothing is retained.
    pub snapshot: Option<Arc<[Event]>>,
    /// In a shared log: the rooms that it joins, each with the offset up to which it was not in it. Otherwise none.
    pub parts: Parts,
}

/// Rooms of a shared log, each with an offset.
pub type Parts = SmallVec<[(RoomIndex, Offset); 1]>;

/// What the log answers about joins that stopped at the same place.
#[derive(Debug)]
pub enum JoinAnswer {
    /// Exactly what they missed.
    Missed(Vec<Arc<Broadcast>>),
    /// They stand beyond this worker's last flush, and the log confirms it.
    Early,
    /// What they missed is gone, or they want nothing older; the retained values, where the room retains any.
    Fresh(Option<Arc<Broadcast>>),
}

impl JoinAnswer {
    /// Whether joins that stopped at `since` may have seen more than the stream that stands at `target`: the log is asked. A room's first
    /// event may name another epoch than the offset 0 before it, at which a stream stands that has not heard of it yet.
    #[must_use]
    pub fn may_be_early(since: &Since, target: &Position) -> bool {
        since.offset > target.offset && (since.epoch == target.epoch || target.offset == 0)
    }

    /// Whether the log has what joins saw that may be early.
    #[must_use]
    pub fn if_early(since: &Since, history: &History) -> Self {
        let confirmed = history.epoch == since.epoch && history.end >= since.offset;
        if confirmed { Self::Early } else { Self::Fresh(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Epoch;

    #[test]
    fn a_join_may_have_seen_the_first_events_before_the_stream() {
        let since = |epoch: &str, offset| Since { epoch: Epoch::new(epoch), offset };
        let target = |epoch: &str, offset| Position::new(Epoch::new(epoch), offset);
        assert!(JoinAnswer::may_be_early(&since("a", 2), &target("a", 1)));
        assert!(
            JoinAnswer::may_be_early(&since("a", 2), &target("before", 0)),
            "it hears of that epoch with its first event"
        );
        assert!(!JoinAnswer::may_be_early(&since("a", 2), &target("b", 1)));
        assert!(!JoinAnswer::may_be_early(&since("a", 2), &target("a", 2)));
        assert!(!JoinAnswer::may_be_early(&since("before", 0), &target("before", 0)));
    }
}
