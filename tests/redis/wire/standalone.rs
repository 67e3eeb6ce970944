//! A server alone, and a master that sentinels watch over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use roomcast_redis_subscriber::{
    Endpoints, Health, Layout, NodeError, Password, Sink, State, Subscriber, Topology, discover,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use testkit::redis::{NAME, Options, Standalone, Watched, wait_until};

use super::{Pod, channels, endpoints, nobody};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_channels_and_a_restart() {
    let server = Standalone::start();
    let pod = Pod::start(endpoints(vec![server.address()], Topology::Standalone));
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
    wait_until("each confirmed again", || pod.heard.times_confirmed(&channels[9]) >= 2);

    let began = Instant::now();
    assert_eq!(server.kill_subscribers(), 1);
    let again = |channel: &String| *channel == channels[7] || pod.heard.times_confirmed(channel) >= 3;
    wait_until("each confirmed a third time", || channels.iter().all(again));
    println!("CLIENT KILL of 10,000 channels: back in {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sentinels_promote_is_followed() {
    let watched = Watched::start("of-the-servers", "of-the-sentinels");
    let topology =
        Topology::Sentinel { master: NAME.to_owned(), user: None, password: Some(Password::new("of-the-sentinels")) };
    let endpoints = Endpoints {
        password: Some(Password::new("of-the-servers")),
        ..endpoints(vec![nobody(), watched.sentinel.address()], topology)
    };
    let pod = Pod::start(endpoints);
    let channels = channels(100);
    pod.join(&channels);
    assert_eq!(pod.health().nodes[0].address.port, watched.master.port());
    let began = Instant::now();
    watched.master.kill();
    watched.wait_promoted();
    let promoted = Instant::now();
    wait_until("the new master is followed", || pod.health().nodes[0].address.port == watched.replica.port());
    pod.wait_whole();
    println!("sentinel: promoted after {:?}, all back {:?} later", promoted - began, promoted.elapsed());
    for channel in &channels {
        assert_eq!(watched.replica.call(&["SPUBLISH", channel, "after"]).number(), 1);
    }
    wait_until("each hears", || channels.iter().all(|channel| pod.heard.has(channel, "after")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_servers_the_master_is_taken() {
    let master = Standalone::start();
    let replica = Standalone::start_with(Options::default().line(format!("replicaof 127.0.0.1 {}", master.port())));
    let pod = Pod::start(endpoints(vec![replica.address(), nobody(), master.address()], Topology::Standalone));
    pod.join(&channels(10));
    assert_eq!(pod.health().nodes[0].address.port, master.port());
    let server = discover(&endpoints(vec![nobody(), replica.address()], Topology::Standalone)).await.unwrap();
    assert!(!server.master && !server.cluster && server.sharded && server.version.starts_with('7'), "{server:?}");
}

/// A way to a server on which messages of subscriptions get lost, and nothing else.
async fn muffled(port: u16) -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (here, muffled) = (listener.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
    let is_muffled = Arc::clone(&muffled);
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let is_muffled = Arc::clone(&is_muffled);
            tokio::spawn(async move {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
                let mut bytes = vec![0; 1 << 16];
                while let Ok(n @ 1..) = from_server.read(&mut bytes).await {
                    let is_message = bytes[..n].windows(8).any(|word| word == b"smessage");
                    if is_message && is_muffled.load(Ordering::Relaxed) {
                        continue;
                    }
                    if to_client.write_all(&bytes[..n]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (here, muffled)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_only_looks_alive_is_rebuilt() {
    let server = Standalone::start();
    let (port, muffled) = muffled(server.port()).await;
    let pod = Pod::start(endpoints(vec![("127.0.0.1".to_owned(), port)], Topology::Standalone));
    pod.join(&channels(10));
    let id =
        || server.call(&["CLIENT", "LIST", "TYPE", "pubsub"]).text().split(' ').next().unwrap_or_default().to_owned();
    let first = id();
    muffled.store(true, Ordering::Relaxed);
    let began = Instant::now();
    wait_until("the canary is missed", || pod.health().state == State::Degraded);
    wait_until("another connection", || !id().is_empty() && id() != first);
    println!("a deaf connection replaced after {:?}", began.elapsed());
    let told = |fault: &NodeError| {
        pod.heard.told.lock().unwrap().iter().any(|h| h.nodes.iter().any(|n| n.error.as_ref() == Some(fault)))
    };
    wait_until("it is told", || told(&NodeError::Deaf));
    muffled.store(false, Ordering::Relaxed);
    pod.wait_whole();
    server.call(&["SPUBLISH", "room:{1}", "after"]);
    wait_until("a message", || pod.heard.has("room:{1}", "after"));
}

/// Panics at the first message, and then counts.
#[derive(Default)]
struct Fragile {
    broken: AtomicBool,
    messages: AtomicUsize,
}

impl Sink for Fragile {
    fn message(&self, _: &str, _: Bytes) {
        assert!(self.broken.swap(true, Ordering::Relaxed), "as planned");
        self.messages.fetch_add(1, Ordering::Relaxed);
    }
    fn confirmed(&self, _: &str) {}
    fn health_changed(&self, _: &Health) {}
    fn layout_changed(&self, _: &Layout) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_whoever_hears_makes_nobody_deaf() {
    let server = Standalone::start();
    let sink = Arc::new(Fragile::default());
    let endpoints = endpoints(vec![server.address()], Topology::Standalone);
    let subscriber = Arc::new(Subscriber::new(endpoints, Arc::clone(&sink) as Arc<dyn Sink>, ()));
    let work = tokio::spawn(Arc::clone(&subscriber).run());
    subscriber.subscribe("room:1");
    wait_until("it stands", || subscriber.health().confirmed == 1);
    assert_eq!(server.call(&["SPUBLISH", "room:1", "a"]).number(), 1);
    wait_until("the panic", || sink.broken.load(Ordering::Relaxed));
    wait_until("a message", || {
        server.call(&["SPUBLISH", "room:1", "b"]);
        sink.messages.load(Ordering::Relaxed) > 0
    });
    wait_until("all is well", || subscriber.health().state == State::Up && subscriber.health().confirmed == 1);
    work.abort();
}
