//! What a home that is none of ours may make an edge hold, or believe.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::SinkExt;
use roomcast::testing::{
    broker::{HistoryQuery, relay::encode},
    config::{ApiKey, Settings, UpstreamUrl},
    model::{Epoch, Event, Payload, Position, Publication, Room, Since},
    pod::Pod,
};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    harness::{Client, get, pod, publication},
    raw_link::{RawHome, RawLink, delivery, metric, record, welcome},
};

fn follows(settings: &mut Settings, home: &RawHome) {
    settings.upstream.urls = vec![UpstreamUrl::parse(&home.url()).unwrap()];
    settings.upstream.key = Some(ApiKey::new("any".into()));
    settings.upstream.call_timeout = Duration::from_secs(3);
}

/// An edge, and its home's end of the link.
async fn edge_of(home: &RawHome) -> (Pod, RawLink) {
    let edge = pod(|settings| follows(settings, home));
    let link = home.welcome().await;
    (edge, link)
}

fn room() -> Room {
    Room::parse("a").unwrap()
}

fn everything() -> HistoryQuery {
    let since = Some(Since { epoch: Epoch::new("e"), offset: 0 });
    HistoryQuery { since, until: None, max_events: 10, max_bytes: 1_000 }
}

/// Answers the edge's next call with what is made of its number.
async fn answer(link: &mut RawLink, said: Value) {
    let id = link.hear_of("call").await["id"].clone();
    link.say(&json!({"answered": {"id": id, "said": said}})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_cannot_be_one_is_not_believed() {
    let home = RawHome::listen().await;
    let (edge, mut link) = edge_of(&home).await;
    let broker = &edge.services().broker;
    let history = |after: u64, end: u64, events: Value| json!({"Ok": {"history": {"epoch": "e", "after": after, "offset": end, "end": end, "complete": true, "events": events}}});
    let event = |offset: u64, user: &str| json!({"offset": offset, "time": 1, "room": null, "topic": "t", "key": null, "payload": {"json": 1}, "user": user, "id": null});
    let room = room();
    let good = history(0, 1, json!([event(1, "ann")]));
    let (read, ()) = tokio::join!(broker.history(&room, everything()), answer(&mut link, good));
    assert_eq!(read.unwrap().events.len(), 1);
    let bad = [
        history(0, u64::MAX, json!([])),
        history(5, 1, json!([])),
        history(0, 1, json!([event(0, "ann")])),
        history(0, 2, json!([event(2, "ann"), event(1, "ann")])),
        history(0, 1, json!([event(1, &"x".repeat(20_000))])),
        history(0, 20, (1..=20).map(|offset| event(offset, "ann")).collect()),
        json!({"Ok": "done"}),
    ];
    let count = bad.len() as f64;
    for said in bad {
        let shown = said.to_string();
        let (read, ()) = tokio::join!(broker.history(&room, everything()), answer(&mut link, said));
        let why = read.expect_err(&shown).to_string();
        assert!(why.contains("cannot be one to what it was asked"), "{why}");
    }
    let far = json!({"Ok": {"published": [{"Ok": {"epoch": "e", "offset": u64::MAX}}]}});
    let (said, ()) = tokio::join!(broker.publish(&room, publication("t", "1")), answer(&mut link, far));
    assert!(said.unwrap_err().to_string().contains("unknown"), "it may have been published");
    metric(&edge, "roomcast_upstream_refused_total{reason=\"answer\"}", |found| found == count + 1.0).await;
    // Answers that were never asked for are nothing.
    for id in 1_000..1_100 {
        link.say(&json!({"answered": {"id": id, "said": {"Ok": "done"}}})).await;
    }
    let (said, ()) = tokio::join!(broker.retained(&room), answer(&mut link, json!({"Err": "unknown"})));
    assert!(said.is_err());
    edge.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_true_ends_the_link() {
    let home = RawHome::listen().await;
    let (edge, mut link) = edge_of(&home).await;
    let mut client = Client::connect(edge.addresses().plain[0]).await;
    client.send(&json!({"type": "subscribe", "room": "a"}).to_string()).await;
    let publication = Publication {
        topic: "t".into(),
        key: None,
        payload: Payload::Binary(Bytes::from_static(b"x")),
        user: None,
        id: None,
        idempotency_key: None,
    };
    let nowhere = Event::from_publication(publication, 0, 1, None);
    let nowhere = roomcast::testing::broker::Delivery::Event { epoch: Epoch::new("e"), event: nowhere.into() };
    let nowhere = encode(&nowhere).unwrap();
    let started = |offset: u64| json!({"started": {"number": 1, "position": {"epoch": "e", "offset": offset}}});
    let many: Vec<String> = (0..5_000).map(|n| format!("{n:016x}")).collect();
    for bad in [
        delivery(1, &nowhere),
        delivery(1, b"z"),
        record(&started(u64::MAX)),
        record(&json!({"ancestry": {"pods": many, "hops": 1}})),
        record(&json!({"ancestry": {"pods": ["x".repeat(100_000)], "hops": 1}})),
        record(&json!({"tomorrow": 1})),
        vec![0, 0, 0, 9, 0],
    ] {
        link.hear_of("follow").await;
        link.say(&started(0)).await;
        link.say_bytes(bad).await;
        link.ended().await;
        link = home.welcome().await;
    }
    // And it goes on where the home says what can be.
    let number = link.hear_of("follow").await["number"].clone();
    let position = Position::new(Epoch::new("e"), 0);
    link.say(&json!({"started": {"number": number, "position": position}})).await;
    assert_eq!(get(&edge, "/ready").await.0, 200);
    edge.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_that_is_none_is_refused_with_a_sentence() {
    let home = RawHome::listen().await;
    let edge = pod(|settings| follows(settings, &home));
    let own = edge.services().control.pod().to_owned();
    let mut version = welcome(json!({"pods": [], "hops": 1}));
    version["welcome"]["version"] = json!(9);
    let mut nameless = welcome(json!({"pods": [], "hops": 1}));
    nameless["welcome"]["pod"] = json!("me");
    for first in [
        version,
        nameless,
        welcome(json!({"pods": [own], "hops": 1})),
        welcome(json!({"pods": [], "hops": 5})),
        json!({"pong": {"at": 1, "time": 1}}),
    ] {
        let mut link = home.accept().await;
        link.say(&first).await;
        link.ended().await;
    }
    assert_eq!(get(&edge, "/ready").await.0, 503, "no link was one");
    home.welcome().await;
    edge.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_that_asks_and_asks_is_answered_some() {
    let home = RawHome::listen().await;
    let (edge, mut link) = edge_of(&home).await;
    // In one message, so that none of them is answered before the last one is read.
    let asks: Vec<u8> = (0..5_000).flat_map(|id| record(&json!({"ask": {"id": id, "question": "stats"}}))).collect();
    link.say_bytes(asks).await;
    metric(&edge, "roomcast_upstream_refused_total{reason=\"question\"}", |count| count >= 4_900.0).await;
    assert!(link.hear_of("answer").await["said"]["stats"].is_object());
    edge.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_that_only_pings_has_said_nothing() {
    let home = RawHome::listen().await;
    let (edge, mut link) = edge_of(&home).await;
    let began = Instant::now();
    // A message that never comes to its end, and pings between its parts.
    while link.socket.send(Message::Ping(Bytes::from_static(b"p"))).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(20), "it is a link still");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    home.welcome().await;
    edge.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_no_larger_than_the_home_takes() {
    let home = RawHome::listen().await;
    let edge = pod(|settings| follows(settings, &home));
    let mut link = home.accept().await;
    let mut first = welcome(json!({"pods": [], "hops": 1}));
    first["welcome"]["largest"] = json!(10_000);
    link.say(&first).await;
    let (broker, room) = (&edge.services().broker, room());
    let began = Instant::now();
    while get(&edge, "/ready").await.0 != 200 {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let data = format!("\"{}\"", "x".repeat(20_000));
    let why = broker.publish(&room, publication("t", &data)).await.unwrap_err().to_string();
    assert!(why.contains("takes at most 10000 bytes at once"), "{why}");
    // The link stands, and what fits goes over it.
    let good = json!({"Ok": {"published": [{"Ok": {"epoch": "e", "offset": 1}}]}});
    let (said, ()) = tokio::join!(broker.publish(&room, publication("t", "1")), answer(&mut link, good));
    assert_eq!(said.unwrap().offset, 1);
    edge.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_are_apart_change_no_age() {
    let home = RawHome::listen().await;
    let edge = pod(|settings| {
        follows(settings, &home);
        settings.default_policy.history_age = Duration::from_secs(60);
    });
    let mut link = home.welcome().await;
    let now = || u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let mut client = Client::connect(edge.addresses().plain[0]).await;
    client.send(&json!({"type": "subscribe", "room": "a"}).to_string()).await;
    let (mut number, mut at) = (Value::Null, 0);
    // Two minutes behind: by this machine's clock each event would be too old at once.
    let home_now = || now() - 120_000;
    while number.is_null() || at == 0 {
        let said = link.hear().await.unwrap();
        if let Some(ping) = said.get("ping") {
            at = ping["at"].as_u64().unwrap();
            link.say(&json!({"pong": {"at": at, "time": home_now()}})).await;
        }
        if let Some(follow) = said.get("follow") {
            number = follow["number"].clone();
        }
    }
    metric(&edge, "roomcast_upstream_clock_ahead_seconds", |ahead| (-125.0..-115.0).contains(&ahead)).await;
    link.say(&json!({"started": {"number": number, "position": {"epoch": "e", "offset": 0}}})).await;
    let publication = publication("t", "1");
    let event = Event::from_publication(publication, 1, home_now(), None);
    let event = roomcast::testing::broker::Delivery::Event { epoch: Epoch::new("e"), event: event.into() };
    link.say_bytes(delivery(u32::try_from(number.as_u64().unwrap()).unwrap(), &encode(&event).unwrap())).await;
    while client.json().await["type"] != "events" {}
    // The tail has it still, and the lag is no two minutes.
    let kept = edge.services().broker.history(&room(), everything()).await.unwrap();
    assert_eq!((kept.events.len(), kept.complete), (1, true));
    metric(&edge, "roomcast_upstream_reads_total{from=\"home\"}", |count| count == 0.0).await;
    metric(&edge, "roomcast_upstream_lag_seconds_sum", |lag| lag < 20.0).await;
    edge.stop();
}
