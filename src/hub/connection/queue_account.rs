//! What one connection's queues are owed and hold, counted on the pod's [`Budget`] as well.
//!
//! Always holds: what is left when the connection goes is taken off the pod's account.

use std::sync::Arc;

use crate::hub::connection::budget::Budget;

/// One connection's share of the two accounts.
#[derive(Debug)]
pub struct QueueAccount {
    queued: usize,
    booked: usize,
    budget: Arc<Budget>,
}

impl QueueAccount {
    /// An empty account.
    #[must_use]
    pub fn new(budget: Arc<Budget>) -> Self {
        Self { queued: 0, booked: 0, budget }
    }

    /// The bytes that the connection is owed, each shared frame in full.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued
    }

    /// Counts bytes that the connection is owed, and those of them (and their nodes) that it alone holds.
    pub fn add(&mut self, queued: usize, booked: usize) {
        self.queued += queued;
        self.booked += booked;
        self.budget.owe(queued);
        self.budget.take(booked);
    }

    /// Counts them off again.
    pub fn settle(&mut self, queued: usize, booked: usize) {
        self.queued -= queued;
        self.booked -= booked;
        self.budget.settle(queued);
        self.budget.give(booked);
    }
}

impl Drop for QueueAccount {
    fn drop(&mut self) {
        self.budget.give(self.booked);
        self.budget.settle(self.queued);
    }
}
