//! Which policy a room has: the first whose pattern matches the room's name, else the default.

use std::sync::Arc;

use globset::GlobMatcher;

use crate::model::{Policy, Room};

/// The policies in the order of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    matched: Vec<(Vec<GlobMatcher>, Arc<Policy>)>,
    default: Arc<Policy>,
}

impl Policies {
    /// Policies with their patterns, and the one for every other room.
    #[must_use]
    pub fn new(matched: Vec<(Vec<GlobMatcher>, Policy)>, default: Policy) -> Self {
        let matched = matched.into_iter().map(|(patterns, policy)| (patterns, Arc::new(policy))).collect();
        Self { matched, default: Arc::new(default) }
    }

    /// The room's policy. Costs a walk over the patterns: hold the answer for as long as the room is held.
    #[must_use]
    pub fn of(&self, room: &Room) -> Arc<Policy> {
        let found = self.matched.iter().find(|(patterns, _)| patterns.iter().any(|p| p.is_match(room.as_str())));
        Arc::clone(found.map_or(&self.default, |(_, policy)| policy))
    }
}
