//! What the suite needs of a broker under test, and what it sees of one.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use roomcast::testing::{
    broker::{
        Acks, Broker, BrokerError, Deliver, Delivery, Erasure, History, HistoryQuery, KeyValue, Presence, UserPlaces,
        UserRecords,
    },
    model::{Epoch, Event, Member, Payload, Policy, Position, Publication, Room, Since},
};
use serde_json::value::RawValue;
use tokio::sync::Notify;

/// How long anything may take, a real server included.
const PATIENCE: Duration = Duration::from_secs(10);

/// A broker under test with a store of its own. Dropping it ends both.
pub trait Store: Send + Sync + 'static {
    /// A pod's broker over an empty store; every room has `policy`.
    fn start(policy: Policy, deliver: Arc<dyn Deliver>) -> impl Future<Output = Self> + Send;
    /// The broker.
    fn broker(&self) -> &dyn Broker;
    /// The same broker's presence.
    fn presence(&self) -> &dyn Presence;
    /// The same broker's values.
    fn values(&self) -> &dyn KeyValue;
    /// What the same broker keeps of what users have read.
    fn acks(&self) -> &dyn Acks;
    /// What has the same broker forget.
    fn erasure(&self) -> &dyn Erasure;
    /// The same broker's records of users.
    fn records(&self) -> &dyn UserRecords;
    /// The places of users that the same broker knows.
    fn places(&self) -> &dyn UserPlaces;
    /// Lets time pass for the broker: by its own clock, or by waiting.
    fn pass(&self, time: Duration) -> impl Future<Output = ()> + Send;
    /// Has the store lose a room that nobody is subscribed to.
    fn lose(&self, room: &Room) -> impl Future<Output = ()> + Send;
}

/// A store whose idempotency keys are known for as long as a test says.
pub trait Forgetful: Store {
    /// The same as [`start`](Store::start) with keys that are known for `age`.
    fn start_with_key_age(
        policy: Policy,
        deliver: Arc<dyn Deliver>,
        age: Duration,
    ) -> impl Future<Output = Self> + Send;
}

/// A store and what it delivered.
pub struct Bench<S> {
    pub store: S,
    pub seen: Arc<Recorder>,
}

impl<S: Forgetful> Bench<S> {
    /// One whose idempotency keys are known for `age`.
    pub async fn with_key_age(policy: Policy, age: Duration) -> Arc<Self> {
        let seen = Arc::new(Recorder::default());
        let deliver: Arc<dyn Deliver> = Arc::clone(&seen) as Arc<dyn Deliver>;
        Arc::new(Self { store: S::start_with_key_age(policy, deliver, age).await, seen })
    }
}

impl<S: Store> Bench<S> {
    pub async fn new(policy: Policy) -> Arc<Self> {
        let seen = Arc::new(Recorder::default());
        let deliver: Arc<dyn Deliver> = Arc::clone(&seen) as Arc<dyn Deliver>;
        Arc::new(Self { store: S::start(policy, deliver).await, seen })
    }

    pub async fn try_publish(&self, room: &Room, publication: Publication) -> Result<Position, BrokerError> {
        self.store.broker().publish(room, publication).await
    }

    pub async fn publish(&self, room: &Room, topic: &str) -> Position {
        self.try_publish(room, publication(topic)).await.unwrap()
    }

    pub fn subscribe(&self, room: &Room) {
        self.store.broker().subscribe(room);
    }

    /// Subscribes and waits until the subscription stands.
    pub async fn subscribed(&self, room: &Room) -> Position {
        let before = self.seen.of(room).len();
        self.subscribe(room);
        self.seen.wait(room, |seen| started(&seen[before..]).next().cloned()).await
    }

    pub async fn history(&self, room: &Room, query: HistoryQuery) -> History {
        self.store.broker().history(room, query).await.unwrap()
    }

    /// The whole log after `offset` of `epoch`.
    pub async fn since(&self, room: &Room, epoch: &Epoch, offset: u64) -> History {
        let since = Some(Since { epoch: epoch.clone(), offset });
        self.history(room, HistoryQuery { since, ..everything() }).await
    }

    /// The retained values, as topic and offset.
    pub async fn values(&self, room: &Room) -> Vec<String> {
        let retained = self.store.broker().retained(room).await.unwrap();
        retained.events.iter().map(|event| format!("{} {}", event.topic, event.offset)).collect()
    }
}

/// Everything that was delivered, by room.
#[derive(Default)]
pub struct Recorder {
    seen: Mutex<HashMap<Room, Vec<Delivery>>>,
    more: Notify,
}

impl Deliver for Recorder {
    fn deliver(&self, room: &Room, delivery: Delivery) {
        self.seen.lock().unwrap().entry(room.clone()).or_default().push(delivery);
        self.more.notify_waiters();
    }
}

impl Recorder {
    /// What was delivered so far.
    pub fn of(&self, room: &Room) -> Vec<Delivery> {
        self.seen.lock().unwrap().get(room).cloned().unwrap_or_default()
    }

    /// Waits until `found` finds something in what was delivered.
    pub async fn wait<T>(&self, room: &Room, found: impl Fn(&[Delivery]) -> Option<T>) -> T {
        let search = async {
            loop {
                let more = self.more.notified();
                if let Some(answer) = found(&self.of(room)) {
                    return answer;
                }
                more.await;
            }
        };
        tokio::time::timeout(PATIENCE, search).await.expect("what was waited for was not delivered")
    }

    /// Waits until an event with that offset is there, and a moment longer: what comes after it is one too many.
    pub async fn events_up_to(&self, room: &Room, offset: u64) -> Vec<(Epoch, Arc<Event>)> {
        self.wait(room, |seen| events(seen).any(|(_, event)| event.offset >= offset).then_some(())).await;
        a_moment().await;
        events(&self.of(room)).collect()
    }
}

/// Long enough for what must not come to come.
pub async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(30)).await;
}

/// Asks until the answer is there: for what a broker may do behind the caller's back.
pub async fn eventually<T, F: Future<Output = Option<T>>>(ask: impl Fn() -> F) -> T {
    let search = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, search).await.expect("what was waited for did not come true")
}

/// A test that hangs is a failed one.
pub async fn bounded(test: impl Future<Output = ()>) {
    tokio::time::timeout(6 * PATIENCE, test).await.expect("the test took too long");
}

pub fn started(seen: &[Delivery]) -> impl Iterator<Item = &Position> {
    seen.iter().filter_map(|delivery| match delivery {
        Delivery::Started(position) => Some(position),
        _ => None,
    })
}

pub fn events(seen: &[Delivery]) -> impl Iterator<Item = (Epoch, Arc<Event>)> + '_ {
    seen.iter().filter_map(|delivery| match delivery {
        Delivery::Event { epoch, event } => Some((epoch.clone(), Arc::clone(event))),
        _ => None,
    })
}

pub fn offsets<'a>(events: impl IntoIterator<Item = &'a Arc<Event>>) -> Vec<u64> {
    events.into_iter().map(|event| event.offset).collect()
}

/// Fails unless the deliveries are what a hub relies on: `Started` first, then every event after it, once, in order.
pub fn assert_a_stream(seen: &[Delivery]) {
    let mut position: Option<Position> = None;
    for (at, delivery) in seen.iter().enumerate() {
        match (delivery, &mut position) {
            (Delivery::Started(start), position) => *position = Some(start.clone()),
            (Delivery::Event { epoch, event }, Some(position)) => {
                if position.offset == 0 {
                    // Before its first event a room stands in the epoch of all that have none.
                    position.epoch = epoch.clone();
                }
                let expected = (&position.epoch, position.offset + 1);
                assert_eq!((epoch, event.offset), expected, "delivery {at} does not follow the one before");
                position.offset += 1;
            }
            (_, None) => panic!("delivery {at} came before the subscription started"),
            (
                Delivery::Joined(_)
                | Delivery::Left(_)
                | Delivery::Unlogged { .. }
                | Delivery::Signal(_)
                | Delivery::Notice(_),
                Some(_),
            ) => {}
        }
    }
}

pub fn everything() -> HistoryQuery {
    HistoryQuery { since: None, until: None, max_events: usize::MAX, max_bytes: usize::MAX }
}

pub fn room(name: &str) -> Room {
    Room::parse(name).unwrap()
}

pub fn member(connection: &str, user: Option<&str>) -> Member {
    Member { connection: connection.into(), user: user.map(Into::into) }
}

pub fn json(text: &str) -> Payload {
    Payload::Json(RawValue::from_string(text.to_owned()).unwrap())
}

pub fn binary(bytes: usize) -> Payload {
    Payload::Binary(vec![7; bytes].into())
}

pub fn publication(topic: &str) -> Publication {
    Publication { topic: topic.into(), key: None, payload: json("1"), user: None, id: None, idempotency_key: None }
}

pub fn keyed(topic: &str, key: &str) -> Publication {
    Publication { key: Some(key.into()), ..publication(topic) }
}
