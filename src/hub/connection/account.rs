//! What one connection's queues are owed and hold, counted on the pod's [`Budget`] as well.
//!
//! Always holds: what is left when the connection goes is taken off the pod's account.

use std::sync::Arc;

use crate::hub::Budget;

/// One connection's share of the two accounts.
#[derive(Debug)]
pub struct Account {
    owed: usize,
    booked: usize,
    budget: Arc<Budget>,
}

impl Account {
    /// An empty account.
    #[must_use]
    pub fn new(budget: Arc<Budget>) -> Self {
        Self { owed: 0, booked: 0, budget }
    }

    /// The bytes that the connection is owed, each shared frame in full.
    #[must_use]
    pub fn owed(&self) -> usize {
        self.owed
    }

    /// Counts bytes that the connection is owed, and those of them (and their nodes) that it alone holds.
    pub fn add(&mut self, owed: usize, booked: usize) {
        self.owed += owed;
        self.booked += booked;
        self.budget.owe(owed);
        self.budget.take(booked);
    }

    /// Counts them off again.
    pub fn settle(&mut self, owed: usize, booked: usize) {
        self.owed -= owed;
        self.booked -= booked;
        self.budget.settle(owed);
        self.budget.give(booked);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.budget.give(self.booked);
        self.budget.settle(self.owed);
    }
}
