//! What membership says of itself to the one side that listens: Engine.IO sessions, whose records follow it.
//!
//! Owns no state. Always holds: the core names no type of `hub::engineio`; a connection that is no such session is told nothing. An event
//! is told when the entry is over in which it happened.

use crate::{
    hub::fanout::room_index::RoomIndex,
    model::{CommandId, Position, SubscribeTo},
    protocol::DialectId,
};

/// What happened to the membership of a connection.
#[derive(Debug)]
pub(crate) enum MembershipEvent {
    /// It asks for rooms. Its listener has them entered.
    Requested { rooms: Vec<SubscribeTo>, id: Option<CommandId> },
    /// It is in a room from `position` on, and was sent nothing of the room yet.
    Joined { room: RoomIndex, position: Position },
    /// It is in a room no more.
    Left { room: RoomIndex },
    /// It does not come into a room. `resumes`: the room was one of a session in this dialect that comes back.
    Refused { resumes: Option<DialectId> },
    /// A room of a session that comes back has answered, with everything that was missed or without.
    Recovered { room: RoomIndex, complete: bool },
    /// What its session in this dialect remembers is to be written, behind what the events before this one changed.
    Changed { dialect: DialectId },
}
