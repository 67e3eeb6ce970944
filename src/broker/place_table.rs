//! The places of users as far as one pod knows them.
//!
//! No I/O, no clock: who came first stands first. Always holds: a user without a connection is not there.

use std::{collections::HashMap, sync::Arc};

use smallvec::SmallVec;

use super::{DisplacedConnection, PlaceClaim, PlaceVerdict};
use crate::model::{PlaceLimit, WhenFull};

/// The connections that hold places, by user, the oldest first.
#[derive(Debug, Default)]
pub(super) struct PlaceTable(HashMap<Arc<str>, SmallVec<[u64; 2]>>);

impl PlaceTable {
    /// Whether a connection holds a place.
    pub(super) fn has(&self, claim: &PlaceClaim) -> bool {
        self.0.get(&claim.user).is_some_and(|held| held.contains(&claim.connection))
    }

    /// Gives a connection a place, whatever the limit is.
    pub(super) fn put(&mut self, claim: &PlaceClaim) {
        let held = self.0.entry(Arc::clone(&claim.user)).or_default();
        if !held.contains(&claim.connection) {
            held.push(claim.connection);
        }
    }

    /// Judges a claim.
    pub(super) fn take(&mut self, claim: &PlaceClaim, limit: PlaceLimit) -> PlaceVerdict {
        let PlaceLimit { connections, when_full } = limit;
        let count = self.0.get(&claim.user).map_or(0, |held| held.len());
        if self.has(claim) {
            return PlaceVerdict { taken: true, ..PlaceVerdict::default() };
        }
        if count >= connections && when_full == WhenFull::RefuseNewest {
            return PlaceVerdict::default();
        }
        self.put(claim);
        let excess = (count + 1).saturating_sub(connections.max(1));
        let held = self.0.get_mut(&claim.user);
        let gone = held.map(|held| held.drain(..excess).collect::<Vec<_>>()).unwrap_or_default();
        let displaced = gone.into_iter().map(|connection| DisplacedConnection { connection, here: true }).collect();
        PlaceVerdict { taken: true, displaced, alone: false }
    }

    /// Takes a connection's place away, if it has one.
    pub(super) fn give_back(&mut self, claim: &PlaceClaim) {
        let Some(held) = self.0.get_mut(&claim.user) else { return };
        held.retain(|connection| *connection != claim.connection);
        if held.is_empty() {
            self.0.remove(&claim.user);
        }
    }

    #[cfg(test)]
    pub(super) fn users(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(user: &str, connection: u64) -> PlaceClaim {
        PlaceClaim { user: user.into(), connection }
    }

    fn said(verdict: &PlaceVerdict) -> (bool, Vec<u64>) {
        (verdict.taken, verdict.displaced.iter().map(|it| it.connection).collect())
    }

    #[test]
    fn the_newest_is_refused_or_the_oldest_goes() {
        let refuse = PlaceLimit { connections: 2, when_full: WhenFull::RefuseNewest };
        let close = PlaceLimit { when_full: WhenFull::CloseOldest, ..refuse };
        let mut table = PlaceTable::default();
        assert_eq!(said(&table.take(&claim("ann", 7), refuse)), (true, vec![]));
        assert_eq!(said(&table.take(&claim("ann", 3), refuse)), (true, vec![]));
        assert_eq!(said(&table.take(&claim("ann", 5), refuse)), (false, vec![]));
        assert_eq!(said(&table.take(&claim("ann", 3), refuse)), (true, vec![]), "it has one");
        assert_eq!(said(&table.take(&claim("bob", 5), refuse)), (true, vec![]), "each user has places of its own");
        assert_eq!(said(&table.take(&claim("ann", 5), close)), (true, vec![7]), "not the lowest name: the oldest");
        table.give_back(&claim("ann", 3));
        table.give_back(&claim("ann", 3));
        assert_eq!(said(&table.take(&claim("ann", 8), refuse)), (true, vec![]));
        let one = PlaceLimit { connections: 1, ..close };
        assert_eq!(said(&table.take(&claim("ann", 9), one)), (true, vec![5, 8]), "the limit was lowered");
        table.give_back(&claim("ann", 9));
        table.give_back(&claim("bob", 5));
        table.give_back(&claim("zoe", 1));
        assert_eq!(table.users(), 0);
    }

    proptest! {
        /// Whatever comes and goes: none has more than its places, a refusal only meets a full user, and the oldest goes.
        #[test]
        fn the_limit_holds(
            steps in prop::collection::vec((0_u64..3, 0_u64..12, any::<bool>()), 1..200),
            connections in 1_usize..4,
            oldest_goes in any::<bool>(),
        ) {
            let when_full = if oldest_goes { WhenFull::CloseOldest } else { WhenFull::RefuseNewest };
            let limit = PlaceLimit { connections, when_full };
            let (mut table, mut held) = (PlaceTable::default(), HashMap::<u64, Vec<u64>>::new());
            for (user, connection, comes) in steps {
                let (claim, own) = (claim(&user.to_string(), connection), held.entry(user).or_default());
                if !comes {
                    table.give_back(&claim);
                    own.retain(|known| *known != connection);
                    continue;
                }
                let (taken, displaced) = said(&table.take(&claim, limit));
                if own.contains(&connection) {
                    prop_assert_eq!((taken, displaced), (true, vec![]));
                } else if own.len() < connections {
                    prop_assert_eq!((taken, displaced), (true, vec![]));
                    own.push(connection);
                } else if oldest_goes {
                    prop_assert_eq!((taken, displaced), (true, vec![own.remove(0)]));
                    own.push(connection);
                } else {
                    prop_assert_eq!((taken, displaced), (false, vec![]));
                }
            }
            prop_assert_eq!(table.users(), held.values().filter(|own| !own.is_empty()).count());
        }
    }
}
