//! What a room's stream wants done by what drives it.

use std::sync::Arc;

use crate::{
    broker::BrokerError,
    hub::{
        fanout::{admission::Admission, broadcast::Broadcast, room_index::RoomIndex},
        membership::pending_join::{Parts, PendingJoin},
    },
    model::{Position, Since},
};

/// What a stream wants done, in this order.
#[derive(Debug)]
pub enum StreamEffect {
    /// Fan this out to the members of a room of the stream: its own, or one that shares its log.
    /// `RoomStream::fan_out_finished` follows.
    StartFanOut(Arc<Broadcast>, FanOutTo),
    /// Read what lies between, for all members; the answer goes to `RoomStream::hole_read`.
    ReadHole {
        /// Where the stream stands.
        since: Since,
        /// Where it is known to stand elsewhere.
        until: Position,
    },
    /// Read what joiners miss; the answer goes to `RoomStream::join_read`.
    ReadForJoin {
        /// Names this read.
        ticket: u64,
        /// Where they stopped; `None`: only retained values are wanted.
        since: Option<Since>,
        /// Where the stream stands.
        target: Position,
        /// In a shared log: the rooms that are joined.
        parts: Parts,
    },
    /// Make the connection of this join a member.
    Admit(Admission),
    /// The log could not say what this join missed.
    TurnAway(PendingJoin, BrokerError),
    /// So many joins were answered: with all that they missed (`true`), or with the news that it is gone.
    CountRecoveries(bool, usize),
    /// An event without a promise was dropped, because the backlog is full.
    CountDropped,
}

/// Which members a fan-out is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FanOutTo {
    /// Those of the stream's own room.
    Own,
    /// Those of a room that shares the stream's log.
    Part(RoomIndex),
}
