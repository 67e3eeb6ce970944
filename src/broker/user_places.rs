//! Which connections hold one of their user's places, in the whole fleet.
//!
//! Knows a connection's name as a number and nothing else of it. Always holds: each claim is judged, by the fleet or, where it cannot be
//! asked, by what this pod knows; never by both. Claims are judged in their order; repeating one, or giving back what is not held, is
//! harmless.

use std::{future::Future, pin::Pin, sync::Arc};

use crate::model::PlaceLimit;

/// A connection and the user whose place it wants or has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceClaim {
    /// The user.
    pub user: Arc<str>,
    /// The connection's name.
    pub connection: u64,
}

/// A connection that has lost its place to another one of its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DisplacedConnection {
    /// Its name.
    pub connection: u64,
    /// Whether it is this pod's.
    pub here: bool,
}

/// What became of a claim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlaceVerdict {
    /// Whether the connection has a place now.
    pub taken: bool,
    /// Those that have lost theirs to it, the oldest first.
    pub displaced: Vec<DisplacedConnection>,
    /// Whether this pod alone judged, because the fleet could not be asked.
    pub alone: bool,
}

/// The verdicts, in the order of the claims.
pub type Verdicts<'a> = Pin<Box<dyn Future<Output = Vec<PlaceVerdict>> + Send + 'a>>;

/// The places of users.
pub trait UserPlaces: Send + Sync {
    /// Has connections take places of their users.
    fn take_places<'a>(&'a self, claims: &'a [PlaceClaim], limit: PlaceLimit) -> Verdicts<'a>;
    /// Gives places back.
    fn give_back<'a>(&'a self, claims: &'a [PlaceClaim]) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}
