//! What the backend is told of a connection, and what it permits.
//!
//! Shapes only.

use std::sync::Arc;

use crate::{
    auth::Grant,
    model::{ErrorCode, Event},
    session::ConnectionId,
};

/// The permit of the backend to join a room.
#[derive(Debug, Clone, Default)]
pub struct JoinPermit {
    /// What the room shows a new member where nothing is retained.
    pub snapshot: Option<Arc<[Event]>>,
}

/// The connection for which the backend is asked.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Its connection, where it has a name already.
    pub connection: Option<ConnectionId>,
    /// What it may do.
    pub grant: Grant,
    /// What carries it.
    pub transport: &'static str,
    /// What it speaks.
    pub dialect: Arc<str>,
}

/// Why something is refused: what the client is told.
pub type RefusalError = (ErrorCode, String);
