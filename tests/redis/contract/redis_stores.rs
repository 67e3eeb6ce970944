//! The Redis broker under the suite: on a server alone and on a cluster, each started once for all tests of the binary.
//! A test has the fleet's prefix to itself, and waits where others step a clock.

use std::{
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use roomcast::testing::{
    broker::{
        Acks, Broker, Condition, Deliver, Erasure, KeyValue, Presence, UserPlaces, UserRecords,
        redis::{Partition, Redis, Settings},
    },
    config::Policies,
    metrics::{RedisCommands, RedisMetrics},
    model::{Policy, Room},
};
use roomcast_redis_subscriber::{Endpoints, Topology};

use testkit::redis::{Cluster, Node, Standalone};

use super::harness::{Forgetful, Store};

/// A fleet of one pod on a server of its own kind.
pub struct Fleet<S: Servers> {
    broker: Redis,
    prefix: String,
    server: &'static S,
}

/// What a fleet can be on.
pub trait Servers: Send + Sync + 'static {
    fn shared() -> &'static Self;
    fn endpoints(&self) -> (Vec<(String, u16)>, Topology);
    /// Who has a room.
    fn owner(&self, room: &Room) -> &Node;
}

pub type Alone = Fleet<Standalone>;

impl Servers for Standalone {
    fn shared() -> &'static Self {
        static SERVER: OnceLock<Standalone> = OnceLock::new();
        SERVER.get_or_init(Standalone::start)
    }

    fn endpoints(&self) -> (Vec<(String, u16)>, Topology) {
        (vec![self.address()], Topology::Standalone)
    }

    fn owner(&self, _: &Room) -> &Node {
        self
    }
}

pub type Clustered = Fleet<Cluster>;

impl Servers for Cluster {
    fn shared() -> &'static Self {
        static SERVERS: OnceLock<Cluster> = OnceLock::new();
        SERVERS.get_or_init(|| Cluster::start(3, 3))
    }

    fn endpoints(&self) -> (Vec<(String, u16)>, Topology) {
        // Two are enough to find the others.
        (self.addresses().into_iter().take(2).collect(), Topology::Cluster)
    }

    fn owner(&self, room: &Room) -> &Node {
        Cluster::owner(self, Partition::of(room).slot())
    }
}

impl<S: Servers> Store for Fleet<S> {
    async fn start(policy: Policy, deliver: Arc<dyn Deliver>) -> Self {
        Self::begin(policy, deliver, |_| ()).await
    }

    fn broker(&self) -> &dyn Broker {
        &self.broker
    }

    fn presence(&self) -> &dyn Presence {
        &self.broker
    }

    fn values(&self) -> &dyn KeyValue {
        &self.broker
    }

    fn acks(&self) -> &dyn Acks {
        &self.broker
    }

    fn erasure(&self) -> &dyn Erasure {
        &*self.broker.erasure
    }

    fn records(&self) -> &dyn UserRecords {
        &*self.broker.users
    }

    fn places(&self) -> &dyn UserPlaces {
        &*self.broker.places
    }

    fn pass(&self, time: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(time)
    }

    /// Its keys are deleted, as an eviction would.
    async fn lose(&self, room: &Room) {
        let (server, prefix, room) = (self.server, self.prefix.clone(), room.clone());
        let lose = move || {
            let tag = Partition::of(&room).tag();
            let key = |kind: &str| format!("{prefix}:{{{tag}}}:{kind}:{room}");
            server.owner(&room).call(&["DEL", &key("room"), &key("log")]);
        };
        tokio::task::spawn_blocking(lose).await.unwrap();
    }
}

impl<S: Servers> Fleet<S> {
    async fn begin(policy: Policy, deliver: Arc<dyn Deliver>, change: impl FnOnce(&mut Settings)) -> Self {
        static TESTS: AtomicUsize = AtomicUsize::new(0);
        let prefix = format!("test{}", TESTS.fetch_add(1, Ordering::Relaxed));
        let server = tokio::task::spawn_blocking(S::shared).await.unwrap();
        let (nodes, topology) = server.endpoints();
        let endpoints = Endpoints::new(nodes, topology, &prefix);
        let mut settings = Settings::new(endpoints);
        change(&mut settings);
        let policies = Arc::new(ArcSwap::from_pointee(Policies::new(Vec::new(), policy)));
        let broker = Redis::start(settings, policies, deliver, RedisMetrics::none(), RedisCommands::none()).unwrap();
        while broker.condition() != Condition::Well {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Self { broker, prefix, server }
    }
}

impl<S: Servers> Forgetful for Fleet<S> {
    async fn start_with_key_age(policy: Policy, deliver: Arc<dyn Deliver>, age: Duration) -> Self {
        Self::begin(policy, deliver, |settings| settings.idempotency_age = age).await
    }
}
