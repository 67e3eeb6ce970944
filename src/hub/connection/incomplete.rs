//! What there is of a client's message that has not ended: counted on the pod's budget, and timed from its first byte.
//!
//! Never holds the bytes: the transport's reader does. Always holds: what is counted is counted off when the message ends, or its
//! connection.

use std::sync::Arc;

use crate::hub::connection::budget::Budget;

/// A connection's message that has not ended. There from the first of them until no clock runs for one.
#[derive(Debug)]
pub struct IncompleteMessage {
    held: usize,
    /// When it began, in milliseconds since the worker began; `None`: the last one has ended.
    since_ms: Option<u64>,
    /// How many messages had come before it.
    behind: u32,
    budget: Arc<Budget>,
}

impl IncompleteMessage {
    /// None yet.
    #[must_use]
    pub fn new(budget: Arc<Budget>) -> Self {
        Self { held: 0, since_ms: None, behind: 0, budget }
    }

    /// Notes how many bytes the reader holds, and whether they are of a message that has not ended. `messages`: how many have.
    pub fn note(&mut self, held: usize, has_begun: bool, messages: u32, now_ms: u64) {
        self.budget.take(held);
        self.budget.give(std::mem::replace(&mut self.held, held));
        if !has_begun {
            self.since_ms = None;
        } else if self.since_ms.is_none() || self.behind != messages {
            (self.since_ms, self.behind) = (Some(now_ms), messages);
        }
    }

    /// The bytes that are held.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held
    }

    /// When it must have ended, if it lasts at most `time_ms`; `None`: nothing has begun.
    #[must_use]
    pub fn ends_by(&self, time_ms: u64) -> Option<u64> {
        self.since_ms.map(|since| since + time_ms)
    }
}

impl Drop for IncompleteMessage {
    fn drop(&mut self) {
        self.budget.give(self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_until_the_message_ends() {
        let budget = Arc::new(Budget::new(1_000));
        let mut incomplete = IncompleteMessage::new(Arc::clone(&budget));
        incomplete.note(400, true, 0, 5);
        incomplete.note(700, true, 0, 9);
        assert_eq!((budget.held(), incomplete.ends_by(100)), (700, Some(105)), "from its first byte");
        incomplete.note(0, false, 1, 10);
        assert_eq!((budget.held(), incomplete.ends_by(100)), (0, None));
        incomplete.note(300, true, 1, 20);
        drop(incomplete);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn the_next_message_has_a_time_of_its_own() {
        let mut incomplete = IncompleteMessage::new(Arc::new(Budget::new(1_000)));
        incomplete.note(10, true, 0, 5);
        incomplete.note(10, true, 3, 50);
        assert_eq!(incomplete.ends_by(100), Some(150), "three have ended in the same read");
    }
}
