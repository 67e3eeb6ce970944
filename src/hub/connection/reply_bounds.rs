//! How much of what is said to one connection alone may wait.
//!
//! Pure. Always holds: a pod that holds nearly as much as it may keeps much less for each connection than one that does not.

use crate::hub::connection::budget::Budget;

/// What is allowed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyBounds {
    /// `limits.send_queue`.
    limit: usize,
    /// Whether the pod holds nearly as much as it may.
    tight: bool,
}

impl ReplyBounds {
    /// What is allowed with a queue of `limit` bytes.
    #[must_use]
    pub fn now(limit: usize, budget: &Budget) -> Self {
        Self { limit, tight: budget.is_tight() }
    }

    /// Whether replies alone have filled the queue: a client that asks for more than it reads is closed.
    #[must_use]
    pub fn are_flooded(self, queued: usize) -> bool {
        queued > if self.tight { self.limit / 8 } else { 2 * self.limit }
    }

    /// Whether a reply of so many bytes is left out, because the pod holds nearly as much as it may.
    #[must_use]
    pub fn refuse(self, reply: usize) -> bool {
        self.tight && reply > self.limit / 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_is_short_of_memory_keeps_less_for_each() {
        let budget = Budget::new(1_000);
        let bounds = ReplyBounds::now(640, &budget);
        assert!(!bounds.are_flooded(1_280) && bounds.are_flooded(1_281) && !bounds.refuse(10_000));
        budget.take(1_000);
        let bounds = ReplyBounds::now(640, &budget);
        assert!(!bounds.are_flooded(80) && bounds.are_flooded(81));
        assert!(!bounds.refuse(10) && bounds.refuse(11));
    }
}
