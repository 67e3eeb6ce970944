//! Turns of recoveries on a worker: what clients missed is encoded and queued a little at a time, and all else of the worker has its
//! turn in between.
//!
//! Owns no event. Always holds: recoveries go one after the other, in the order in which their logs answered; after so much time with
//! them the worker's loop goes round once; what logs have answered and clients were not told of yet is that of so many recoveries at most.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Mutex, Semaphore, SemaphorePermit},
    task::yield_now,
    time::timeout,
};

/// How long a worker may be busy with recoveries before everything else has its turn.
const SLICE: Duration = Duration::from_millis(2);

/// The most recoveries of which a worker holds what their logs answered, each about a MiB at most.
const PLACES: usize = 32;

/// A log that takes longer holds no place: those of a server that is away keep none from others.
const PROMPT: Duration = Duration::from_millis(20);

/// The turns of one worker.
#[derive(Debug)]
pub struct RecoveryTurns {
    /// The time that recoveries took since the loop went round.
    spent: Mutex<Duration>,
    places: Semaphore,
}

impl Default for RecoveryTurns {
    fn default() -> Self {
        Self { spent: Mutex::default(), places: Semaphore::new(PLACES) }
    }
}

impl RecoveryTurns {
    /// Has a log read when there is a place for the answer, which is held until the second value is dropped.
    pub async fn read<T>(&self, read: impl Future<Output = T>) -> (T, Option<SemaphorePermit<'_>>) {
        let place = self.places.acquire().await.ok();
        let mut read = pin!(read);
        if let Ok(answer) = timeout(PROMPT, &mut read).await {
            return (answer, place);
        }
        drop(place);
        let answer = read.await;
        (answer, self.places.acquire().await.ok())
    }

    /// Does a part of a recovery once it is its turn.
    pub async fn take<T>(&self, act: impl FnOnce() -> T) -> T {
        let mut spent = self.spent.lock().await;
        let began = Instant::now();
        let done = act();
        *spent += began.elapsed();
        if *spent >= SLICE {
            *spent = Duration::ZERO;
            yield_now().await;
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_that_wait_have_places_and_slow_logs_hold_none() {
        let turns = RecoveryTurns::default();
        let mut held = Vec::new();
        for n in 0..PLACES {
            held.push(turns.read(async { n }).await);
        }
        let mut next = pin!(turns.read(async { PLACES }));
        assert!(timeout(10 * PROMPT, &mut next).await.is_err(), "no place");
        held.pop();
        assert_eq!(next.await.0, PLACES);
        held.clear();
        // A server that is away.
        let slow: Vec<_> = (0..PLACES).map(|_| turns.read(std::future::pending::<()>())).collect();
        let slow = futures_util::future::join_all(slow);
        let prompt = async {
            tokio::time::sleep(2 * PROMPT).await;
            turns.read(async { 7 }).await.0
        };
        tokio::select! {
            _ = slow => panic!("it answered"),
            answer = prompt => assert_eq!(answer, 7),
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn all_else_has_its_turn_between_long_recoveries() {
        LocalSet::new()
            .run_until(async {
                let (turns, rounds) = (Rc::new(RecoveryTurns::default()), Rc::new(Cell::new(0_u32)));
                let recoveries: Vec<_> = (0..10)
                    .map(|_| {
                        let (turns, rounds) = (Rc::clone(&turns), Rc::clone(&rounds));
                        spawn_local(async move {
                            turns
                                .take(|| {
                                    let began = Instant::now();
                                    while began.elapsed() < SLICE {}
                                    rounds.get()
                                })
                                .await
                        })
                    })
                    .collect();
                let other = Rc::clone(&rounds);
                spawn_local(async move {
                    loop {
                        other.set(other.get() + 1);
                        yield_now().await;
                    }
                });
                let mut seen = Vec::new();
                for recovery in recoveries {
                    seen.push(recovery.await.unwrap_or_default());
                }
                assert!(
                    seen.is_sorted_by(|before, after| before < after),
                    "the other had no turn in between: {seen:?}"
                );
            })
            .await;
    }
}
