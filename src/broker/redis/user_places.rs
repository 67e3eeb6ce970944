//! The fleet's places of users, as the broker offers them.

use std::{future::Future, pin::Pin, sync::Arc};

use super::{Redis, fleet_places::FleetPlaces};
use crate::{
    broker::{PlaceClaim, UserPlaces, Verdicts},
    model::PlaceLimit,
};

impl UserPlaces for Redis {
    fn take_places<'a>(&'a self, claims: &'a [PlaceClaim], limit: PlaceLimit) -> Verdicts<'a> {
        let places = FleetPlaces(Arc::clone(&self.state));
        Box::pin(async move { places.take(claims, limit).await })
    }

    fn give_back<'a>(&'a self, claims: &'a [PlaceClaim]) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        let places = FleetPlaces(Arc::clone(&self.state));
        Box::pin(async move { places.give_back(claims).await })
    }
}
