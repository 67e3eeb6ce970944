//! Subscriptions against real servers, and against everything that servers do to subscriptions.

mod cluster;
mod entry;
mod standalone;
mod traffic;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use roomcast_redis_subscriber::{Endpoints, Health, Sink, State, Subscriber, Topology, slot};
use testkit::redis::{Cluster, Reply};
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

    fn health_changed(&self, health: &Health) {
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

fn endpoints(nodes: Vec<(String, u16)>, topology: Topology) -> Endpoints {
    Endpoints::new(nodes, topology, "test:")
}

/// Where nobody listens.
fn nobody() -> (String, u16) {
    ("127.0.0.1".to_owned(), 9)
}

impl Pod {
    fn start(endpoints: Endpoints) -> Self {
        let heard = Arc::new(Heard::default());
        let subscriber = Arc::new(Subscriber::new(endpoints, Arc::clone(&heard) as Arc<dyn Sink>, ()));
        let work = tokio::spawn(Arc::clone(&subscriber).run());
        Self { subscriber, heard, work }
    }

    fn of(cluster: &Cluster) -> Self {
        Self::start(endpoints(cluster.addresses(), Topology::Cluster))
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
        testkit::redis::wait_or("everything confirmed", || whole(self.health()), || format!("{:?}", self.health()));
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

/// Waits until each channel has heard a message that was published from now on, at its owner of now. What a subscription that
/// is being renewed misses is no fault, so that each is published to until it hears.
fn hear_in_the_end(pod: &Pod, cluster: &Cluster, channels: &[String], payload: &str) {
    let mut silent: Vec<String> = channels.to_vec();
    for round in 0.. {
        let payload = format!("{payload} {round}");
        publish_all(cluster, &silent, &payload);
        let published = Instant::now();
        while !silent.is_empty() && published.elapsed() < Duration::from_millis(500) {
            silent.retain(|channel| !pod.heard.has(channel, &payload));
            std::thread::sleep(Duration::from_millis(5));
        }
        if silent.is_empty() {
            return;
        }
        assert!(round < 80, "deaf for good: {silent:?}; {:?}", pod.health());
    }
}

fn publish_all(cluster: &Cluster, channels: &[String], payload: &str) {
    for master in cluster.masters() {
        let owned = cluster.slots(master);
        let is_ours = |channel: &&String| {
            let slot = slot(channel.as_bytes());
            owned.iter().any(|range| range.contains(&slot))
        };
        let commands: Vec<_> = channels.iter().filter(is_ours).map(|c| vec!["SPUBLISH", c, payload]).collect();
        for reply in master.link().unwrap().pipeline(&commands).unwrap() {
            assert!(matches!(reply, Reply::Number(_)), "{reply:?}");
        }
    }
}
