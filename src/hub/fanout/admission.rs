//! A join that is over: the connection becomes a member.
//!
//! Pure. Pods and the simulation say what it says. Always holds: a member hears where it stands before anything of the room, or of
//! a gap that it cannot be told nothing at all.

use std::sync::Arc;

use crate::{
    hub::{
        fanout::broadcast::Broadcast,
        membership::pending_join::{JoinPurpose, PendingJoin},
    },
    model::{Offset, Position},
};

/// A join that is over.
#[derive(Debug)]
pub struct Admission {
    /// The connection, and why it joins.
    pub join: PendingJoin,
    /// What follows this position is the member's.
    pub position: Position,
    /// Whether what it missed is in `before`, all of it.
    pub recovered: bool,
    /// What it gets ahead of the live stream.
    pub before: Arc<[Arc<Broadcast>]>,
}

/// What a new member is told first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstWords {
    /// That it is in the room, and from where on.
    Subscribed,
    /// That what follows this offset is gone.
    Gap(Offset),
    /// Nothing: it has what it had, and the rest follows.
    Nothing,
    /// It would be told of a gap, and its dialect cannot: it is closed.
    Untold,
}

impl Admission {
    /// What the connection is told first. `tells_gaps`: whether its dialect has words for a gap.
    #[must_use]
    pub fn first_words(&self, tells_gaps: bool) -> FirstWords {
        match (&self.join.purpose, &self.join.since) {
            (JoinPurpose::Subscribe(_) | JoinPurpose::Begin(_) | JoinPurpose::Resume, _) => FirstWords::Subscribed,
            (JoinPurpose::CatchUp, Some(since)) if !self.recovered => {
                if tells_gaps {
                    FirstWords::Gap(since.offset)
                } else {
                    FirstWords::Untold
                }
            }
            (JoinPurpose::CatchUp, _) => FirstWords::Nothing,
        }
    }
}
