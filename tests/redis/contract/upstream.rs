//! The broker of an edge under the suite: with a whole pod behind it as its home, whose rooms are in Redis or in itself. The link goes over
//! loopback; a test waits where others step a clock.

use std::{future::Future, marker::PhantomData, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use roomcast::testing::{
    broker::{
        Acks, Broker, Condition, Deliver, Erasure, KeyValue, Presence, UserPlaces, UserRecords,
        relay::PodMemory,
        upstream::{Upstream, UpstreamSettings},
    },
    config::{ApiKey, ListenAddress, Machine, MemoryCeiling, MemorySource, Policies, RedisUrl, Settings, resolve},
    metrics::UpstreamMetrics,
    model::{Policy, Room},
    pod::Pod,
};
use testkit::redis::Standalone;

use super::harness::Store;

const KEY: &str = "edge-key";

/// An account of memory that is never spent.
struct Plenty;

impl PodMemory for Plenty {
    fn take(&self, _: usize) {}

    fn give(&self, _: usize) {}

    fn is_spent(&self) -> bool {
        false
    }

    fn limit(&self) -> usize {
        usize::MAX
    }
}

/// What a home keeps its rooms in.
pub trait Home: Send + Sync + 'static {
    fn set(settings: &mut Settings);
}

/// In itself.
pub struct Alone;

impl Home for Alone {
    fn set(_: &mut Settings) {}
}

/// In a fleet's Redis, each test under a prefix of its own.
pub struct InRedis;

impl Home for InRedis {
    fn set(settings: &mut Settings) {
        use std::sync::{
            OnceLock,
            atomic::{AtomicUsize, Ordering},
        };

        static SERVER: OnceLock<Standalone> = OnceLock::new();
        static TESTS: AtomicUsize = AtomicUsize::new(0);
        let (host, port) = SERVER.get_or_init(Standalone::start).address();
        settings.redis.urls = vec![RedisUrl::parse(&format!("redis://{host}:{port}")).unwrap()];
        settings.redis.prefix = format!("home{}", TESTS.fetch_add(1, Ordering::Relaxed));
    }
}

/// An edge, and its home.
pub struct Edge<H> {
    edge: Upstream,
    home: Option<Pod>,
    of: PhantomData<H>,
}

pub type EdgeOfOne = Edge<Alone>;
pub type EdgeOfFleet = Edge<InRedis>;

/// A home whose rooms have this policy.
fn home<H: Home>(policy: Policy) -> Pod {
    let mut settings = Settings::default();
    let free = ListenAddress::Ip(([127, 0, 0, 1], 0).into());
    settings.general.dev = Some(true);
    settings.general.listen = Some(Vec::new());
    settings.general.plain_listen = Some(vec![free]);
    settings.general.internal_listen = vec![free];
    settings.general.workers = Some(1);
    settings.webtransport.enabled = false;
    settings.relay.listen = vec![free];
    settings.relay.tls = false;
    settings.relay.keys = vec![ApiKey::new(KEY.to_owned())];
    settings.relay.orders = true;
    H::set(&mut settings);
    let machine = Machine {
        cores: 1,
        open_files: 10_000,
        memory: MemoryCeiling { bytes: 1 << 36, source: MemorySource::Machine },
        state_dir: None,
        api_key: ApiKey::new("key".to_owned()).unwrap(),
    };
    let mut config = resolve(settings, &machine).unwrap();
    // The suite's policies need not be ones that a configuration may have.
    config.policies = Policies::new(Vec::new(), policy);
    Pod::start(config).unwrap()
}

impl<H: Home> Store for Edge<H> {
    async fn start(policy: Policy, deliver: Arc<dyn Deliver>) -> Self {
        let own = policy.clone();
        let home = tokio::task::spawn_blocking(move || home::<H>(own)).await.unwrap();
        let settings = UpstreamSettings {
            urls: vec![format!("ws://{}", home.addresses().relay[0])],
            key: KEY.to_owned(),
            tls: None,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(5),
            calls: 4_096,
            tail_bytes: 8 * 1024 * 1024,
            token_bytes: 1024 * 1024,
            advertise: None,
            peers: Vec::new(),
        };
        let policies = Arc::new(ArcSwap::from_pointee(Policies::new(Vec::new(), policy)));
        let edge = Upstream::start(settings, policies, deliver, UpstreamMetrics::none(), Arc::new(Plenty)).unwrap();
        let (code, _) = ready(&home).await;
        assert_eq!(code, 200);
        while edge.condition() != Condition::Well {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Self { edge, home: Some(home), of: PhantomData }
    }

    fn broker(&self) -> &dyn Broker {
        &self.edge
    }

    fn presence(&self) -> &dyn Presence {
        &self.edge
    }

    fn values(&self) -> &dyn KeyValue {
        &self.edge
    }

    fn acks(&self) -> &dyn Acks {
        &self.edge
    }

    fn erasure(&self) -> &dyn Erasure {
        &self.edge
    }

    fn records(&self) -> &dyn UserRecords {
        unreachable!("records of users do not reach over edges: `every_test!` leaves these tests out")
    }

    fn places(&self) -> &dyn UserPlaces {
        unreachable!("an edge counts its own connections: `every_test!` leaves these tests out")
    }

    fn pass(&self, time: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(time)
    }

    /// Its home forgets it.
    async fn lose(&self, room: &Room) {
        let erasure = Arc::clone(&self.home.as_ref().unwrap().services().erasure);
        erasure.forget_room(room).await.unwrap();
    }
}

impl<H> Drop for Edge<H> {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            std::thread::spawn(move || home.stop());
        }
    }
}

/// Waits until a home has reached what it keeps its rooms in.
async fn ready(home: &Pod) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    loop {
        let mut stream = tokio::net::TcpStream::connect(home.addresses().internal[0]).await.unwrap();
        stream.write_all(b"GET /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
        if code == 200 {
            return (code, answer);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
