//! A connection's place in a room.
//!
//! A shape only: the core moves it from one standing to the next. Always holds: a connection has one for each room that it is in,
//! and none for a room that it left.

use crate::{
    hub::fanout::{members::Place, range::Range, room_index::RoomIndex},
    model::Spelling,
    protocol::DialectId,
};

/// One room that a connection is in.
#[derive(Debug)]
pub struct Subscription {
    /// The room's number on the worker.
    pub room: RoomIndex,
    /// How the connection stands in it.
    pub standing: Standing,
    /// Whether the pod put it there, unasked.
    pub server_side: bool,
    /// The dialect in which the connection asked for it: an Engine.IO session may speak several.
    pub dialect: DialectId,
    /// How the connection spelt the room's name.
    pub spelling: Spelling,
}

/// How a connection stands in a room.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    /// It waits for what it missed. Live frames are held for it.
    Joining,
    /// It gets every frame.
    Member(Place),
    /// It fell behind and is out of the fan-out. Only the range is kept from which it goes on.
    Behind(Box<Range>),
}
