//! Rooms that share a log, as clients of a described dialect see them.

use std::{path::Path, time::Duration};

use crate::harness::{Client, Seen, pod, publish};
use roomcast::testing::{
    config::{Flags, RedisUrl, Settings, Variables, merge},
    model::Room,
    pod::Pod,
};
use serde_json::{Value, json};
use testkit::redis::Standalone;
use tokio::task::block_in_place;

const SHARED: &str = r#"
[[policy]]
match = ["r:*"]
log = "log"
slow = "close"
presence = "list"

[[policy]]
match = ["log"]
batch_window = "50ms"
slow = "close"

[[dialect]]
name = "plain"
paths = ["/plain"]

[[dialect.command]]
when = { "/do" = "enter" }
does = "subscribe"
room = "{/room}"

[[dialect.command]]
when = { "/do" = "leave" }
does = "unsubscribe"
room = "{/room}"

[[dialect.message]]
on = "subscribed"
write = '{"in": "{room}", "at": "{offset}"}'

[[dialect.message]]
on = "unsubscribed"
write = '{"out": "{room}"}'

[[dialect.message]]
on = "events"
write = '{"room": "{room}", "after": "{after}", "offset": "{offset}", "events": "{events}"}'

[[dialect.message]]
on = "gap"
write = '{"gap": "{room}"}'

[[dialect.event]]
write = '"{data}"'
"#;

fn shared(settings: &mut Settings) {
    let file = merge(&Flags::new(), &Variables::new(), Some((Path::new("rc.toml"), SHARED))).unwrap();
    settings.policies = file.settings.policies;
    settings.dialects = file.settings.dialects;
}

async fn enter(pod: &Pod, rooms: &[&str]) -> Client {
    let mut client = Client::open(pod.addresses().plain[0], "/plain", &[], &[], None).await.unwrap();
    for room in rooms {
        let entered = client.ask(json!({"do": "enter", "room": room})).await;
        assert_eq!(entered["in"], *room, "{entered}");
    }
    client
}

/// Every event until that one, each with its room; what the messages cover follows one another.
async fn until(client: &mut Client, last: i64) -> Vec<(String, i64)> {
    let (mut seen, mut covered) = (Vec::new(), 0);
    while seen.last().is_none_or(|(_, n)| *n != last) {
        let message = client.json().await;
        assert!(message["after"].as_u64().unwrap() >= covered, "{message}");
        covered = message["offset"].as_u64().unwrap();
        let room = message["room"].as_str().unwrap();
        seen.extend(message["events"].as_array().unwrap().iter().map(|n| (room.to_owned(), n.as_i64().unwrap())));
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_in_several_rooms_gets_one_order() {
    let pod = pod(shared);
    let (mut both, mut one) = (enter(&pod, &["r:1", "r:2"]).await, enter(&pod, &["r:2"]).await);
    let room = |n: i64| format!("r:{}", (n * n) % 3 + 1);
    for n in 0..200 {
        publish(&pod, &room(n), "t", &n.to_string()).await;
    }
    publish(&pod, "r:2", "t", "200").await;
    let all: Vec<_> = (0..200).map(|n| (room(n), n)).chain([("r:2".to_owned(), 200)]).collect();
    let of = |rooms: &[&str]| all.iter().filter(|(room, _)| rooms.contains(&&**room)).cloned().collect::<Vec<_>>();
    assert_eq!(until(&mut both, 200).await, of(&["r:1", "r:2"]));
    assert_eq!(until(&mut one, 200).await, of(&["r:2"]));
    // A room that is left is silent, whatever the log says; one that is entered begins behind what was.
    both.send(r#"{"do":"leave","room":"r:1"}"#).await;
    assert_eq!(both.json().await, json!({"out": "r:1"}));
    publish(&pod, "r:1", "t", "201").await;
    publish(&pod, "r:2", "t", "202").await;
    assert_eq!(until(&mut both, 202).await, [("r:2".to_owned(), 202)]);
    let entered = both.ask(json!({"do": "enter", "room": "r:1"})).await;
    assert_eq!(entered["in"], "r:1", "{entered}");
    publish(&pod, "r:1", "t", "203").await;
    assert_eq!(until(&mut both, 203).await, [("r:1".to_owned(), 203)]);
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_native_protocol_has_positions_of_its_own_and_does_without() {
    let pod = pod(shared);
    let mut native = Client::connect(pod.addresses().plain[0]).await;
    let refused = native.ask(json!({"type": "subscribe", "room": "r:1"})).await;
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("forbidden")), "{refused}");
    publish(&pod, "r:1", "t", "1").await;
    publish(&pod, "log", "t", "2").await;
    // The log itself is a room like any other, and tells nobody what was for the others.
    let history = native.ask(json!({"type": "history", "room": "log"})).await;
    let data: Vec<&Value> = history["events"].as_array().unwrap().iter().map(|event| &event["data"]).collect();
    assert_eq!(data, [&json!(2)], "{history}");
    let history = native.ask(json!({"type": "history", "room": "r:1"})).await;
    let data: Vec<&Value> = history["events"].as_array().unwrap().iter().map(|event| &event["data"]).collect();
    assert_eq!(data, [&json!(1)], "{history}");
    let room = Room::parse("r:1").unwrap();
    assert_eq!(pod.services().policy(&room).batch_window, Duration::from_millis(50), "the log's");
    native.subscribe("log").await;
    publish(&pod, "r:1", "t", "3").await;
    publish(&pod, "log", "t", "4").await;
    let events = native.json().await;
    assert_eq!((&events["room"], &events["events"][0]["data"]), (&json!("log"), &json!(4)), "{events}");
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_lost_events_says_so_in_each_of_its_rooms() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let pod = pod(|settings| {
        shared(settings);
        settings.redis.urls = vec![RedisUrl::parse(&format!("redis://{host}:{port}")).unwrap()];
    });
    let mut client = enter(&pod, &["r:1", "r:2"]).await;
    for n in 0..5 {
        publish(&pod, "r:1", "t", &n.to_string()).await;
    }
    until(&mut client, 4).await;
    block_in_place(|| server.call(&["FLUSHALL"]));
    for n in 5..8 {
        publish(&pod, "r:2", "t", &n.to_string()).await;
    }
    let mut gaps = vec![client.json().await["gap"].clone(), client.json().await["gap"].clone()];
    gaps.sort_by_key(Value::to_string);
    assert_eq!(gaps, [json!("r:1"), json!("r:2")]);
    assert_eq!(until(&mut client, 7).await.last(), Some(&("r:2".to_owned(), 7)));
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_is_closed_and_holds_nobody_up() {
    let pod = pod(|settings| {
        shared(settings);
        settings.limits.send_queue = 64 * 1024;
        settings.compression.enabled = false;
    });
    let (mut slow, mut fast) = (enter(&pod, &["r:1", "r:2"]).await, enter(&pod, &["r:2"]).await);
    let long = format!("\"{}\"", "x".repeat(50_000));
    for _ in 0..400 {
        publish(&pod, "r:1", "t", &long).await;
    }
    publish(&pod, "r:2", "t", "1").await;
    assert_eq!(until(&mut fast, 1).await, [("r:2".to_owned(), 1)]);
    // What the kernel had taken comes before the goodbye.
    let end = loop {
        match slow.next().await {
            Seen::Json(_) => {}
            end => break end,
        }
    };
    assert_eq!(end, Seen::Close(Some(4008)));
    pod.stop();
}
