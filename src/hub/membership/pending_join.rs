//! A connection on its way into a room, and what the log answers about it.

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
    /// Whether joins that stopped at `since` may have seen more than the stream that stands at `target`: the log is asked.
    #[must_use]
    pub fn may_be_early(since: &Since, target: &Position) -> bool {
        since.epoch == target.epoch && since.offset > target.offset
    }

    /// Whether the log has what joins saw that may be early.
    #[must_use]
    pub fn if_early(since: &Since, history: &History) -> Self {
        let confirmed = history.epoch == since.epoch && history.end >= since.offset;
        if confirmed { Self::Early } else { Self::Fresh(None) }
    }
}
