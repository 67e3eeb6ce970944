//! What becomes of a frame that is offered to a connection.
//!
//! Pure: how much waits comes in, the outcome goes out. Pods and the simulation ask the same. Always holds: a connection that
//! owes more than it may is noticed by the next frame.

use crate::hub::{
    connection::budget::Budget,
    planted::{Fault, planted},
};

/// What became of an offered frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferOutcome {
    /// The kernel has it.
    Sent,
    /// It waits.
    Queued,
    /// It waits, and the connection now owes more than it may: the room's policy decides.
    Overflow,
    /// The socket failed.
    Failed,
    /// It cannot be told, and must not go on as if nothing had been.
    Untold,
}

/// How much a connection may owe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueBounds {
    /// The most bytes.
    pub limit: usize,
    /// Whether the queues of the pod together hold as much as they may.
    pub spent: bool,
}

impl QueueBounds {
    /// What is allowed now.
    #[inline]
    #[must_use]
    pub fn now(limit: usize, budget: &Budget) -> Self {
        Self { limit, spent: budget.is_spent() }
    }

    /// Whether a connection that owes so many bytes owes more than it may.
    #[inline]
    #[must_use]
    pub fn are_passed(self, queued: usize) -> bool {
        (queued > self.limit || self.spent) && !planted(Fault::UnboundedQueue)
    }

    /// What became of a frame that waits behind so many bytes. What waited before decides: a frame that alone is more than may be
    /// owed does not make its receiver a slow one.
    #[inline]
    #[must_use]
    pub fn outcome(self, queued: usize) -> OfferOutcome {
        if self.are_passed(queued) { OfferOutcome::Overflow } else { OfferOutcome::Queued }
    }
}
