//! The Redis broker while Redis fails: what is lost is told, what is not lost comes, and one master's death is not the
//! others'. What every broker does is in `tests/redis/contract/`.

mod access;
mod appending;
mod failures;
mod fleet;
mod gathering;
mod layouts;
mod packed;
mod refusals;
mod slots;
mod unwritten;
mod user_places;
mod users;
mod ways;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use roomcast::testing::transport::trust::{client_config, client_config_with_identity};
use roomcast::testing::{
    broker::{
        Broker, BrokerError, Condition, Control, Deliver, Delivery, FleetAnswer, FleetQuestion, History, HistoryQuery,
        KeyValue, LookUp, Presence, Respond, UserWrite,
        redis::{Partition, Redis, Settings, Timeouts},
    },
    config::Policies,
    metrics::{RedisCommands, RedisMetrics},
    model::{Deletion, Durability, Member, Payload, Policy, Position, PresenceMode, Publication, Retain, Room, Since},
};
use roomcast_redis_subscriber::{Endpoints, Password, Topology};

use crate::contract::harness::{publication, room};
use testkit::redis::{Cluster, Node, Options, Standalone, Way};

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
                let follows = |p: &Position| {
                    p.offset + 1 == event.offset && (p.epoch == epoch || p.epoch.as_str().starts_with('n'))
                };
                track.holes += usize::from(!track.position.as_ref().is_some_and(follows));
                track.position = Some(Position::new(epoch, event.offset));
                track.topics.push(event.topic.to_string());
            }
            Delivery::Unlogged { .. } | Delivery::Signal(_) | Delivery::Notice(_) => {
                panic!("nobody publishes past the log here")
            }
            Delivery::Joined(member) => track.presence.push((true, member.connection.to_string())),
            Delivery::Left(member) => track.presence.push((false, member.connection.to_string())),
        }
    }
}

struct Pod {
    broker: Redis,
    ear: Arc<Ear>,
}

fn endpoints(nodes: Vec<(String, u16)>, topology: Topology) -> Endpoints {
    Endpoints::new(nodes, topology, "fleet")
}

fn alone(server: &Node) -> Settings {
    Settings::new(endpoints(vec![server.address()], Topology::Standalone))
}

fn clustered(cluster: &Cluster) -> Settings {
    Settings::new(endpoints(cluster.addresses(), Topology::Cluster))
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

fn topics(history: &History) -> Vec<String> {
    history.events.iter().map(|event| event.topic.to_string()).collect()
}

/// The whole log of a room.
async fn log_of(pod: &Pod, room: &Room) -> History {
    let everything = HistoryQuery { since: None, until: None, max_events: usize::MAX, max_bytes: usize::MAX };
    let began = Instant::now();
    loop {
        match pod.broker.history(room, everything.clone()).await {
            Ok(log) => return log,
            // A read is not repeated when its connection is made anew.
            Err(error) => assert!(began.elapsed() < Duration::from_secs(20), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A room of that master.
fn room_of(cluster: &Cluster, master: &Node) -> Room {
    let of = |room: &Room| cluster.owner(Partition::of(room).slot()).port() == master.port();
    (0..).map(|n| room(&format!("room:{n}"))).find(of).unwrap()
}
