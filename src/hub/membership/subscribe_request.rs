//! What a connection asks of a room, and how far that came.
//!
//! Shapes only.

use crate::{
    hub::{access::permit::JoinPermit, fanout::room_index::RoomIndex, membership::pending_join::JoinPurpose},
    model::{Since, Spelling},
    protocol::DialectId,
};

/// How a connection comes into a room.
#[derive(Debug, Default)]
pub(crate) struct SubscribeRequest {
    /// Where it stopped.
    pub(crate) since: Option<Since>,
    /// How it spells the room's name.
    pub(crate) spelling: Spelling,
    /// The pod puts it there, unasked and whatever the policy says of joining.
    pub(crate) server_side: bool,
    /// In which dialect it is told of the room; `None`: in its own.
    pub(crate) dialect: Option<DialectId>,
    /// Why it comes.
    pub(crate) purpose: JoinPurpose,
    /// The backend's permit, where it was asked.
    pub(crate) permit: Option<JoinPermit>,
}

/// Whether a connection has a place in a room.
pub(crate) enum Placement {
    /// It has, in the one of that number; how it came.
    There(RoomIndex, SubscribeRequest),
    /// The backend must be asked first, and nothing is done yet.
    NeedsPermit(SubscribeRequest),
    /// It is gone.
    Gone,
}

/// How far a connection came into a room.
#[must_use]
pub(crate) enum SubscribeOutcome {
    /// It is on its way, or gone meanwhile.
    Begun,
    /// The backend must be asked first, and nothing is done yet.
    NeedsPermit(SubscribeRequest),
}
