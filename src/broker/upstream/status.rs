//! An edge's links as an operator sees them.
//!
//! Never asks a home. Always holds: nothing of it walks rooms, however many are followed.

use std::time::Instant;

use super::Upstream;
use crate::model::LinkStatus;

impl Upstream {
    /// How each link is, in the order of `upstream.urls`.
    #[must_use]
    pub fn links(&self, now: Instant) -> Vec<LinkStatus> {
        let state = &self.state;
        let (leader, rooms) = (state.leader(), state.rooms.counts());
        let show = |(index, (url, ledger)): (usize, (&String, &super::ledger::LinkLedger))| {
            ledger.show(url, leader == Some(index), rooms.get(index).copied().unwrap_or_default(), now)
        };
        state.settings.urls.iter().zip(&state.ledgers).enumerate().map(show).collect()
    }
}
