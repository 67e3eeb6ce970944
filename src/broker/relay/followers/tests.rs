//! Who is told of a room, and what a link that asks without end costs the others.
#![allow(clippy::unwrap_used)]

use arc_swap::ArcSwap;

use super::*;
use crate::{
    broker::{
        Answer, BrokerError, History, HistoryQuery,
        memory::{MemoryBroker, MemoryLimits},
        relay::{
            message::{Record, message, next_record},
            pod_memory::TestMemory,
        },
    },
    config::Policies,
    model::{Epoch, Notice, Payload, Publication, Retained, Signal},
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
            Record::Packed(_) => panic!("a queue compresses nothing"),
        });
    }
    words
}

#[tokio::test]
async fn the_hub_and_links_follow_apart() {
    let world = World::new();
    let queue = Arc::new(OutQueue::new(1_000_000, TestMemory::plenty()));
    world.publish().await;
    world.followers.follow(&world.room, &queue, (7, false), &world.broker);
    world.publish().await;
    assert_eq!(sent(&queue).await, ["7: started 1", "7: event"]);
    assert!(world.hub().is_empty(), "the hub did not subscribe");
    world.followers.hub_subscribes(&world.room, &world.broker);
    world.publish().await;
    world.followers.unfollow(&world.room, &queue, 7, &world.broker);
    world.publish().await;
    assert_eq!(world.hub(), ["started 2", "event 3", "event 4"]);
    assert_eq!(sent(&queue).await, ["7: event"], "the link knew where the room stands");
    world.followers.hub_unsubscribes(&world.room, &world.broker);
    world.publish().await;
    assert!(world.hub().is_empty() && queue.bytes() == 0);
}

#[tokio::test]
async fn a_full_queue_leaves_a_hole_that_shows() {
    let world = World::new();
    let queue = Arc::new(OutQueue::new(400, TestMemory::plenty()));
    world.followers.follow(&world.room, &queue, (1, false), &world.broker);
    for _ in 0..10 {
        world.publish().await;
    }
    let words = sent(&queue).await;
    assert!(words.len() > 1 && words.len() < 11, "{words:?}");
    let behind = queue.caught_up();
    assert_eq!(behind.len(), 1);
    for room in behind {
        world.followers.renew(&room, &queue);
        world.followers.renew(&room, &queue);
    }
    world.publish().await;
    assert_eq!(sent(&queue).await, ["1: started 10", "1: event"]);
}

#[tokio::test]
async fn what_a_link_asks_for_is_told_to_it_alone_and_costs_no_other_follower_anything() {
    let world = World::new();
    let [quiet, other, newcomer] = [(); 3].map(|()| Arc::new(OutQueue::new(1_000, TestMemory::plenty())));
    world.followers.hub_subscribes(&world.room, &world.broker);
    world.followers.follow(&world.room, &quiet, (1, false), &world.broker);
    assert_eq!((world.hub(), sent(&quiet).await), (vec!["started 0".to_owned()], vec!["1: started 0".to_owned()]));
    world.publish().await;
    for number in 1..=100 {
        // Whether it repeats the number, gives another one, or begins anew.
        world.followers.follow(&world.room, &other, (number / 2, false), &world.broker);
        if number % 3 == 0 {
            world.followers.unfollow(&world.room, &other, number / 2, &world.broker);
        }
        assert_eq!(sent(&other).await, [format!("{}: started 1", number / 2)]);
    }
    world.followers.follow(&world.room, &newcomer, (5, false), &world.broker);
    world.publish().await;
    assert_eq!(
        (world.hub(), sent(&quiet).await),
        (vec!["event 1".into(), "event 2".into()], vec!["1: event".into(); 2])
    );
    assert_eq!(sent(&newcomer).await, ["5: started 1", "5: event"]);
}

/// A broker that says where a room stands when the test has it do so.
#[derive(Default)]
struct SlowBroker(Mutex<u32>);

impl Broker for SlowBroker {
    fn publish<'a>(&'a self, _: &'a Room, _: Publication) -> Answer<'a, Position> {
        Box::pin(async { Err(BrokerError::Unknown) })
    }

    fn subscribe(&self, _: &Room) {
        *self.0.lock().unwrap() += 1;
    }

    fn unsubscribe(&self, _: &Room) {}

    fn publish_unlogged<'a>(&'a self, _: &'a Room, _: Publication, _: Box<str>) -> Answer<'a, ()> {
        Box::pin(async { Err(BrokerError::Unknown) })
    }

    fn signal<'a>(&'a self, _: &'a Room, _: Signal) -> Answer<'a, ()> {
        Box::pin(async { Err(BrokerError::Unknown) })
    }

    fn notify<'a>(&'a self, _: &'a Room, _: Notice) -> Answer<'a, ()> {
        Box::pin(async { Err(BrokerError::Unknown) })
    }

    fn history<'a>(&'a self, _: &'a Room, _: HistoryQuery) -> Answer<'a, History> {
        Box::pin(async { Err(BrokerError::Unknown) })
    }

    fn retained<'a>(&'a self, _: &'a Room) -> Answer<'a, Retained> {
        Box::pin(async { Err(BrokerError::Unknown) })
    }
}

#[tokio::test]
async fn a_broker_that_has_not_answered_is_not_asked_again_by_links() {
    let (world, broker) = (World::new(), SlowBroker::default());
    let [one, other] = [(); 2].map(|()| Arc::new(OutQueue::new(1_000, TestMemory::plenty())));
    for _ in 0..100 {
        // Each question of the broker makes the answer to the one before it count no more (`redis/rooms.rs`).
        world.followers.follow(&world.room, &one, (1, false), &broker);
    }
    world.followers.follow(&world.room, &other, (2, false), &broker);
    assert_eq!((*broker.0.lock().unwrap(), one.bytes() + other.bytes()), (1, 0));
    let at = |epoch: &str, offset| Delivery::Started(Position::new(Epoch::new(epoch), offset));
    world.followers.deliver(&world.room, at("e", 3));
    assert_eq!((sent(&one).await, sent(&other).await), (vec!["1: started 3".into()], vec!["2: started 3".into()]));
    // What lies further on, or in another epoch, is news to all.
    for (epoch, offset) in [("e", 2), ("e", 3), ("e", 5), ("f", 4)] {
        world.followers.deliver(&world.room, at(epoch, offset));
    }
    assert_eq!(sent(&one).await, ["1: started 5", "1: started 4"]);
    // So is a log that was forgotten.
    world.followers.begin_anew(&world.room, &broker);
    world.followers.deliver(&world.room, at("f", 4));
    assert_eq!(*broker.0.lock().unwrap(), 2);
    assert_eq!(sent(&one).await, ["1: started 4"]);
}
