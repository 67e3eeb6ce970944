//! A request that is upgraded to a WebSocket, and what its socket carries from then on.

use ::http::Response;

use super::far_sessions::FarSession;
use crate::{
    hub::{AcceptedConnection, PollingSession, Seat},
    protocol::Framing,
};

/// A request that becomes a WebSocket.
pub struct Admission {
    /// The answer to send.
    pub answer: Response<()>,
    /// What the socket goes on as.
    pub continues_as: UpgradeTarget,
}

/// What an upgraded socket goes on as.
pub enum UpgradeTarget {
    /// A connection of its own.
    Connection(AcceptedConnection),
    /// A probe for a session that polls, on a worker of this pod.
    Probe(PollingSession, Framing),
    /// The same on another pod. It takes a place here all the same.
    FarSession(FarSession, Seat),
}
