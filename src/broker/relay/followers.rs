//! What becomes of a room's deliveries on this pod: the pod's own hub, and the links of edges.
//!
//! Stands between the broker and the hub. Never waits: a link's queue takes a delivery or does not. Always holds: the broker is subscribed to
//! a room while the hub or a link follows it; a link gets a room's deliveries from a [`Delivery::Started`] on, in the order of the log and
//! without a hole, until its queue had no place: then from the next [`Delivery::Started`] on.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use metrics::Counter;
use smallvec::SmallVec;

use super::{
    delivered::encode,
    message::{FromHome, delivery_record, message_record},
    out_queue::OutQueue,
};
use crate::{
    broker::{Broker, Deliver, Delivery},
    model::Room,
};

/// How many locks the rooms are spread over.
const PARTS: usize = 64;

/// A link that follows a room.
struct LinkFollower {
    queue: Arc<OutQueue>,
    /// The number that the edge gave the room.
    number: u32,
    /// Whether it was told where the room stands, and nothing was refused since.
    stands: bool,
}

#[derive(Default)]
struct RoomFollowers {
    hub: bool,
    links: SmallVec<[LinkFollower; 2]>,
}

impl RoomFollowers {
    fn is_empty(&self) -> bool {
        !self.hub && self.links.is_empty()
    }
}

#[derive(Default)]
struct FollowerPart {
    /// Held while the broker is told of a first or last follower, so that it is told in that order. Never held by a delivery.
    turn: Mutex<()>,
    rooms: Mutex<HashMap<Room, RoomFollowers>>,
}

impl FollowerPart {
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<Room, RoomFollowers>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The followers of every room.
pub struct Followers {
    hub: Arc<dyn Deliver>,
    parts: Box<[FollowerPart]>,
    hasher: RandomState,
    /// Deliveries that a link's queue had no place for.
    dropped: Counter,
}

impl Followers {
    /// None yet. `hub`: the pod's own.
    #[must_use]
    pub fn new(hub: Arc<dyn Deliver>, dropped: Counter) -> Self {
        Self { hub, parts: (0..PARTS).map(|_| FollowerPart::default()).collect(), hasher: RandomState::new(), dropped }
    }

    fn part(&self, room: &Room) -> &FollowerPart {
        // The remainder is below the number of parts.
        &self.parts[(self.hasher.hash_one(room) % PARTS as u64) as usize]
    }

    /// The hub follows a room, for the first time or again.
    pub fn hub_subscribes(&self, room: &Room, broker: &dyn Broker) {
        let part = self.part(room);
        let _turn = part.turn();
        part.rooms().entry(room.clone()).or_default().hub = true;
        broker.subscribe(room);
    }

    /// The hub follows it no more.
    pub fn hub_unsubscribes(&self, room: &Room, broker: &dyn Broker) {
        self.end(room, broker, |followers| followers.hub = false);
    }

    /// A link follows a room, under a number. Repeating it has the link told anew where the room stands.
    pub fn follow(&self, room: &Room, queue: &Arc<OutQueue>, number: u32, broker: &dyn Broker) {
        let part = self.part(room);
        let _turn = part.turn();
        {
            let mut rooms = part.rooms();
            let followers = rooms.entry(room.clone()).or_default();
            match followers.links.iter_mut().find(|link| Arc::ptr_eq(&link.queue, queue)) {
                Some(link) if link.number == number => {}
                Some(link) => (link.number, link.stands) = (number, false),
                None => followers.links.push(LinkFollower { queue: Arc::clone(queue), number, stands: false }),
            }
        }
        broker.subscribe(room);
    }

    /// A link follows it no more under this number.
    pub fn unfollow(&self, room: &Room, queue: &Arc<OutQueue>, number: u32, broker: &dyn Broker) {
        let is_other = |link: &LinkFollower| !Arc::ptr_eq(&link.queue, queue) || link.number != number;
        let mut left = false;
        self.end(room, broker, |followers| {
            let before = followers.links.len();
            followers.links.retain(|link| is_other(link));
            left = followers.links.len() < before;
        });
        if left {
            queue.forget(room);
        }
    }

    fn end(&self, room: &Room, broker: &dyn Broker, change: impl FnOnce(&mut RoomFollowers)) {
        let part = self.part(room);
        let _turn = part.turn();
        let is_last = {
            let mut rooms = part.rooms();
            let Some(followers) = rooms.get_mut(room) else { return };
            change(followers);
            let is_empty = followers.is_empty();
            if is_empty {
                rooms.remove(room);
            }
            is_empty
        };
        if is_last {
            broker.unsubscribe(room);
        }
    }

    /// Has the followers of a room told anew where it stands.
    pub fn renew(&self, room: &Room, broker: &dyn Broker) {
        let part = self.part(room);
        let _turn = part.turn();
        let is_followed = part.rooms().contains_key(room);
        if is_followed {
            broker.subscribe(room);
        }
    }
}

impl Deliver for Followers {
    fn deliver(&self, room: &Room, delivery: Delivery) {
        let mut rooms = self.part(room).rooms();
        let Some(followers) = rooms.get_mut(room) else { return };
        // Encoded by the first link that gets it.
        let mut body: Option<Option<Bytes>> = None;
        for link in &mut followers.links {
            if let Delivery::Started(position) = &delivery {
                let started = FromHome::Started { number: link.number, position: position.clone() };
                link.stands = message_record(&started).is_some_and(|record| link.queue.offer(record));
                if !link.stands {
                    // Others may have asked for it: no link's queue grows by what they do.
                    self.dropped.increment(1);
                    link.queue.fell_behind(room);
                }
                continue;
            }
            if !link.stands {
                continue;
            }
            let body = body.get_or_insert_with(|| encode(&delivery));
            let record = body.as_ref().and_then(|body| delivery_record(link.number, body));
            if !record.is_some_and(|record| link.queue.offer(record)) {
                self.dropped.increment(1);
                // What is in no log comes at most once.
                if matches!(delivery, Delivery::Event { .. }) {
                    link.stands = false;
                    link.queue.fell_behind(room);
                }
            }
        }
        if followers.hub {
            // Under the lock, so that nothing is delivered once the hub has unsubscribed.
            self.hub.deliver(room, delivery);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arc_swap::ArcSwap;

    use super::*;
    use crate::{
        broker::{
            memory::{MemoryBroker, MemoryLimits},
            relay::{
                message::{Record, message, next_record},
                pod_memory::TestMemory,
            },
        },
        config::Policies,
        model::{Payload, Publication},
    };

    #[derive(Default)]
    struct Hub(Mutex<Vec<String>>);

    impl Deliver for Hub {
        fn deliver(&self, _: &Room, delivery: Delivery) {
            let word = match delivery {
                Delivery::Started(position) => format!("started {}", position.offset),
                Delivery::Event { event, .. } => format!("event {}", event.offset),
                other => format!("{other:?}"),
            };
            self.0.lock().unwrap().push(word);
        }
    }

    struct World {
        hub: Arc<Hub>,
        followers: Arc<Followers>,
        broker: MemoryBroker,
        room: Room,
    }

    impl World {
        fn new() -> Self {
            let hub = Arc::new(Hub::default());
            let followers = Arc::new(Followers::new(Arc::clone(&hub) as _, Counter::noop()));
            let policies = Arc::new(ArcSwap::from_pointee(Policies::default()));
            let deliver: Arc<dyn Deliver> = Arc::clone(&followers) as Arc<dyn Deliver>;
            let broker = MemoryBroker::new(MemoryLimits::default(), policies, deliver, Arc::new(|| 1_u64)).unwrap();
            Self { hub, followers, broker, room: Room::parse("a").unwrap() }
        }

        async fn publish(&self) {
            let payload = Payload::Binary(Bytes::from_static(&[0; 100]));
            let publication =
                Publication { topic: "t".into(), key: None, payload, user: None, id: None, idempotency_key: None };
            self.broker.publish(&self.room, publication).await.unwrap();
        }

        fn hub(&self) -> Vec<String> {
            std::mem::take(&mut *self.hub.0.lock().unwrap())
        }
    }

    async fn sent(queue: &OutQueue) -> Vec<String> {
        let (mut bytes, _) = queue.next().await.unwrap();
        let mut words = Vec::new();
        while let Some(record) = next_record(&mut bytes).unwrap() {
            words.push(match record {
                Record::Message(json) => match message(&json).unwrap() {
                    FromHome::Started { number, position } => format!("{number}: started {}", position.offset),
                    other => format!("{other:?}"),
                },
                Record::Delivery(number, _) => format!("{number}: event"),
            });
        }
        words
    }

    #[tokio::test]
    async fn the_hub_and_links_follow_apart() {
        let world = World::new();
        let queue = Arc::new(OutQueue::new(1_000_000, TestMemory::plenty()));
        world.publish().await;
        world.followers.follow(&world.room, &queue, 7, &world.broker);
        world.publish().await;
        assert_eq!(sent(&queue).await, ["7: started 1", "7: event"]);
        assert!(world.hub().is_empty(), "the hub did not subscribe");
        world.followers.hub_subscribes(&world.room, &world.broker);
        world.publish().await;
        world.followers.unfollow(&world.room, &queue, 7, &world.broker);
        world.publish().await;
        assert_eq!(world.hub(), ["started 2", "event 3", "event 4"]);
        assert_eq!(sent(&queue).await, ["7: started 2", "7: event"]);
        world.followers.hub_unsubscribes(&world.room, &world.broker);
        world.publish().await;
        assert!(world.hub().is_empty() && queue.bytes() == 0);
    }

    #[tokio::test]
    async fn a_full_queue_leaves_a_hole_that_shows() {
        let world = World::new();
        let queue = Arc::new(OutQueue::new(400, TestMemory::plenty()));
        world.followers.follow(&world.room, &queue, 1, &world.broker);
        for _ in 0..10 {
            world.publish().await;
        }
        let words = sent(&queue).await;
        assert!(words.len() > 1 && words.len() < 11, "{words:?}");
        let behind = queue.caught_up();
        assert_eq!(behind.len(), 1);
        for room in behind {
            world.followers.renew(&room, &world.broker);
        }
        world.publish().await;
        assert_eq!(sent(&queue).await, ["1: started 10", "1: event"]);
    }

    #[tokio::test]
    async fn what_another_link_asks_for_does_not_fill_the_queue_of_one_that_is_not_read() {
        let world = World::new();
        let [slow, other] = [(); 2].map(|()| Arc::new(OutQueue::new(400, TestMemory::plenty())));
        world.followers.follow(&world.room, &slow, 1, &world.broker);
        for _ in 0..100 {
            world.followers.follow(&world.room, &other, 1, &world.broker);
            sent(&other).await;
        }
        assert!(slow.bytes() <= 400, "{}", slow.bytes());
        // It is told once it reads again.
        assert!(!sent(&slow).await.is_empty());
        for room in slow.caught_up() {
            world.followers.renew(&room, &world.broker);
        }
        world.publish().await;
        assert_eq!(sent(&slow).await, ["1: started 0", "1: event"]);
    }
}
