//! A connection's place in a room.
//!
//! Never does anything: the worker moves it from one standing to the next. Always holds: a connection has one for each room that it is
//! in, and none for a room that it left.

use crate::{
    hub::{
        RoomIndex,
        fanout::{broadcast::Range, members::Place},
    },
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
    /// In what the connection asked for it: connections of one Engine.IO session speak several dialects.
    pub dialect: DialectId,
    /// How the connection spelt the room's name.
    pub spelling: Spelling,
}

/// How a connection stands in a room.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    /// Waits for what it missed; live frames are held for it.
    Joining,
    /// Gets every frame.
    Member(Place),
    /// Fell behind and is out of the fan-out: only where it stopped is kept.
    Behind(Box<Range>),
}
