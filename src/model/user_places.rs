//! The places of a user: how many connections it may have, and what gives way when they are taken.

/// What becomes of a connection whose user has as many as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The connection that came last is closed.
    RefuseNewest,
    /// It stays, and the user's oldest one is closed.
    CloseOldest,
}

impl WhenFull {
    /// As the configuration says it.
    pub const WORDS: &'static [(&'static str, Self)] =
        &[("refuse_newest", Self::RefuseNewest), ("close_oldest", Self::CloseOldest)];
}

/// How many connections one user may have, in the whole fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaceLimit {
    /// The most.
    pub connections: usize,
    /// What gives way.
    pub when_full: WhenFull,
}
