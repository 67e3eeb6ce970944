//! Subscriptions against real servers, and against everything that servers do to subscriptions.
#![allow(clippy::unwrap_used, missing_docs)]

mod redis;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use redis::{Cluster, Reply, Standalone, shared, wait_until};
use roomcast::{
    broker::wire::{Endpoints, Health, Kind, Sink, State, Subscriber},
    metrics::RedisMetrics,
};
use tokio::task::JoinHandle;

/// What was heard.
#[derive(Default)]
struct Heard {
    messages: Mutex<HashMap<String, Vec<(Instant, String)>>>,
    confirmed: Mutex<HashMap<String, Vec<Instant>>>,
    told: Mutex<Vec<Health>>,
}

impl Sink for Heard {
    fn message(&self, channel: &str, payload: Bytes) {
        let payload = String::from_utf8(payload.to_vec()).unwrap();
        self.messages.lock().unwrap().entry(channel.to_owned()).or_default().push((Instant::now(), payload));
    }

    fn confirmed(&self, channel: &str) {
        self.confirmed.lock().unwrap().entry(channel.to_owned()).or_default().push(Instant::now());
    }

    fn trouble(&self, health: &Health) {
        self.told.lock().unwrap().push(health.clone());
    }
}

impl Heard {
    fn times_confirmed(&self, channel: &str) -> usize {
        self.confirmed.lock().unwrap().get(channel).map_or(0, Vec::len)
    }

    fn has(&self, channel: &str, payload: &str) -> bool {
        self.messages.lock().unwrap().get(channel).is_some_and(|got| got.iter().any(|(_, got)| got == payload))
    }
}

/// A subscriber at work.
struct Pod {
    subscriber: Arc<Subscriber>,
    heard: Arc<Heard>,
    work: JoinHandle<()>,
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.work.abort();
    }
}

fn endpoints(nodes: Vec<(String, u16)>, kind: Kind) -> Endpoints {
    Endpoints { nodes, kind, tls: None, user: None, password: None, prefix: "test:".to_owned() }
}

impl Pod {
    fn start(endpoints: Endpoints) -> Self {
        let heard = Arc::new(Heard::default());
        let subscriber =
            Arc::new(Subscriber::new(endpoints, Arc::clone(&heard) as Arc<dyn Sink>, RedisMetrics::none()));
        let work = tokio::spawn(Arc::clone(&subscriber).run());
        Self { subscriber, heard, work }
    }

    fn of(cluster: &Cluster) -> Self {
        Self::start(endpoints(cluster.addresses(), Kind::Cluster))
    }

    fn health(&self) -> Health {
        self.subscriber.health()
    }

    /// Wants channels and waits until they stand; how long that took.
    fn join(&self, channels: &[String]) -> Duration {
        let began = Instant::now();
        for channel in channels {
            self.subscriber.subscribe(channel);
        }
        self.wait_whole();
        began.elapsed()
    }

    fn wait_whole(&self) {
        let whole = |health: Health| health.state == State::Up && health.unconfirmed == 0;
        redis::wait_or("everything confirmed", || whole(self.health()), || format!("{:?}", self.health()));
    }
}

fn channels(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("room:{{{n}}}")).collect()
}

/// Publishes `payload` on each channel at its owner, in pipelines; the channels that did not hear it within a while.
fn deaf<'a>(pod: &Pod, cluster: &Cluster, channels: &'a [String], payload: &str) -> Vec<&'a String> {
    publish_all(cluster, channels, payload);
    let began = Instant::now();
    loop {
        let deaf: Vec<_> = channels.iter().filter(|channel| !pod.heard.has(channel, payload)).collect();
        if deaf.is_empty() || began.elapsed() > Duration::from_secs(3) {
            return deaf;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn publish_all(cluster: &Cluster, channels: &[String], payload: &str) {
    for master in cluster.masters() {
        let owned = cluster.slots(master);
        let is_ours = |channel: &&String| {
            let slot = roomcast::broker::wire::slot(channel.as_bytes());
            owned.iter().any(|range| range.contains(&slot))
        };
        let commands: Vec<_> = channels.iter().filter(is_ours).map(|c| vec!["SPUBLISH", c, payload]).collect();
        for reply in master.link().unwrap().pipeline(&commands).unwrap() {
            assert!(matches!(reply, Reply::Number(_)), "{reply:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_alone() {
    let server = Standalone::start();
    let pod = Pod::start(endpoints(vec![server.address()], Kind::Standalone));
    let channels = channels(10_000);
    println!("10,000 channels of a server alone confirmed in {:?}", pod.join(&channels));
    assert_eq!(pod.health().sharded, Some(true));
    server.call(&["SPUBLISH", &channels[7], "hello"]);
    wait_until("a message", || pod.heard.has(&channels[7], "hello"));

    pod.subscriber.unsubscribe(&channels[7]);
    pod.subscriber.unsubscribe(&channels[8]);
    pod.subscriber.subscribe(&channels[8]);
    let receivers = |channel: &String| server.call(&["SPUBLISH", channel, "again"]).number();
    wait_until("an end of the subscription", || receivers(&channels[7]) == 0);
    wait_until("a subscription again", || receivers(&channels[8]) == 1);

    let began = Instant::now();
    server.kill();
    wait_until("the loss is seen", || pod.health().unconfirmed == 9_999);
    assert_eq!(pod.health().state, State::Degraded);
    server.restart();
    server.wait_ready();
    let ready = Instant::now();
    pod.wait_whole();
    println!("a restart: back {:?} after the server, {:?} after the kill", ready.elapsed(), began.elapsed());
    assert_eq!(receivers(&channels[9]), 1);
    wait_until("each confirmed again", || pod.heard.times_confirmed(&channels[9]) == 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster() {
    let cluster = shared().await;
    let pod = Pod::of(&cluster);
    let channels = channels(1_000);
    println!("1,000 channels of a cluster confirmed in {:?}", pod.join(&channels));
    assert_eq!(pod.health().nodes.len(), 3);
    assert_eq!(deaf(&pod, &cluster, &channels, "a"), [] as [&String; 0]);
}
