//! A log that several rooms share (`log` of a policy): how what it says is told to each of them.
//!
//! The log has one stream, one position and one order, as a room has; each of its events names the room that it was published
//! to. Pure. Always holds: the batches that are made of one cover it without a hole, each is one room's, and they stand in the
//! order of the log.

use smallvec::SmallVec;

use crate::model::{Batch, Room};

/// One batch for each run of events that go to the same room; of a log that is one room's own, the batch as it is.
pub fn by_room(batch: Batch) -> SmallVec<[Batch; 1]> {
    if batch.events.iter().all(|event| event.room.is_none()) {
        return SmallVec::from([batch]);
    }
    let Batch { room: log, epoch, after, offset, events } = batch;
    let mut batches: SmallVec<[Batch; 1]> = SmallVec::new();
    for event in events {
        let room: &Room = event.room.as_ref().unwrap_or(&log);
        match batches.last_mut().filter(|last| last.room == *room) {
            Some(last) => {
                last.offset = event.offset;
                last.events.push(event);
            }
            None => {
                let after = batches.last().map_or(after, |last| last.offset);
                let (room, epoch, offset) = (room.clone(), epoch.clone(), event.offset);
                batches.push(Batch { room, epoch, after, offset, events: vec![event] });
            }
        }
    }
    if let Some(last) = batches.last_mut() {
        last.offset = offset;
    }
    batches
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Epoch, Event, Payload};

    proptest! {
        #[test]
        fn the_order_stays_and_nothing_is_left_out(rooms in prop::collection::vec(0u8..4, 1..40), after in 0u64..9) {
            let log = Room::parse("log").unwrap();
            // Of the log itself, and of three rooms in it.
            let room = |n: u8| (n > 0).then(|| Room::parse(&n.to_string()).unwrap());
            let event = |(offset, n): (u64, &u8)| {
                let (payload, topic) = (Payload::Binary(vec![*n].into()), "t".into());
                Arc::new(Event { offset, time: 0, room: room(*n), topic, key: None, payload, user: None, id: None })
            };
            let events: Vec<_> = (after + 1..).zip(&rooms).map(event).collect();
            let offset = after + rooms.len() as u64;
            let batch = Batch { room: log.clone(), epoch: Epoch::new("e"), after, offset, events: events.clone() };
            let batches = by_room(batch);
            let mut at = after;
            for batch in &batches {
                prop_assert_eq!(batch.after, at);
                prop_assert!(batch.events.iter().all(|e| e.room.as_ref().unwrap_or(&log) == &batch.room));
                at = batch.offset;
            }
            prop_assert_eq!(at, offset);
            let told: Vec<_> = batches.into_iter().flat_map(|batch| batch.events).collect();
            prop_assert_eq!(told, events);
        }
    }
}
