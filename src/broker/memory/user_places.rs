//! The places of users of a pod without a fleet: what it knows of them is all that there is.

use std::{
    future::{Future, ready},
    pin::Pin,
    sync::PoisonError,
};

use super::MemoryBroker;
use crate::{
    broker::{PlaceClaim, UserPlaces, Verdicts},
    model::PlaceLimit,
};

impl UserPlaces for MemoryBroker {
    fn take_places<'a>(&'a self, claims: &'a [PlaceClaim], limit: PlaceLimit) -> Verdicts<'a> {
        let mut table = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let said = claims.iter().map(|claim| table.take(claim, limit)).collect();
        Box::pin(ready(said))
    }

    fn give_back<'a>(&'a self, claims: &'a [PlaceClaim]) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        let mut table = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        claims.iter().for_each(|claim| table.give_back(claim));
        Box::pin(ready(()))
    }
}
