//! Publishing at the home: what goes there together.
//!
//! Always holds: publications of one room keep their order; a call holds no more than one record of the link should.

use std::{collections::BTreeMap, sync::Arc};

use super::state::EdgeState;
use crate::{
    broker::{
        BrokerError,
        relay::{
            call::{CallAnswer, EdgeCall},
            rules::MOST_PARTS,
        },
    },
    model::{Position, Publication, Room},
};

/// About the most bytes of one call. An event that is larger goes alone.
const MOST_BYTES: usize = 1024 * 1024;

/// What of several publications one call takes: their places among all, and they themselves.
#[derive(Debug, Default)]
struct PublishShare {
    places: Vec<usize>,
    parts: Vec<(Room, Publication)>,
    bytes: usize,
}

/// Adds one to the last of the shares, or begins another share.
fn put(shares: &mut Vec<PublishShare>, place: usize, part: (Room, Publication)) {
    let bytes = part.0.as_str().len() + part.1.held();
    let fits = |last: &PublishShare| last.places.len() < MOST_PARTS && last.bytes + bytes <= MOST_BYTES;
    if !shares.last().is_some_and(fits) {
        shares.push(PublishShare::default());
    }
    let Some(share) = shares.last_mut() else { return };
    share.places.push(place);
    share.parts.push(part);
    share.bytes += bytes;
}

/// Publishes each: those that one of the home's pods has go there together, in their order.
pub(super) fn publish_each(
    state: &Arc<EdgeState>,
    all: Vec<(Room, Publication)>,
) -> impl Future<Output = Vec<Result<Position, BrokerError>>> + Send + use<> {
    let count = all.len();
    let mut by_link: BTreeMap<Option<usize>, Vec<PublishShare>> = BTreeMap::new();
    for (at, (room, publication)) in all.into_iter().enumerate() {
        let link = state.rooms.link_of(&room).map(|(index, _)| index);
        put(by_link.entry(link).or_default(), at, (room, publication));
    }
    let calls: Vec<_> = by_link
        .into_values()
        .flatten()
        .map(|PublishShare { places, parts, bytes: _ }| {
            let rooms: Vec<Room> = parts.iter().map(|(room, _)| room.clone()).collect();
            // All of them have the same link.
            let call = state.call(rooms.first().cloned(), EdgeCall::Publish(parts));
            (places, rooms, call)
        })
        .collect();
    let state = Arc::clone(state);
    async move {
        let mut results = vec![Err(BrokerError::Unknown); count];
        let wait = calls.into_iter().map(|(places, rooms, call)| async move { (places, rooms, call.await) });
        for (places, rooms, said) in futures_util::future::join_all(wait).await {
            let each = match said {
                Ok(CallAnswer::Published(each)) if each.len() == places.len() => each,
                Ok(_) => vec![Err(BrokerError::Unknown); places.len()],
                Err(error) => vec![Err(error); places.len()],
            };
            for ((at, room), result) in places.into_iter().zip(rooms).zip(each) {
                if let Ok(position) = &result {
                    state.rooms.published(&room, position);
                }
                if let Some(place) = results.get_mut(at) {
                    *place = result;
                }
            }
        }
        results
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Payload;

    #[test]
    fn a_call_takes_as_much_as_a_record_should_hold() {
        let part = |bytes: usize| {
            let payload = Payload::Binary(vec![0; bytes].into());
            let publication =
                Publication { topic: "t".into(), key: None, payload, user: None, id: None, idempotency_key: None };
            (Room::parse("a").unwrap(), publication)
        };
        let mut shares = Vec::new();
        let sizes = [400_000, 400_000, 400_000, 3_000_000, 10];
        sizes.iter().enumerate().for_each(|(at, bytes)| put(&mut shares, at, part(*bytes)));
        let places: Vec<_> = shares.iter().map(|share| share.places.clone()).collect();
        assert_eq!(places, [vec![0, 1], vec![2], vec![3], vec![4]]);
        let mut many = Vec::new();
        (0..2 * MOST_PARTS + 1).for_each(|at| put(&mut many, at, part(1)));
        assert_eq!(many.iter().map(|share| share.parts.len()).collect::<Vec<_>>(), [MOST_PARTS, MOST_PARTS, 1]);
    }
}
