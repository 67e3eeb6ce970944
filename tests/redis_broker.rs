//! The Redis broker while Redis fails: what is lost is told, what is not lost comes, and one master's death is not the
//! others'. What every broker does is in `tests/broker_contract/`.
#![allow(clippy::unwrap_used)]

mod redis;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use roomcast::transport::trust::client_config;
use roomcast::{
    broker::{
        Ask, Broker, BrokerError, Condition, Control, Deliver, Delivery, History, HistoryQuery, KeyValue, LookUp,
        Presence, Respond, Said,
        redis::{Partition, Redis, Settings, Timeouts},
        wire::{Endpoints, Kind, Password},
    },
    config::Policies,
    metrics::{RedisCommands, RedisMetrics},
    model::{Durability, Member, Payload, Policy, Position, PresenceMode, Publication, Retain, Room, Since},
};
use serde_json::value::RawValue;

use redis::{Cluster, Node, Options, Standalone};

/// What came of a room, as a hub would take it.
#[derive(Debug, Default, Clone)]
struct Track {
    position: Option<Position>,
    started: usize,
    /// Times at which something was seen to be missing: the hub would read the log.
    holes: usize,
    topics: Vec<String>,
    presence: Vec<(bool, String)>,
}

#[derive(Default)]
struct Ear(Mutex<HashMap<Room, Track>>);

impl Ear {
    fn of(&self, room: &Room) -> Track {
        self.0.lock().unwrap().get(room).cloned().unwrap_or_default()
    }
}

impl Deliver for Ear {
    fn deliver(&self, room: &Room, delivery: Delivery) {
        let mut tracks = self.0.lock().unwrap();
        let track = tracks.entry(room.clone()).or_default();
        match delivery {
            Delivery::Started(position) => {
                let first = track.position.is_none();
                track.holes += usize::from(!first && track.position.as_ref() != Some(&position));
                track.started += 1;
                track.position = Some(position);
            }
            Delivery::Event { epoch, event } => {
                let next = track.position.as_ref().map(|p| (p.epoch.clone(), p.offset + 1));
                track.holes += usize::from(next != Some((epoch.clone(), event.offset)));
                track.position = Some(Position::new(epoch, event.offset));
                track.topics.push(event.topic.to_string());
            }
            Delivery::Unlogged { .. } => panic!("nobody publishes past the log here"),
            Delivery::Joined(member) => track.presence.push((true, member.connection.to_string())),
            Delivery::Left(member) => track.presence.push((false, member.connection.to_string())),
        }
    }
}

struct Pod {
    broker: Redis,
    ear: Arc<Ear>,
}

fn endpoints(nodes: Vec<(String, u16)>, kind: Kind) -> Endpoints {
    Endpoints { nodes, kind, tls: None, user: None, password: None, database: 0, prefix: "fleet".into() }
}

fn alone(server: &Node) -> Settings {
    Settings::new(endpoints(vec![server.address()], Kind::Standalone))
}

fn clustered(cluster: &Cluster) -> Settings {
    Settings::new(endpoints(cluster.addresses(), Kind::Cluster))
}

impl Pod {
    fn new(settings: Settings, policy: Policy) -> Self {
        let ear = Arc::new(Ear::default());
        let policies = Arc::new(ArcSwap::from_pointee(Policies::new(Vec::new(), policy)));
        let deliver: Arc<dyn Deliver> = Arc::clone(&ear) as Arc<dyn Deliver>;
        let broker = Redis::start(settings, policies, deliver, RedisMetrics::none(), RedisCommands::none()).unwrap();
        Self { broker, ear }
    }

    async fn ready(settings: Settings) -> Self {
        let pod = Self::new(settings, Policy { presence: PresenceMode::Events, ..Policy::default() });
        pod.well().await;
        pod
    }

    async fn well(&self) {
        until("Redis is well", || self.broker.condition() == Condition::Well).await;
    }

    async fn publish(&self, room: &Room, topic: &str) -> Result<Position, BrokerError> {
        self.broker.publish(room, publication(topic)).await
    }

    /// Publishes until it succeeds.
    async fn insist(&self, room: &Room, topic: &str) -> Position {
        let publication = Publication { idempotency_key: Some(topic.into()), ..publication(topic) };
        for _ in 0..600 {
            match self.broker.publish(room, publication.clone()).await {
                Ok(position) => return position,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        panic!("no publish succeeded");
    }

    async fn since(&self, room: &Room, position: &Position) -> History {
        let since = Some(Since { epoch: position.epoch.clone(), offset: position.offset });
        let query = HistoryQuery { since, until: None, max_events: usize::MAX, max_bytes: usize::MAX };
        self.broker.history(room, query).await.unwrap()
    }

    async fn subscribed(&self, room: &Room) {
        self.broker.subscribe(room);
        until("the subscription stands", || self.ear.of(room).started > 0).await;
    }

    async fn reaches(&self, room: &Room, position: &Position) {
        until("the newest position is known", || self.ear.of(room).position.as_ref() == Some(position)).await;
    }
}

async fn until(what: &str, check: impl Fn() -> bool) {
    let began = Instant::now();
    while !check() {
        assert!(began.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn room(name: &str) -> Room {
    Room::parse(name).unwrap()
}

fn publication(topic: &str) -> Publication {
    let payload = Payload::Json(RawValue::from_string("1".to_owned()).unwrap());
    Publication { topic: topic.into(), key: None, payload, user: None, id: None, idempotency_key: None }
}

fn topics(history: &History) -> Vec<String> {
    history.events.iter().map(|event| event.topic.to_string()).collect()
}

/// A room of that master.
fn room_of(cluster: &Cluster, master: &Node) -> Room {
    let of = |room: &Room| cluster.owner(Partition::of(room).slot()).port() == master.port();
    (0..).map(|n| room(&format!("room:{n}"))).find(of).unwrap()
}

/// Acknowledged events die with their master; the replica gives their offsets out again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_loses_events_is_told() {
    let cluster = tokio::task::block_in_place(|| Cluster::start(3, 1));
    let pod = Pod::ready(clustered(&cluster)).await;
    let master = cluster.masters()[0];
    let room = room_of(&cluster, master);
    pod.subscribed(&room).await;
    let mut eight = pod.publish(&room, "1").await.unwrap();
    for n in 2..=8 {
        eight = pod.publish(&room, &n.to_string()).await.unwrap();
    }
    let replica = cluster.replica_of(master);
    tokio::task::block_in_place(|| {
        master.call(&["WAIT", "1", "5000"]);
        replica.pause();
        // Nor may anything wait for it in a socket.
        master.call(&["CLIENT", "KILL", "TYPE", "replica"]);
    });
    pod.publish(&room, "9").await.unwrap();
    let ten = pod.publish(&room, "10").await.unwrap();
    tokio::task::block_in_place(|| {
        master.kill();
        replica.resume();
        cluster.wait_promoted(replica);
    });
    assert_eq!(pod.insist(&room, "9'").await.offset, 9, "the replica had the lost events, nothing was tested");
    let newest = pod.insist(&room, "10'").await;
    assert_eq!(newest.offset, ten.offset);
    assert_ne!(newest.epoch, ten.epoch, "two events have one position");
    let exact = pod.since(&room, &eight).await;
    assert_eq!((topics(&exact), exact.complete), (vec!["9'".to_owned(), "10'".to_owned()], true));
    for lost in [9, 10] {
        let told = pod.since(&room, &Position::new(ten.epoch.clone(), lost)).await;
        assert_eq!((told.complete, told.after, topics(&told).len()), (false, 8, 2), "since {lost}");
    }
    assert!(pod.since(&room, &newest).await.complete);
    // Who stayed connected has seen that something is missing, and stands where the log does.
    pod.reaches(&room, &newest).await;
    assert!(pod.ear.of(&room).holes > 0);
}

/// A server that comes back with an older state goes on under another name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_with_older_data_is_told() {
    let server = tokio::task::block_in_place(Standalone::start);
    let pod = Pod::ready(alone(&server)).await;
    let room = room("a");
    pod.subscribed(&room).await;
    let mut five = pod.publish(&room, "1").await.unwrap();
    for n in 2..=5 {
        five = pod.publish(&room, &n.to_string()).await.unwrap();
    }
    tokio::task::block_in_place(|| server.call(&["SAVE"]));
    pod.publish(&room, "6").await.unwrap();
    let seven = pod.publish(&room, "7").await.unwrap();
    tokio::task::block_in_place(|| {
        server.kill();
        server.restart();
        server.wait_ready();
    });
    let six = pod.insist(&room, "6'").await;
    assert_eq!(six.offset, 6);
    assert_ne!(six.epoch, five.epoch);
    let exact = pod.since(&room, &five).await;
    assert_eq!((topics(&exact), exact.complete), (vec!["6'".to_owned()], true));
    let told = pod.since(&room, &seven).await;
    assert_eq!((told.complete, told.after), (false, 5));
    pod.reaches(&room, &six).await;
    assert!(pod.ear.of(&room).holes > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_begins_every_room_anew() {
    let server = tokio::task::block_in_place(Standalone::start);
    let settings = Settings { compare_every: Duration::from_secs(1), ..alone(&server) };
    let pod = Pod::ready(settings).await;
    let (busy, quiet) = (room("busy"), room("quiet"));
    let mut before = Vec::new();
    for room in [&busy, &quiet] {
        pod.subscribed(room).await;
        before.push(pod.publish(room, "before").await.unwrap());
    }
    pod.broker.join(&quiet, &Member { connection: "c1".into(), user: None });
    tokio::task::block_in_place(|| server.call(&["FLUSHALL"]));
    let after = pod.publish(&busy, "after").await.unwrap();
    assert_eq!(after.offset, 1);
    assert_ne!(after.epoch, before[0].epoch);
    assert!(!pod.since(&busy, &before[0]).await.complete);
    pod.reaches(&busy, &after).await;
    // Nobody publishes to the other one: the comparison finds it, and its members are written again.
    until("the quiet room has begun anew", || {
        pod.ear.of(&quiet).position.is_some_and(|p| p.epoch != before[1].epoch && p.offset == 0)
    })
    .await;
    let began = Instant::now();
    while pod.broker.list(&quiet, 10).await.unwrap().total != 1 {
        assert!(began.elapsed() < Duration::from_secs(10), "the members were not written again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The last message of a room is lost: nothing comes after it that would show it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_last_message_is_found() {
    let server = tokio::task::block_in_place(Standalone::start);
    let settings = Settings { compare_every: Duration::from_secs(1), ..alone(&server) };
    let pod = Pod::ready(settings).await;
    let room = room("a");
    pod.subscribed(&room).await;
    let first = pod.publish(&room, "t").await.unwrap();
    pod.reaches(&room, &first).await;
    // Only the record is moved on: that is what a lost message looks like from here.
    let record = format!("fleet:{{{}}}:room:a", Partition::of(&room).tag());
    tokio::task::block_in_place(|| server.call(&["HSET", &record, "offset", "2"]));
    pod.reaches(&room, &Position { offset: 2, ..first }).await;
    assert_eq!(pod.ear.of(&room).holes, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_subscriptions_come_back_and_show_what_was_missed() {
    let server = tokio::task::block_in_place(Standalone::start);
    let pod = Pod::ready(alone(&server)).await;
    let rooms: Vec<Room> = (0..50).map(|n| room(&format!("r:{n}"))).collect();
    for room in &rooms {
        pod.broker.subscribe(room);
    }
    until("all subscriptions stand", || rooms.iter().all(|room| pod.ear.of(room).started == 1)).await;
    for _ in 0..3 {
        tokio::task::block_in_place(|| server.kill_subscribers());
        let mut newest = Vec::new();
        for room in &rooms {
            newest.push(pod.publish(room, "t").await.unwrap());
        }
        for (room, newest) in rooms.iter().zip(&newest) {
            pod.reaches(room, newest).await;
        }
    }
    assert!(rooms.iter().any(|room| pod.ear.of(room).holes > 0), "nothing was missed, nothing was tested");
}

/// Slots move while rooms in them are published to: every publish succeeds, in one order, and every event is heard or
/// seen to be missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn publishing_survives_the_migration_of_its_slot() {
    let cluster = Arc::new(tokio::task::block_in_place(|| Cluster::start(3, 0)));
    let pod = Arc::new(Pod::ready(clustered(&cluster)).await);
    let (from, to) = (cluster.masters()[0].port(), cluster.masters()[1].port());
    let room = room_of(&cluster, cluster.masters()[0]);
    pod.subscribed(&room).await;
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = {
        let (pod, room, stop) = (Arc::clone(&pod), room.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut positions = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                positions.push(pod.publish(&room, "t").await.unwrap());
            }
            positions
        })
    };
    let slot = Partition::of(&room).slot();
    let moved = Arc::clone(&cluster);
    tokio::task::spawn_blocking(move || {
        let node = |port| moved.nodes().iter().find(|node| node.port() == port).unwrap();
        // A generation that stood twice reaches as far as its second stay.
        for (from, to) in [(from, to), (to, from), (from, to)] {
            std::thread::sleep(Duration::from_millis(300));
            moved.move_slots(node(from), node(to), slot - 20..slot + 20);
        }
        std::thread::sleep(Duration::from_millis(300));
    })
    .await
    .unwrap();
    stop.store(true, Ordering::Relaxed);
    let positions = publisher.await.unwrap();
    let last = positions.last().unwrap();
    assert_eq!(
        positions.iter().map(|p| p.offset).collect::<Vec<_>>(),
        (1..=positions.len() as u64).collect::<Vec<_>>()
    );
    pod.reaches(&room, last).await;
    // Nothing was lost, and the log says so across the generations.
    let first = positions.len() - 900.min(positions.len());
    for position in positions[first..].iter().step_by(10) {
        assert!(pod.since(&room, position).await.complete, "{position:?} of {last:?}");
    }
    assert_ne!(last.epoch.as_str(), "", "{last:?}");
}

/// How long a publish waits while its slot moves, with thousands of keys in it, among 500 others: `ASK` is not followed,
/// because the server that takes the slot in runs no script until all of its keys are there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_publish_waits_until_the_keys_of_its_slot_have_moved() {
    const ROOMS: usize = 1_000;
    let cluster = Arc::new(tokio::task::block_in_place(|| Cluster::start(3, 0)));
    let pod = Arc::new(Pod::ready(clustered(&cluster)).await);
    let from = cluster.masters()[0].port();
    let home = room_of(&cluster, cluster.masters()[0]);
    let slot = Partition::of(&home).slot();
    let rooms: Arc<Vec<Room>> = Arc::new(
        (0..).map(|n| room(&format!("of:{n}"))).filter(|r| Partition::of(r).slot() == slot).take(ROOMS).collect(),
    );
    let filled: Vec<_> = rooms.iter().map(|room| pod.publish(room, "t")).collect();
    futures_util::future::try_join_all(filled).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = {
        let (pod, rooms, stop) = (Arc::clone(&pod), Arc::clone(&rooms), Arc::clone(&stop));
        tokio::spawn(async move {
            let (mut longest, mut published) = (Duration::ZERO, 0);
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                pod.publish(&rooms[published % ROOMS], "t").await.unwrap();
                longest = longest.max(began.elapsed());
                published += 1;
            }
            (longest, published)
        })
    };
    let (moved, began) = (Arc::clone(&cluster), Instant::now());
    let keys = tokio::task::spawn_blocking(move || {
        let from = moved.nodes().iter().find(|node| node.port() == from).unwrap();
        let masters = moved.masters();
        let to = masters.iter().find(|master| master.port() != from.port()).unwrap();
        let first = slot.saturating_sub(250);
        moved.move_slots(from, to, first..first + 500);
        to.call(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]).number()
    })
    .await
    .unwrap();
    let took = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    let (longest, published) = publisher.await.unwrap();
    println!(
        "500 slots moved in {took:?}, one with {keys} keys; of {published} publishes to it the longest took {longest:?}"
    );
    assert!(keys > 2 * ROOMS as i64 && published > 0);
    assert!(longest < Duration::from_secs(4), "{longest:?}");
}

/// Rooms of other masters do not notice; rooms of the dead one are refused clearly, then come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_death_of_a_master_is_not_the_others() {
    let cluster = tokio::task::block_in_place(|| Cluster::start(3, 1));
    let pod = Arc::new(Pod::ready(clustered(&cluster)).await);
    let masters = cluster.masters();
    let (dying, other) = (room_of(&cluster, masters[0]), room_of(&cluster, masters[1]));
    pod.publish(&dying, "t").await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = {
        let (pod, stop) = (Arc::clone(&pod), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                pod.publish(&other, "t").await.unwrap();
                longest = longest.max(began.elapsed());
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            longest
        })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    tokio::task::block_in_place(|| masters[0].kill());
    let (began, mut refused, mut longest) = (Instant::now(), 0, Duration::ZERO);
    loop {
        let asked = Instant::now();
        match pod.publish(&dying, "t").await {
            Ok(_) => break,
            Err(BrokerError::Unavailable(_) | BrokerError::Unknown) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        longest = longest.max(asked.elapsed());
        assert!(began.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let away = began.elapsed();
    pod.well().await;
    stop.store(true, Ordering::Relaxed);
    let gap = publisher.await.unwrap();
    println!(
        "away {away:?}, {refused} refused, the slowest after {longest:?}; longest publish to another master {gap:?}"
    );
    assert!(refused > 0 && longest < Duration::from_secs(6));
    assert!(gap < Duration::from_millis(500), "a publish to a healthy master took {gap:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_starts_before_its_redis() {
    let server = tokio::task::block_in_place(Standalone::start);
    tokio::task::block_in_place(|| server.kill());
    let detected = Settings { detect_cluster: true, ..alone(&server) };
    let pod = Pod::new(detected, Policy::default());
    let room = room("a");
    pod.broker.subscribe(&room);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(pod.broker.condition(), Condition::Starting);
    let began = Instant::now();
    let refused = pod.publish(&room, "t").await;
    assert!(matches!(refused, Err(BrokerError::Unavailable(_))), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(3));
    tokio::task::block_in_place(|| {
        server.restart();
        server.wait_ready();
    });
    pod.well().await;
    let position = pod.publish(&room, "t").await.unwrap();
    pod.reaches(&room, &position).await;
    tokio::task::block_in_place(|| server.kill());
    until("the loss is noticed", || pod.broker.condition() == Condition::Degraded).await;
}

/// A publish that is not answered may or may not have happened, and is never told to have failed; with its key it
/// happens once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_without_an_answer_is_unknown_and_happens_once() {
    let server = tokio::task::block_in_place(Standalone::start);
    let timeouts = Timeouts {
        connect: Duration::from_millis(500),
        attempt: Duration::from_millis(400),
        command: Duration::from_secs(1),
    };
    let pod = Pod::ready(Settings { timeouts, ..alone(&server) }).await;
    let room = room("a");
    let first = pod.publish(&room, "before").await.unwrap();
    tokio::task::block_in_place(|| server.pause());
    let began = Instant::now();
    let keyed = Publication { idempotency_key: Some("k".into()), ..publication("in doubt") };
    assert_eq!(pod.broker.publish(&room, keyed.clone()).await, Err(BrokerError::Unknown));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    tokio::task::block_in_place(|| server.resume());
    let again = loop {
        match pod.broker.publish(&room, keyed.clone()).await {
            Ok(position) => break position,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    assert_eq!(again.offset, 2);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(topics(&pod.since(&room, &first).await), ["in doubt"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_members_of_a_dead_pod_are_gone_after_its_lease() {
    let server = tokio::task::block_in_place(Standalone::start);
    let settings = Settings { lease: Duration::from_secs(1), ..alone(&server) };
    let (dying, staying) = (Pod::ready(settings.clone()).await, Pod::ready(settings).await);
    let room = room("a");
    staying.subscribed(&room).await;
    let member = |name: &str| Member { connection: name.into(), user: Some("ann".into()) };
    for n in 0..3 {
        dying.broker.join(&room, &member(&format!("d{n}")));
    }
    staying.broker.join(&room, &member("s"));
    for pod in [&dying, &staying] {
        let began = Instant::now();
        while pod.broker.list(&room, 10).await.unwrap().total != 4 {
            assert!(began.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    // Longer than a lease: until then nobody is taken for dead.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(staying.broker.list(&room, 10).await.unwrap().total, 4);
    drop(dying);
    let began = Instant::now();
    loop {
        let list = staying.broker.list(&room, 10).await.unwrap();
        if list.total == 1 {
            assert_eq!(list.members, [member("s")]);
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(3), "{list:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    until("all departures are told", || {
        staying.ear.of(&room).presence.iter().filter(|(joined, _)| !joined).count() == 3
    })
    .await;
    assert_eq!(staying.ear.of(&room).presence.iter().filter(|(joined, _)| *joined).count(), 4);
}

/// A pod that was stopped for longer than its lease finds its members gone, and brings them back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_lost_its_lease_writes_its_members_anew() {
    let server = tokio::task::block_in_place(Standalone::start);
    let settings = Settings { lease: Duration::from_secs(1), ..alone(&server) };
    let pod = Pod::ready(settings).await;
    let room = room("a");
    pod.broker.join(&room, &Member { connection: "c".into(), user: None });
    let tag = |room: &Room| Partition::of(room).tag();
    let members = format!("fleet:{{{}}}:members:a {}", tag(&room), pod.broker.pod());
    let leases = format!("fleet:{{{}}}:leases", Partition::FIRST.tag());
    until("the member is written", || server.call(&["HLEN", &members]).number() == 1).await;
    tokio::task::block_in_place(|| server.call(&["DEL", &members, &leases]));
    until("the member is written again", || server.call(&["HLEN", &members]).number() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_rooms_are_joined_in_bulk() {
    let cluster = tokio::task::block_in_place(|| Cluster::start(3, 0));
    let pod = Pod::ready(clustered(&cluster)).await;
    let rooms: Vec<Room> = (0..10_000).map(|n| room(&format!("bulk:{n}"))).collect();
    let began = Instant::now();
    for room in &rooms {
        pod.broker.subscribe(room);
    }
    until("all have started", || {
        let tracks = pod.ear.0.lock().unwrap();
        tracks.values().filter(|track| track.started > 0).count() == rooms.len()
    })
    .await;
    println!("10,000 rooms joined in {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_are_used_and_a_wrong_one_is_no_outage_for_others() {
    let server = tokio::task::block_in_place(|| Standalone::start_with(Options::default().password("s3cret")));
    let with = |password: &str| {
        let mut settings = alone(&server);
        settings.endpoints.password = Some(Password::new(password));
        settings
    };
    let pod = Pod::ready(with("s3cret")).await;
    assert_eq!(pod.publish(&room("a"), "t").await.unwrap().offset, 1);
    let stranger = Pod::new(with("wrong"), Policy::default());
    let refused = stranger.publish(&room("a"), "t").await;
    assert!(matches!(refused, Err(BrokerError::Unavailable(_))), "{refused:?}");
    assert_eq!(stranger.broker.condition(), Condition::Starting);
    assert!(!format!("{:?} {:?}", stranger.broker, pod.broker).contains("s3cret"));
}

/// A durable publish is answered when a replica has it, and never before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_durable_publish_waits_for_a_replica() {
    let cluster = tokio::task::block_in_place(|| Cluster::start(3, 1));
    let timeouts =
        Timeouts { attempt: Duration::from_millis(500), command: Duration::from_millis(1_200), ..Timeouts::default() };
    let policy = Policy { durability: Durability::Replica, ..Policy::default() };
    let pod = Pod::new(Settings { timeouts, ..clustered(&cluster) }, policy);
    pod.well().await;
    let master = cluster.masters()[0];
    let room = room_of(&cluster, master);
    let first = pod.insist(&room, "1").await;
    let began = Instant::now();
    for n in 2..=100 {
        assert_eq!(pod.publish(&room, "t").await.unwrap().offset, n);
    }
    println!("a durable publish takes {:?}", began.elapsed() / 99);
    let refused = pod
        .broker
        .publish(&room, Publication { payload: Payload::Binary(vec![0; 2 << 20].into()), ..publication("t") });
    assert!(matches!(refused.await, Err(BrokerError::TooLarge { .. })));
    let replica = cluster.replica_of(master);
    tokio::task::block_in_place(|| replica.pause());
    let keyed = Publication { idempotency_key: Some("k".into()), ..publication("late") };
    assert_eq!(pod.broker.publish(&room, keyed.clone()).await, Err(BrokerError::Unknown));
    // It is in the log, and yet not told to be: its repetition waits as well.
    assert_eq!(pod.since(&room, &first).await.end, 101);
    assert_eq!(pod.broker.publish(&room, keyed.clone()).await, Err(BrokerError::Unknown));
    tokio::task::block_in_place(|| replica.resume());
    let began = Instant::now();
    let position = loop {
        match pod.broker.publish(&room, keyed.clone()).await {
            Ok(position) => break position,
            Err(_) => assert!(began.elapsed() < Duration::from_secs(15)),
        }
    };
    assert_eq!((position.offset, pod.since(&room, &first).await.end), (101, 101));
}

/// A user with the rules of the guide can do all that a pod does, on a server alone and in a cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_acl_of_the_guide_is_enough() {
    let guide = include_str!("../docs/OPERATIONS.md");
    let rules = guide.lines().find(|line| line.starts_with("~roomcast:")).unwrap();
    let mut user = vec!["ACL", "SETUSER", "pod", "reset", "on", ">s3cret"];
    user.extend(rules.split(' '));
    let server = tokio::task::block_in_place(Standalone::start);
    let cluster = tokio::task::block_in_place(|| Cluster::start(3, 1));
    tokio::task::block_in_place(|| {
        server.call(&user);
        cluster.nodes().iter().for_each(|node| drop(node.call(&user)));
    });
    for (settings, durability) in [(alone(&server), Durability::Log), (clustered(&cluster), Durability::Replica)] {
        let mut settings = settings;
        settings.endpoints.user = Some("pod".into());
        settings.endpoints.password = Some(Password::new("s3cret"));
        everything_works(settings, durability).await;
    }
}

/// Every kind of thing that a pod does with Redis, once.
async fn everything_works(settings: Settings, durability: Durability) {
    let mut settings = Settings { compare_every: Duration::from_secs(1), ..settings };
    settings.endpoints.prefix = "roomcast".into();
    let policy = Policy {
        presence: PresenceMode::Events,
        retain: Retain::Topic,
        retain_max: 2,
        retain_remove_topics: vec!["gone".into()],
        history_size: 4,
        history_bytes: 2_000,
        durability,
        ..Policy::default()
    };
    let (pod, other) = (Pod::new(settings.clone(), policy.clone()), Pod::new(settings, policy));
    pod.well().await;
    other.well().await;
    other.broker.answer_with(Arc::new(Everywhere));
    let room = room("a");
    pod.subscribed(&room).await;
    let mut last = other.insist(&room, "first").await;
    for n in 0..40 {
        last = other.publish(&room, ["x", "y", "z", "gone"][n % 4]).await.unwrap();
    }
    pod.reaches(&room, &last).await;
    let everything = HistoryQuery { since: None, until: None, max_events: 100, max_bytes: usize::MAX };
    assert_eq!(pod.broker.history(&room, everything).await.unwrap().events.len(), 4);
    assert_eq!(pod.since(&room, &last).await.end, last.offset);
    assert_eq!(pod.broker.retained(&room).await.unwrap().events.len(), 2);
    let ann = Member { connection: "c".into(), user: Some("ann".into()) };
    for total in [1, 0] {
        if total == 1 {
            pod.broker.join(&room, &ann)
        } else {
            pod.broker.leave(&room, &ann)
        }
        until("it is told", || pod.ear.of(&room).presence.len() == 2 - total).await;
        assert_eq!(other.broker.list(&room, 10).await.unwrap().total, total);
    }
    let values: &dyn KeyValue = &pod.broker;
    let (name, value, long) = ("v", bytes::Bytes::from_static(b"1"), Duration::from_secs(60));
    assert_eq!(values.claim(name, value.clone(), long).await, Ok(None));
    assert_eq!(other.broker.take(name).await, Ok(Some(value.clone())));
    values.set(name, value.clone(), long).await.unwrap();
    assert_eq!(other.broker.get(name).await, Ok(Some(value)));
    let answers = pod.broker.ask_others(&Ask::Stats, Duration::from_secs(5)).await.unwrap();
    assert_eq!(answers.said, [(other.broker.pod().to_owned(), Said::Done(Some(7)))]);
}

/// A pod that answers whatever is asked with a number.
struct Everywhere;

impl Respond for Everywhere {
    fn respond(&self, _: Ask) -> std::pin::Pin<Box<dyn Future<Output = Option<Said>> + Send>> {
        Box::pin(std::future::ready(Some(Said::Done(Some(7)))))
    }
}

/// A server by whose version there should be sharded channels, and that has none: plain ones serve instead, in a cluster too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_sharded_channels_is_used_with_plain_ones() {
    let without = || Options::default().line("rename-command SSUBSCRIBE \"\"").line("rename-command SPUBLISH \"\"");
    let server = tokio::task::block_in_place(|| Standalone::start_with(without()));
    assert!(server.try_call(&["SSUBSCRIBE", "a"]).is_ok_and(|reply| matches!(reply, redis::Reply::Error(_))));
    everything_works(alone(&server), Durability::Log).await;
    let cluster = tokio::task::block_in_place(|| Cluster::start_with(3, 1, without()));
    everything_works(clustered(&cluster), Durability::Replica).await;
}

/// A certificate for this machine, as files. The nodes of a cluster use it as clients of each other, too.
fn certificate(dir: &std::path::Path) -> (std::path::PathBuf, std::path::PathBuf) {
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
    let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let pair = KeyPair::generate().unwrap();
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&cert, params.self_signed(&pair).unwrap().pem()).unwrap();
    std::fs::write(&key, pair.serialize_pem()).unwrap();
    (cert, key)
}

/// Whether the servers under test speak TLS: the Valkey that is tried does not, which is said and not passed over.
fn speaks_tls() -> bool {
    let speaks = std::env::var("REDIS_SERVER").is_err();
    if !speaks {
        // Not `eprintln`, which a test that passes keeps to itself.
        let line = b"\nSKIPPED: the server that REDIS_SERVER names was built without TLS\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line);
    }
    speaks
}

/// With TLS, a user and a password, wherever Redis is: the servers that a cluster or a sentinel names are reached with TLS
/// too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_and_a_user_lead_to_a_cluster_and_through_sentinels() {
    if !speaks_tls() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(dir.path());
    let options = || Options::default().tls((&cert, &key));
    let trusting = Arc::new(client_config(Some(&cert)).unwrap().0);
    let guide = include_str!("../docs/OPERATIONS.md");
    let rules = guide.lines().find(|line| line.starts_with("~roomcast:")).unwrap();
    let user: Vec<&str> =
        ["ACL", "SETUSER", "pod", "reset", "on", ">s3cret"].into_iter().chain(rules.split(' ')).collect();
    let with = |settings: Settings| {
        let mut settings = settings;
        settings.endpoints.tls = Some(Arc::clone(&trusting));
        settings.endpoints.user = Some("pod".into());
        settings.endpoints.password = Some(Password::new("s3cret"));
        settings
    };
    let cluster = tokio::task::block_in_place(|| {
        let cluster = Cluster::start_with(3, 1, options());
        cluster.nodes().iter().for_each(|node| drop(node.call(&user)));
        cluster
    });
    let seeds = cluster.nodes().iter().map(Node::tls_address).take(2).collect();
    everything_works(with(Settings::new(endpoints(seeds, Kind::Cluster))), Durability::Replica).await;
    let watched = tokio::task::block_in_place(|| redis::Watched::start_with("pass", "other", options()));
    for node in [&watched.master, &watched.replica] {
        tokio::task::block_in_place(|| node.call(&user));
    }
    let kind = Kind::Sentinel { master: redis::NAME.to_owned(), user: None, password: Some(Password::new("other")) };
    let settings = with(Settings::new(endpoints(vec![watched.sentinel.tls_address()], kind)));
    everything_works(settings.clone(), Durability::Replica).await;
    tokio::task::block_in_place(|| {
        watched.master.call(&["WAIT", "1", "5000"]);
        watched.master.kill();
        watched.wait_promoted();
    });
    everything_works(settings, Durability::Log).await;
}

/// With TLS, the servers' names and certificates are checked; a stranger's is not believed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_go_over_tls() {
    if !speaks_tls() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(dir.path());
    let server = tokio::task::block_in_place(|| Standalone::start_with(Options::default().tls((&cert, &key))));
    let trusting = client_config(Some(&cert)).unwrap().0;
    let with = |config| {
        let mut settings = alone(&server);
        settings.endpoints.nodes = vec![server.tls_address()];
        settings.endpoints.tls = Some(Arc::new(config));
        settings
    };
    let pod = Pod::ready(with(trusting)).await;
    let room = room("a");
    pod.subscribed(&room).await;
    let position = pod.publish(&room, "t").await.unwrap();
    pod.reaches(&room, &position).await;
    let stranger = Pod::new(with(client_config(None).unwrap().0), Policy::default());
    let refused = stranger.publish(&room, "t").await;
    assert!(matches!(refused, Err(BrokerError::Unavailable(_))), "{refused:?}");
}

/// Sentinels say who the master is: commands and subscriptions follow them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinels_promotion_is_followed() {
    let watched = tokio::task::block_in_place(|| redis::Watched::start("s3cret", "other"));
    let kind = Kind::Sentinel { master: redis::NAME.to_owned(), user: None, password: Some(Password::new("other")) };
    let mut settings = Settings::new(endpoints(vec![watched.sentinel.address()], kind));
    settings.endpoints.password = Some(Password::new("s3cret"));
    let pod = Pod::ready(settings).await;
    let room = room("a");
    pod.subscribed(&room).await;
    let before = pod.publish(&room, "before").await.unwrap();
    pod.reaches(&room, &before).await;
    tokio::task::block_in_place(|| {
        watched.master.call(&["WAIT", "1", "5000"]);
        watched.master.kill();
        watched.wait_promoted();
    });
    let after = pod.insist(&room, "after").await;
    assert_eq!(after.offset, 2);
    assert!(pod.since(&room, &before).await.complete, "the replica had all of it");
    pod.reaches(&room, &after).await;
}

/// Where a pod is found is known as long as it lives: until its end, or until its lease has run out after its death.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pod_is_found_as_long_as_it_lives() {
    let cluster = redis::shared().await;
    let lease = Duration::from_secs(1);
    let at = |address: Option<&str>| Settings { lease, advertise: address.map(str::to_owned), ..clustered(&cluster) };
    let (here, there) = (Pod::ready(at(None)).await, Pod::ready(at(Some("127.0.0.1:7007"))).await);
    let name = there.broker.pod().to_owned();
    assert_ne!(here.broker.pod(), name);
    let found = async |name: &str| here.broker.address(name).await;
    while found(&name).await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(lease * 2).await;
    assert_eq!(found(&name).await, Ok(Some("127.0.0.1:7007".to_owned())), "it is renewed");
    assert_eq!((found(here.broker.pod()).await, found("nobody").await), (Ok(None), Ok(None)));
    tokio::task::block_in_place(|| drop(there));
    assert_eq!(found(&name).await, Ok(None), "a pod that ends says so");
}

/// Keys of an application are read by their own names, wherever in a cluster they are, and also while slots move.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn strings_of_others_are_looked_up_in_every_slot() {
    let cluster = redis::shared().await;
    let pod = Pod::ready(clustered(&cluster)).await;
    let keys: Vec<String> = (0..60).map(|n| format!("session:{{{n}}}:token")).collect();
    tokio::task::block_in_place(|| {
        for key in &keys {
            cluster.owner(cluster.slot(key)).call(&["SET", key, &format!("of {key}")]);
        }
        cluster.owner(cluster.slot("list")).call(&["RPUSH", "list", "a"]);
    });
    let all = async || {
        for key in &keys {
            let found = pod.broker.look_up(key).await.unwrap();
            assert_eq!(found.as_deref(), Some(format!("of {key}").as_bytes()), "{key}");
        }
    };
    all().await;
    assert_eq!(pod.broker.look_up("session:nobody").await, Ok(None));
    match pod.broker.look_up("list").await {
        Err(BrokerError::Unavailable(why)) => assert!(why.contains("WRONGTYPE"), "{why}"),
        other => panic!("{other:?}"),
    }
    tokio::task::block_in_place(|| {
        let slot = cluster.slot(&keys[0]);
        let from = cluster.owner(slot);
        let masters = cluster.masters();
        let to = masters.iter().find(|master| master.port() != from.port()).unwrap();
        cluster.move_slots(from, to, slot..slot + 1);
    });
    all().await;
    tokio::task::block_in_place(|| {
        let slot = cluster.slot(&keys[0]);
        let masters = cluster.masters();
        let home = masters.iter().find(|master| cluster.slots(master).iter().any(|range| range.contains(&(slot + 1))));
        cluster.move_slots(cluster.owner(slot), home.unwrap(), slot..slot + 1);
    });
    all().await;
}
