//! The places of users of a pod without a fleet: what it knows of them is all that there is.

use std::{
    future::{Future, ready},
    pin::Pin,
    sync::{Mutex, PoisonError},
};

use crate::{
    broker::{PlaceClaim, UserPlaces, Verdicts, place_table::PlaceTable},
    model::PlaceLimit,
};

/// The places of users.
#[derive(Debug, Default)]
pub(super) struct MemoryPlaces(Mutex<PlaceTable>);

impl UserPlaces for MemoryPlaces {
    fn take_places<'a>(&'a self, claims: &'a [PlaceClaim], limit: PlaceLimit) -> Verdicts<'a> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let said = claims.iter().map(|claim| table.take(claim, limit)).collect();
        Box::pin(ready(said))
    }

    fn give_back<'a>(&'a self, claims: &'a [PlaceClaim]) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        claims.iter().for_each(|claim| table.give_back(claim));
        Box::pin(ready(()))
    }
}
