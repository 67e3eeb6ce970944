//! Whether the other end of a link takes what it is told. Reads no clock: it looks each time that it is asked to.

use std::collections::VecDeque;

use super::out_queue::OutQueue;

/// How far a link's queue had come at the last looks.
pub struct TakingPace {
    told: VecDeque<u64>,
    looks: usize,
}

impl TakingPace {
    /// What was told so many looks ago must have been taken.
    #[must_use]
    pub fn new(looks: usize) -> Self {
        Self { told: VecDeque::with_capacity(looks + 1), looks }
    }

    /// Looks once. `true`: what was told so many looks ago still waits.
    pub fn is_too_slow(&mut self, queue: &OutQueue) -> bool {
        let (told, taken) = queue.progress();
        self.told.push_back(told);
        let is_due = self.told.len() > self.looks;
        is_due && self.told.pop_front().is_some_and(|told| taken < told)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::broker::relay::pod_memory::TestMemory;

    #[tokio::test]
    async fn what_was_told_long_ago_must_have_been_taken() {
        let queue = OutQueue::new(0, TestMemory::plenty());
        let mut pace = TakingPace::new(3);
        let big = "x".repeat(crate::broker::relay::MAX_TOGETHER);
        // It takes one message a look, and is told one.
        for _ in 0..10 {
            queue.send(&big);
            assert!(!pace.is_too_slow(&queue));
            queue.next().await.unwrap();
        }
        // It is told two.
        let slow_at = (0..20).position(|_| {
            queue.send(&big);
            queue.send(&big);
            futures_util::future::FutureExt::now_or_never(queue.next()).unwrap().unwrap();
            pace.is_too_slow(&queue)
        });
        assert!(slow_at.is_some_and(|at| at > 3), "{slow_at:?}");
    }
}
