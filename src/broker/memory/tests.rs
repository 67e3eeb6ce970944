//! What is the memory broker's own: time, budget, eviction. What every broker does is in `tests/redis/contract/`.

#![allow(clippy::unwrap_used)]

mod names;

use std::{
    collections::HashMap,
    sync::{Mutex, atomic::AtomicU64},
    task::{Context, Poll, Waker},
};

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::model::{Conflate, Event, Payload, Policy, PresenceMode, Retain, Since};

/// A broker whose clock and deliveries are the test's.
struct MemoryStage {
    memory: MemoryBroker,
    policies: Arc<ArcSwap<Policies>>,
    now: Arc<AtomicU64>,
    seen: Arc<SeenInMemory>,
}

#[derive(Default)]
struct SeenInMemory(Mutex<Vec<(Room, Delivery)>>);

impl Deliver for SeenInMemory {
    fn deliver(&self, room: &Room, delivery: Delivery) {
        self.0.lock().unwrap().push((room.clone(), delivery));
    }
}

impl MemoryStage {
    fn new(max_bytes: usize, policy: Policy) -> Self {
        Self::with_limits(MemoryLimits { max_bytes, ..MemoryLimits::default() }, policy)
    }

    fn with_limits(limits: MemoryLimits, policy: Policy) -> Self {
        let policies = Arc::new(ArcSwap::from_pointee(Policies::new(Vec::new(), policy)));
        let now = Arc::new(AtomicU64::new(1_000_000));
        let seen = Arc::new(SeenInMemory::default());
        let clock = Arc::clone(&now);
        let clock: Clock = Arc::new(move || clock.load(Ordering::Relaxed));
        let deliver: Arc<dyn Deliver> = Arc::clone(&seen) as Arc<dyn Deliver>;
        let memory = MemoryBroker::new(limits, Arc::clone(&policies), deliver, clock).unwrap();
        Self { memory, policies, now, seen }
    }

    fn advance(&self, by: Duration) {
        self.now.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }

    fn try_publish(&self, name: &str, publication: Publication) -> Result<Position, BrokerError> {
        at_once(self.memory.publish(&room(name), publication))
    }

    fn publish(&self, name: &str, topic: &str) -> Position {
        self.try_publish(name, publication(topic)).unwrap()
    }

    fn log(&self, name: &str, since: Option<&Position>) -> History {
        let since = since.map(|p| Since { epoch: p.epoch.clone(), offset: p.offset });
        let query = HistoryQuery { since, until: None, max_events: usize::MAX, max_bytes: usize::MAX };
        at_once(self.memory.history(&room(name), query)).unwrap()
    }

    fn kept(&self, name: &str) -> Vec<u64> {
        self.log(name, None).events.iter().map(|event| event.offset).collect()
    }

    fn values(&self, name: &str) -> Vec<String> {
        let retained = at_once(self.memory.retained(&room(name))).unwrap();
        retained.events.iter().map(|event| format!("{}{}", event.topic, event.offset)).collect()
    }
}

/// The memory broker's answers are ready at once; this also asserts it.
fn at_once<T>(mut answer: Answer<'_, T>) -> Result<T, BrokerError> {
    match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("the memory broker's answer was not ready"),
    }
}

fn room(name: &str) -> Room {
    Room::parse(name).unwrap()
}

fn publication(topic: &str) -> Publication {
    let payload = Payload::Json(RawValue::from_string("1".to_owned()).unwrap());
    Publication { topic: topic.into(), key: None, payload, user: None, id: None, idempotency_key: None }
}

fn sized(bytes: usize) -> Publication {
    Publication { payload: Payload::Binary(vec![0; bytes].into()), ..publication("t") }
}

fn keyed(topic: &str, key: &str) -> Publication {
    Publication { key: Some(key.into()), ..publication(topic) }
}

fn repeated(key: &str) -> Publication {
    Publication { idempotency_key: Some(key.into()), ..publication("t") }
}

#[test]
fn events_age_without_being_asked_for() {
    let bench = MemoryStage::new(1 << 20, Policy { history_age: Duration::from_secs(10), ..Policy::default() });
    let first = bench.publish("a", "t");
    bench.advance(Duration::from_secs(6));
    bench.publish("a", "t");
    assert_eq!(bench.kept("a"), [1, 2]);
    bench.advance(Duration::from_secs(4));
    let log = bench.log("a", Some(&Position { offset: 0, ..first.clone() }));
    assert_eq!((log.after, log.offset, log.complete), (1, 2, false));
    assert!(bench.log("a", Some(&first)).complete);

    let before = bench.memory.usage().bytes;
    bench.advance(Duration::from_secs(6));
    (0..SHARDS).for_each(|_| bench.memory.sweep());
    assert!(bench.memory.usage().bytes < before, "the sweep freed nothing");
    assert_eq!(bench.publish("a", "t"), Position { offset: 3, ..first });
}

#[test]
fn a_clock_that_is_set_back_does_not_turn_a_rooms_time() {
    let bench = MemoryStage::new(1 << 20, Policy::default());
    bench.publish("a", "t");
    bench.now.fetch_sub(5_000, Ordering::Relaxed);
    bench.publish("a", "t");
    let times: Vec<_> = bench.log("a", None).events.iter().map(|event| event.time).collect();
    assert_eq!(times, [1_000_000, 1_000_000]);
}

#[test]
fn an_event_above_the_rooms_log_is_refused_and_one_without_log_is_not() {
    let bench = MemoryStage::new(1 << 20, Policy { history_bytes: 2_000, ..Policy::default() });
    bench.memory.subscribe(&room("a"));
    let refused = bench.try_publish("a", sized(2_000));
    assert!(matches!(refused, Err(BrokerError::TooLarge { limit: 2_000, bytes }) if bytes > 2_000), "{refused:?}");
    assert_eq!(bench.publish("a", "t").offset, 1);

    let bench = MemoryStage::new(1 << 20, Policy { history_size: 0, history_bytes: 2_000, ..Policy::default() });
    bench.memory.subscribe(&room("a"));
    assert_eq!(bench.try_publish("a", sized(100_000)).map(|p| p.offset), Ok(1));
    let seen = bench.seen.0.lock().unwrap();
    assert!(matches!(&seen[1].1, Delivery::Event { event, .. } if event.payload.len() == 100_000));
}

#[test]
fn the_least_recently_used_idle_room_goes_first() {
    let bench = MemoryStage::new(16_000, Policy::default());
    let subscribed = bench.publish("subscribed", "t");
    bench.memory.subscribe(&room("subscribed"));
    let names: Vec<String> = (0..12).map(|n| format!("room{n}")).collect();
    let epochs: HashMap<&String, Position> = names.iter().map(|name| (name, bench.publish(name, "t"))).collect();
    assert_eq!(bench.memory.usage().evicted_rooms, 0, "{:?}", bench.memory.usage());
    bench.kept("room0");
    let mut filler = 0;
    while bench.memory.usage().evicted_rooms < 3 {
        bench.publish(&format!("filler{filler}"), "t");
        filler += 1;
        assert!(bench.memory.usage().bytes <= 16_000);
    }
    let lives = |name: &str, position: &Position| bench.log(name, Some(position)).complete;
    // Asking makes a forgotten room known again, which may cost another one: the survivors first.
    assert!(lives("room0", &epochs[&names[0]]), "room0 was used after the others");
    assert!(lives("room11", &epochs[&names[11]]));
    assert!(lives("subscribed", &subscribed), "a subscribed room was forgotten");
    for gone in &names[1..4] {
        assert!(!lives(gone, &epochs[gone]), "{gone} should have been forgotten");
        let again = bench.publish(gone, "t");
        assert_ne!(again.epoch, epochs[gone].epoch);
        assert_eq!(again.offset, 1);
    }
}

#[test]
fn rooms_without_events_go_before_rooms_with_history() {
    let bench = MemoryStage::new(20_000, Policy::default());
    let kept = bench.publish("kept", "t");
    for n in 0..200 {
        let flood = room(&format!("flood{n}"));
        bench.memory.subscribe(&flood);
        bench.memory.unsubscribe(&flood);
    }
    assert!(bench.memory.usage().evicted_rooms > 100);
    assert!(bench.log("kept", Some(&kept)).complete);
}

#[test]
fn logs_of_subscribed_rooms_are_trimmed_when_nothing_else_is_left() {
    let bench = MemoryStage::new(20_000, Policy::default());
    for name in ["quiet", "busy"] {
        bench.memory.subscribe(&room(name));
    }
    let epochs = ["quiet", "busy"].map(|name| bench.publish(name, "t").epoch);
    for _ in 0..500 {
        bench.publish("busy", "t");
        assert!(bench.memory.usage().bytes <= 20_000);
    }
    assert_eq!(bench.kept("quiet"), [] as [u64; 0], "the quiet room's log was the least recently used");
    assert!(bench.kept("busy").len() > 10);
    assert_eq!(["quiet", "busy"].map(|name| bench.publish(name, "t").epoch), epochs);
    assert_eq!(bench.publish("busy", "t").offset, 503);
}

#[test]
fn an_idle_room_alone_is_trimmed_not_forgotten_by_its_own_events() {
    let bench = MemoryStage::new(10_000, Policy::default());
    let first = bench.publish("alone", "t");
    (0..500).for_each(|_| assert_eq!(bench.publish("alone", "t").epoch, first.epoch));
    assert!(bench.memory.usage().bytes <= 10_000);
    assert_eq!(bench.publish("alone", "t").offset, 502);
}

#[test]
fn what_cannot_be_stored_is_refused_and_what_needs_no_store_is_not() {
    let policy = Policy { history_size: 0, retain: Retain::Key, retain_max: 1_000, ..Policy::default() };
    let bench = MemoryStage::new(30_000, policy.clone());
    bench.memory.subscribe(&room("a"));
    let mut keys = 0;
    let refused = loop {
        match bench.try_publish("a", keyed("t", &format!("{keys}"))) {
            Ok(_) => keys += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, BrokerError::Unavailable(_)));
    assert!(keys > 20 && bench.memory.usage().bytes <= 30_000);
    assert_eq!(bench.values("a").len(), keys);
    assert_eq!(bench.publish("a", "without key").offset, keys as u64 + 1);
    let events = bench.seen.0.lock().unwrap().len();
    assert_eq!(events, 1 + keys + 1, "a refused event was delivered");
}

#[test]
fn a_new_policy_counts_at_the_next_use() {
    let bench = MemoryStage::new(1 << 20, Policy { retain: Retain::Topic, ..Policy::default() });
    for topic in ["x", "y", "x"] {
        bench.publish("a", topic);
    }
    assert_eq!((bench.values("a"), bench.kept("a").len()), (vec!["y2".into(), "x3".into()], 3));
    let policy = Policy { retain: Retain::Room, history_size: 1, ..Policy::default() };
    bench.policies.store(Arc::new(Policies::new(Vec::new(), policy)));
    assert_eq!((bench.values("a"), bench.kept("a")), (vec!["x3".into()], vec![3]));
}

#[test]
fn idempotency_keys_age_and_are_bounded() {
    let limits = MemoryLimits { idempotency_keys: 3, ..MemoryLimits::default() };
    let bench = MemoryStage::with_limits(limits, Policy::default());
    let first = bench.try_publish("a", repeated("k")).unwrap();
    bench.advance(Duration::from_secs(299));
    assert_eq!(bench.try_publish("a", repeated("k")).unwrap(), first);
    bench.advance(Duration::from_secs(299));
    assert_eq!(bench.try_publish("a", repeated("k")).unwrap(), first, "it came again meanwhile");
    bench.advance(Duration::from_secs(300));
    assert_eq!(bench.try_publish("a", repeated("k")).unwrap().offset, 2);
    for (key, offset) in [("l", 3), ("m", 4), ("k", 2), ("n", 5), ("k", 2), ("l", 6), ("k", 2), ("m", 7), ("l", 6)] {
        assert_eq!(bench.try_publish("a", repeated(key)).unwrap().offset, offset, "{key}");
    }
}

#[test]
fn a_key_that_is_forgotten_takes_another_event() {
    let bench = MemoryStage::new(1 << 20, Policy::default());
    let other = || Publication { topic: "u".into(), ..repeated("k") };
    assert_eq!(bench.try_publish("a", repeated("k")).unwrap().offset, 1);
    assert_eq!(bench.try_publish("a", other()), Err(BrokerError::Conflict));
    bench.advance(Duration::from_secs(300));
    assert_eq!(bench.try_publish("a", other()).unwrap().offset, 2);
    assert_eq!(bench.try_publish("a", repeated("k")), Err(BrokerError::Conflict));
}

#[derive(Debug, Clone)]
enum TestStep {
    Publish { room: u8, bytes: u16, key: Option<u8>, repeat: Option<u8> },
    Subscribe(u8),
    Unsubscribe(u8),
    Join(u8, u8),
    Leave(u8, u8),
    Advance(u16),
    Sweep,
}

fn steps() -> impl Strategy<Value = Vec<TestStep>> {
    let publish = (0..6_u8, 0..800_u16, any::<Option<u8>>(), any::<Option<u8>>())
        // Half of those with an idempotency key have the same content as others with this key.
        .prop_map(|(room, bytes, key, repeat)| match repeat.filter(|_| bytes % 2 == 0) {
            Some(same) => TestStep::Publish { room, bytes: same.into(), key: None, repeat },
            None => TestStep::Publish { room, bytes, key, repeat },
        });
    proptest::collection::vec(
        prop_oneof![
            6 => publish,
            1 => (0..6_u8).prop_map(TestStep::Subscribe),
            1 => (0..6_u8).prop_map(TestStep::Unsubscribe),
            1 => (0..6_u8, 0..5_u8).prop_map(|(room, member)| TestStep::Join(room, member)),
            1 => (0..6_u8, 0..5_u8).prop_map(|(room, member)| TestStep::Leave(room, member)),
            1 => (0..20_000_u16).prop_map(TestStep::Advance),
            1 => Just(TestStep::Sweep),
        ],
        0..200,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever happens within whatever budget: no (epoch, offset) names two events, deliveries have no hole, logs
    /// none either, and the account says what is there.
    #[test]
    fn promises_hold_within_any_budget(steps in steps(), max_bytes in 2_000..30_000_usize) {
        let policy = Policy {
            history_size: 20, history_bytes: 4_000, history_age: Duration::from_secs(30), conflate: Conflate::None,
            retain: Retain::Key, retain_max: 5, presence: PresenceMode::Events, ..Policy::default()
        };
        let bench = MemoryStage::new(max_bytes, policy);
        let name = |n: u8| format!("room{n}");
        let member = |n: u8| Member { connection: format!("c{n}").into(), user: None };
        let mut named: HashMap<(String, u8, u64), (Option<u8>, String)> = HashMap::new();
        for step in steps {
            match step {
                TestStep::Publish { room, bytes, key, repeat } => {
                    let before = bench.seen.0.lock().unwrap().len();
                    let publication = Publication {
                        key: key.map(|key| key.to_string().into()),
                        idempotency_key: repeat.map(|key| key.to_string().into()),
                        ..sized(bytes.into())
                    };
                    let content = publication.fingerprint().to_string();
                    match bench.try_publish(&name(room), publication) {
                        Ok(position) => {
                            let place = (position.epoch.to_string(), room, position.offset);
                            let event = (repeat, content);
                            let same = named.insert(place, event.clone());
                            prop_assert!(
                                same.is_none() || (same == Some(event) && repeat.is_some()),
                                "one offset, two events"
                            );
                            prop_assert!(same.is_none() || bench.seen.0.lock().unwrap().len() == before);
                        }
                        Err(error) => {
                            prop_assert!(error != BrokerError::Conflict || repeat.is_some());
                            prop_assert_eq!(bench.seen.0.lock().unwrap().len(), before);
                        }
                    }
                }
                TestStep::Subscribe(n) => bench.memory.subscribe(&room(&name(n))),
                TestStep::Unsubscribe(n) => bench.memory.unsubscribe(&room(&name(n))),
                TestStep::Join(n, m) => bench.memory.join(&room(&name(n)), &member(m)),
                TestStep::Leave(n, m) => bench.memory.leave(&room(&name(n)), &member(m)),
                TestStep::Advance(ms) => bench.advance(Duration::from_millis(ms.into())),
                TestStep::Sweep => bench.memory.sweep(),
            }
            prop_assert_eq!(bench.memory.usage(), bench.memory.audit());
        }
        let mut positions: HashMap<Room, Position> = HashMap::new();
        for (room, delivery) in bench.seen.0.lock().unwrap().drain(..) {
            match delivery {
                Delivery::Started(position) => {
                    positions.insert(room, position);
                }
                Delivery::Event { epoch, event } => {
                    let position = positions.get_mut(&room).unwrap();
                    prop_assert_eq!((&position.epoch, position.offset + 1), (&epoch, event.offset));
                    position.offset = event.offset;
                }
                Delivery::Joined(_) | Delivery::Left(_) | Delivery::Signal(_) | Delivery::Notice(_) => {}
                Delivery::Unlogged { .. } => panic!("this broker has a log for everything"),
            }
        }
        for n in 0..6 {
            let log = bench.log(&name(n), None);
            let offsets: Vec<u64> = log.events.iter().map(|event: &Arc<Event>| event.offset).collect();
            prop_assert_eq!(offsets, (log.after + 1..=log.offset).collect::<Vec<_>>());
            prop_assert_eq!(log.offset, log.end);
        }
    }
}

impl MemoryBroker {
    /// The usage counted anew, with the order checked against the rooms.
    fn audit(&self) -> Usage {
        let (bytes, rooms) = self.slots.iter().map(Slot::audit).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        Usage { bytes, rooms, ..self.usage() }
    }
}
