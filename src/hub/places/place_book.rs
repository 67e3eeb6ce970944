//! Claims of places and what is given back, in the order in which they came, until the broker is told.
//!
//! Pure: no clock, no broker. Always holds: what a connection took and gave back before the broker heard of it is never told; a place that
//! was claimed is given back once.

use std::collections::{HashSet, VecDeque};

use crate::broker::PlaceClaim;

#[derive(Debug)]
struct PlaceStep {
    claim: PlaceClaim,
    takes: bool,
}

/// What waits for the broker.
#[derive(Debug, Default)]
pub struct PlaceBook {
    steps: VecDeque<PlaceStep>,
}

/// What the broker is told at once: first what is given back, then what is taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PlaceRound {
    /// These places are free.
    pub given_back: Vec<PlaceClaim>,
    /// These are wanted.
    pub claims: Vec<PlaceClaim>,
}

impl PlaceRound {
    /// Whether there is nothing to be told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.given_back.is_empty() && self.claims.is_empty()
    }
}

impl PlaceBook {
    /// The most that waits, but for what the connections give back whose claims were taken in.
    pub const MAX: usize = 65_536;

    /// The most of one round: an answer comes for all of it together.
    const ROUND: usize = 4_096;

    /// Takes in a claim. `false`: there is no room for it, and the connection is not counted.
    #[must_use]
    pub fn claim(&mut self, claim: PlaceClaim) -> bool {
        let has_room = self.steps.len() < Self::MAX;
        if has_room {
            self.steps.push_back(PlaceStep { claim, takes: true });
        }
        has_room
    }

    /// A connection whose claim was taken in is over.
    pub fn give_back(&mut self, claim: PlaceClaim) {
        self.steps.push_back(PlaceStep { claim, takes: false });
    }

    /// What the broker is to be told next.
    #[must_use]
    pub fn begin(&mut self) -> PlaceRound {
        let portion = self.steps.len().min(Self::ROUND);
        let steps: Vec<PlaceStep> = self.steps.drain(..portion).collect();
        let names = |takes: bool| {
            steps
                .iter()
                .filter(move |step| step.takes == takes)
                .map(|step| step.claim.connection)
                .collect::<HashSet<_>>()
        };
        let (taken, given_back) = (names(true), names(false));
        let mut round = PlaceRound::default();
        for PlaceStep { claim, takes } in steps {
            match takes {
                true if !given_back.contains(&claim.connection) => round.claims.push(claim),
                false if !taken.contains(&claim.connection) => round.given_back.push(claim),
                _ => {}
            }
        }
        round
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(connection: u64) -> PlaceClaim {
        PlaceClaim { user: "ann".into(), connection }
    }

    #[test]
    fn places_are_given_back_before_others_are_taken() {
        let mut book = PlaceBook::default();
        assert!(book.claim(claim(1)));
        assert_eq!(book.begin(), PlaceRound { given_back: vec![], claims: vec![claim(1)] });
        // A page that loads anew: its old connection ends, and the next one finds the place free.
        assert!(book.claim(claim(2)));
        book.give_back(claim(1));
        assert_eq!(book.begin(), PlaceRound { given_back: vec![claim(1)], claims: vec![claim(2)] });
        assert!(book.is_empty() && book.begin().is_empty());
    }

    #[test]
    fn what_came_and_went_is_never_told() {
        let mut book = PlaceBook::default();
        for connection in 0..1_000 {
            assert!(book.claim(claim(connection)));
            book.give_back(claim(connection));
        }
        assert!(!book.is_empty() && book.begin().is_empty());
    }

    #[test]
    fn what_waits_is_bounded_and_leaves_in_portions() {
        let mut book = PlaceBook::default();
        let most = PlaceBook::MAX as u64;
        for connection in 0..most {
            assert!(book.claim(claim(connection)));
        }
        assert!(!book.claim(claim(most)), "it is not counted");
        book.give_back(claim(0));
        let mut told = Vec::new();
        loop {
            let round = book.begin();
            if round.is_empty() {
                break;
            }
            assert!(round.claims.len() <= PlaceBook::ROUND);
            told.extend(round.claims.iter().map(|claim| claim.connection));
            if round.given_back.is_empty() {
                continue;
            }
            assert_eq!(round.given_back, [claim(0)], "behind its claim, which was told before");
        }
        assert_eq!(told, (0..most).collect::<Vec<_>>(), "in the order in which they came");
        assert!(book.claim(claim(most)));
    }
}
