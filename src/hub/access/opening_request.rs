//! What a connection asked for when it came, and its first room.
//!
//! Shapes only.

use http::Uri;

use crate::{
    model::{CommandId, SubscribeTo},
    protocol::DialectId,
};

/// What a connection asked for when it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpeningRequest {
    /// In which dialect.
    pub dialect: DialectId,
    /// Path and query.
    pub target: Uri,
    /// What it said of itself, as JSON; empty: nothing.
    pub auth: Box<str>,
    /// As whose answer it is told of its rooms.
    pub id: Option<CommandId>,
}

/// The first room of a connection, and what waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstRoom {
    /// What the connection asked for.
    pub request: OpeningRequest,
    /// Whether it is greeted there.
    pub greets: bool,
    /// The other rooms.
    pub rest: Vec<SubscribeTo>,
    /// As whose answer it is told of them.
    pub id: Option<CommandId>,
}
