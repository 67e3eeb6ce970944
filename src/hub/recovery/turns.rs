//! Turns of recoveries on a worker: what clients missed is encoded and queued a little at a time, and all else of the worker has its
//! turn in between.
//!
//! Owns no event. Always holds: recoveries go one after the other, in the order in which their logs answered; after so much time with
//! them the worker's loop goes round once.

use std::time::{Duration, Instant};

use tokio::{sync::Mutex, task::yield_now};

/// How long a worker may be busy with recoveries before everything else has its turn.
const SLICE: Duration = Duration::from_millis(2);

/// The turns of one worker.
#[derive(Debug, Default)]
pub struct RecoveryTurns {
    /// The time that recoveries took since the loop went round.
    spent: Mutex<Duration>,
}

impl RecoveryTurns {
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
