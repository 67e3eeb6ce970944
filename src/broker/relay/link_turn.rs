//! Whose turn it is on the thread of all links. Reads the clock, and waits for nothing but the others' turn.
//!
//! Always holds: one link's words are done for [`TURN`] and one word at most before every other link that has something to do has had its
//! turn, however many words one message holds and however fast they come.

use std::time::{Duration, Instant};

/// For how long one link has the thread.
const TURN: Duration = Duration::from_micros(500);

/// A link's turn.
pub(super) struct LinkTurn(Instant);

impl LinkTurn {
    /// Begins now.
    pub(super) fn begin() -> Self {
        Self(Instant::now())
    }

    /// Gives way to the others, if the turn is over.
    pub(super) async fn give_way(&mut self) {
        if self.0.elapsed() >= TURN {
            tokio::task::yield_now().await;
            self.0 = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;

    #[tokio::test]
    async fn one_that_always_has_something_to_do_lets_others_have_their_turns() {
        let (turns, seen) = (Rc::new(Cell::new(0_u32)), Rc::default());
        let other = {
            let turns = Rc::clone(&turns);
            async move {
                loop {
                    turns.set(turns.get() + 1);
                    tokio::task::yield_now().await;
                }
            }
        };
        let busy = {
            let (turns, seen): (_, Rc<Cell<u32>>) = (Rc::clone(&turns), Rc::clone(&seen));
            async move {
                let mut turn = LinkTurn::begin();
                for _ in 0..20 {
                    let until = Instant::now() + TURN;
                    while Instant::now() < until {
                        std::hint::spin_loop();
                    }
                    turn.give_way().await;
                }
                seen.set(turns.get());
            }
        };
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let other = tokio::task::spawn_local(other);
                tokio::task::spawn_local(busy).await.expect("it ends");
                other.abort();
            })
            .await;
        assert!(seen.get() >= 19, "{}", seen.get());
    }
}
