//! What a hub is told of followed rooms, and what links are asked for, without a home.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    broker::relay::{
        message::{Record, message, next_record},
        pod_memory::TestMemory,
    },
    model::{DELETED, Epoch, Event, Payload, Publication, Since},
};

#[derive(Default)]
struct Hub(Mutex<Vec<String>>);

impl Deliver for Hub {
    fn deliver(&self, _: &Room, delivery: Delivery) {
        self.0.lock().unwrap().push(match delivery {
            Delivery::Started(position) => format!("started {} {}", position.epoch, position.offset),
            Delivery::Event { epoch, event } => format!("event {epoch} {}", event.offset),
            other => format!("{other:?}"),
        });
    }
}

struct World {
    hub: Arc<Hub>,
    rooms: FollowedRooms,
    room: Room,
}

impl World {
    fn new(budget: usize) -> Self {
        let hub = Arc::new(Hub::default());
        let urls = ["wss://a", "wss://b"].map(str::to_owned).into();
        let rooms = FollowedRooms::new(urls, budget, Arc::clone(&hub) as Arc<dyn Deliver>);
        Self { hub, rooms, room: Room::parse("a").unwrap() }
    }

    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.hub.0.lock().unwrap())
    }

    fn subscribe(&self) {
        self.rooms.subscribe(&self.room, Arc::default());
    }

    fn event(&self, index: usize, number: u32, epoch: &str, offset: u64) {
        self.rooms.delivered(index, number, Delivery::Event { epoch: Epoch::new(epoch), event: event(offset) });
    }

    fn since(&self, offset: u64) -> Option<Vec<u64>> {
        let since = Some(Since { epoch: Epoch::new("e"), offset });
        let query = HistoryQuery { since, until: None, max_events: usize::MAX, max_bytes: usize::MAX };
        let events = self.rooms.answer(&self.room, &query, 0)?.events;
        Some(events.iter().map(|event| event.offset).collect())
    }
}

fn home_link(pod: &str) -> Arc<HomeLink> {
    HomeLink::new(pod.to_owned(), usize::MAX, false, TestMemory::plenty())
}

fn event(offset: u64) -> Arc<Event> {
    let payload = Payload::Binary(vec![0; 10].into());
    let publication =
        Publication { topic: "t".into(), key: None, payload, user: None, id: None, idempotency_key: None };
    Arc::new(Event::from_publication(publication, offset, 1, None))
}

fn position(offset: u64) -> Position {
    Position::new(Epoch::new("e"), offset)
}

/// What was put into a link's queue: `+` a room's number that is followed, `-` one that is not any more.
async fn asked(link: &HomeLink) -> Vec<i64> {
    let Ok(Some((mut bytes, _))) = tokio::time::timeout(Duration::from_millis(1), link.queue.next()).await else {
        return Vec::new();
    };
    let mut numbers = Vec::new();
    while let Some(Record::Message(json)) = next_record(&mut bytes).unwrap() {
        match message(&json).unwrap() {
            FromEdge::Follow { number, .. } => numbers.push(i64::from(number)),
            FromEdge::Unfollow { number } => numbers.push(-i64::from(number)),
            other => panic!("{other:?}"),
        }
    }
    numbers
}

#[tokio::test]
async fn a_room_goes_on_over_another_link_and_the_hub_sees_what_it_missed() {
    let world = World::new(1 << 20);
    let links = [home_link("a"), home_link("b")];
    world.subscribe();
    assert!(world.heard().is_empty());
    world.rooms.link_up(0, &links[0]);
    world.rooms.link_up(1, &links[1]);
    let (home, _) = world.rooms.link_of(&world.room).unwrap();
    let other = 1 - home;
    let number = u32::try_from(*asked(&links[home]).await.last().unwrap()).unwrap();
    world.event(home, number, "e", 5);
    assert!(world.heard().is_empty(), "the home has not said where the room stands");
    world.rooms.started(home, number, position(5));
    world.event(home, number, "e", 6);
    world.event(home, number, "e", 6);
    assert_eq!(world.heard(), ["started e 5", "event e 6"]);
    // A cut: what the old link still brings does not count.
    world.rooms.link_down(home, &links[home]);
    world.event(home, number, "e", 7);
    let next = u32::try_from(*asked(&links[other]).await.last().unwrap()).unwrap();
    assert!(next > number && world.heard().is_empty());
    world.rooms.started(other, next, position(9));
    world.event(other, next, "e", 10);
    assert_eq!(world.heard(), ["started e 9", "event e 10"]);
    // Its own link is back.
    world.rooms.link_up(home, &links[home]);
    assert_eq!(asked(&links[other]).await, [-i64::from(next)]);
    assert_eq!(asked(&links[home]).await.len(), 1);
}

#[tokio::test]
async fn the_tail_answers_what_it_has_and_never_less_than_was_published() {
    let world = World::new(1 << 20);
    let link = home_link("a");
    world.subscribe();
    world.rooms.link_up(0, &link);
    world.rooms.started(0, 1, position(2));
    (3..=5).for_each(|offset| world.event(0, 1, "e", offset));
    assert_eq!(world.since(3), Some(vec![4, 5]));
    assert_eq!(world.since(1), None);
    let events = vec![event(2), event(3)];
    let read = History { epoch: Epoch::new("e"), after: 1, offset: 3, end: 5, complete: true, events };
    world.rooms.was_read(&world.room, &read, None);
    assert_eq!(world.since(1), Some(vec![2, 3, 4, 5]));
    world.rooms.published(&world.room, &position(6));
    assert_eq!(world.since(3), None, "the answer to the publish was here first");
    world.rooms.started(0, 1, position(5));
    assert_eq!(world.since(3), None, "the home read that before");
    world.event(0, 1, "e", 6);
    assert_eq!(world.since(4), Some(vec![5, 6]));
    world.rooms.drop_tail(&world.room);
    assert_eq!((world.since(4), world.rooms.usage()), (None, (1, 0)));
}

#[tokio::test]
async fn what_may_be_deleted_is_not_answered_from_the_tail() {
    let world = World::new(1 << 20);
    let link = home_link("a");
    world.subscribe();
    world.rooms.link_up(0, &link);
    world.rooms.started(0, 1, position(2));
    (3..=5).for_each(|offset| world.event(0, 1, "e", offset));
    let (deletion, events) = (world.rooms.deletion(&world.room), vec![event(4), event(5)]);
    let told = Event { topic: DELETED.into(), ..Event::clone(&event(6)) };
    world.rooms.delivered(0, 1, Delivery::Event { epoch: Epoch::new("e"), event: Arc::new(told) });
    assert_eq!((world.since(3), world.since(5)), (None, Some(vec![6])));
    // What was on its way may hold it.
    let read = History { epoch: Epoch::new("e"), after: 3, offset: 5, end: 5, complete: true, events };
    world.rooms.was_read(&world.room, &read, deletion);
    assert_eq!(world.since(3), None);
    world.rooms.was_read(&world.room, &read, world.rooms.deletion(&world.room));
    assert_eq!(world.since(3), Some(vec![4, 5, 6]));
}

#[tokio::test]
async fn what_is_here_of_a_refused_room_is_answered_no_more() {
    let (world, link) = (World::new(1 << 20), home_link("a"));
    world.subscribe();
    world.rooms.link_up(0, &link);
    world.rooms.started(0, 1, position(2));
    (3..=5).for_each(|offset| world.event(0, 1, "e", offset));
    assert_eq!(world.since(3), Some(vec![4, 5]));
    world.rooms.refused(0, 1, "its pattern was taken away");
    assert_eq!((world.since(3), world.since(5), world.rooms.usage()), (None, None, (1, 0)));
    world.rooms.started(0, 1, position(7));
    world.event(0, 1, "e", 8);
    assert_eq!((world.since(7), world.since(3)), (Some(vec![8]), None));
}

#[tokio::test]
async fn tails_give_way_at_the_budget() {
    let world = World::new(3 * event(1).cost());
    let link = home_link("a");
    world.subscribe();
    world.rooms.link_up(0, &link);
    world.rooms.started(0, 1, position(0));
    (1..=100).for_each(|offset| world.event(0, 1, "e", offset));
    let (rooms, bytes) = world.rooms.usage();
    assert!(rooms == 1 && bytes <= 3 * event(1).cost(), "{bytes}");
    assert_eq!(world.since(100), Some(vec![]));
    assert_eq!(world.heard().len(), 101, "deliveries go on");
}

#[tokio::test]
async fn a_room_that_was_left_is_followed_for_a_moment_longer() {
    let world = World::new(1 << 20);
    let link = home_link("a");
    world.rooms.link_up(0, &link);
    world.subscribe();
    world.rooms.started(0, 1, position(0));
    world.rooms.unsubscribe(&world.room);
    world.event(0, 1, "e", 1);
    assert_eq!(world.heard(), ["started e 0"]);
    world.subscribe();
    world.event(0, 1, "e", 2);
    assert!(world.heard().is_empty(), "what comes before the answer is covered by it");
    world.rooms.started(0, 1, position(2));
    world.event(0, 1, "e", 3);
    assert_eq!(world.heard(), ["started e 2", "event e 3"]);
    world.rooms.unsubscribe(&world.room);
    world.rooms.forget(Instant::now() + LINGER / 2);
    assert_eq!(world.rooms.usage().0, 1);
    world.rooms.forget(Instant::now() + 2 * LINGER);
    assert_eq!(world.rooms.usage(), (0, 0));
    assert_eq!(asked(&link).await, [1, 1, -1]);
}

#[tokio::test]
async fn a_room_that_was_refused_is_asked_for_again() {
    let (world, link) = (World::new(1 << 20), home_link("h"));
    world.rooms.link_up(0, &link);
    world.rooms.link_up(1, &link);
    world.subscribe();
    let asked_first = asked(&link).await;
    let (index, number) = world.rooms.lock().rooms[&world.room].link.unwrap();
    assert_eq!(asked_first, [i64::from(number)]);
    world.rooms.ask_refused();
    assert!(asked(&link).await.is_empty());
    world.rooms.refused(index, number, "there is no memory for it");
    world.rooms.ask_refused();
    assert_eq!(asked(&link).await, [i64::from(number)]);
    world.rooms.started(index, number, position(3));
    assert_eq!(world.heard(), ["started e 3"]);
    world.rooms.ask_refused();
    assert!(asked(&link).await.is_empty());
    // One that was left is not.
    world.rooms.refused(index, number, "there is no memory for it");
    world.rooms.unsubscribe(&world.room);
    world.rooms.ask_refused();
    assert!(asked(&link).await.is_empty());
}
