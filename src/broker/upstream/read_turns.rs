//! Turns of the reads of a home that may bring much: of logs, members and retained values, which clients ask for as often as they may.
//!
//! Bounded: so many are under way, an eighth of `upstream.calls` at most, and [`WAITING`] wait, at no cost to the home. Always holds: however
//! much is read, calls are left for what is published, and what is published waits behind few reads at the home.

use std::sync::Arc;

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// The most reads that are under way: enough for one a millisecond over an ocean.
const UNDER_WAY: usize = 128;

/// The most that wait for their turn.
const WAITING: usize = 4_096;

/// The turns.
pub(super) struct ReadTurns {
    under_way: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// A read's turn, until this is dropped.
#[derive(Debug)]
pub(super) struct ReadTurn(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

impl ReadTurns {
    /// Those of an edge that may have so many calls under way.
    pub(super) fn new(calls: usize) -> Self {
        let semaphore = |places| Arc::new(Semaphore::new(places));
        Self { under_way: semaphore((calls / 8).clamp(1, UNDER_WAY)), waiting: semaphore(WAITING) }
    }

    /// Waits for a turn, at most until then. The error is why there is none.
    pub(super) async fn next(&self, until: Instant) -> Result<ReadTurn, &'static str> {
        let _waits =
            self.waiting.try_acquire().map_err(|_| "too many reads of the home wait for each other already")?;
        match timeout_at(until, Arc::clone(&self.under_way).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(ReadTurn(turn)),
            Ok(Err(_)) | Err(_) => Err("other reads of the home took too long"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use futures_util::{FutureExt, future::join_all};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn reads_take_a_part_of_the_calls_and_wait_in_turn() {
        let turns = ReadTurns::new(4_096);
        let until = Instant::now() + Duration::from_secs(5);
        let mut under_way: Vec<_> =
            (0..UNDER_WAY).map(|_| turns.next(until).now_or_never().unwrap().unwrap()).collect();
        assert!(turns.next(until).now_or_never().is_none());
        let (next, ()) = tokio::join!(turns.next(until), async { drop(under_way.pop()) });
        under_way.push(next.unwrap());
        let waiting = join_all((0..WAITING + 9).map(|_| turns.next(until)));
        let said = waiting.await;
        let refused =
            |why: &str| said.iter().filter(|said| said.as_ref().is_err_and(|said| said.contains(why))).count();
        assert_eq!((refused("too many"), refused("too long")), (9, WAITING));
        assert_eq!(Instant::now(), until);
    }

    #[tokio::test]
    async fn an_edge_with_few_calls_reads_one_at_a_time() {
        let turns = ReadTurns::new(4);
        let until = Instant::now() + Duration::from_secs(5);
        let turn = turns.next(until).await.unwrap();
        assert!(turns.next(until).now_or_never().is_none());
        drop(turn);
        assert!(turns.next(until).await.is_ok());
    }
}
