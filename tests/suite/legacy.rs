//! Plain messages of publishers that know nothing of roomcast, as the clients of a fleet see them.

mod holders;

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::harness::{Client, Seen, get, pod};
use roomcast::testing::{
    broker::redis::Partition,
    config::{ApiKey, Flags, Machine, MemoryCeiling, RedisUrl, SettingsError, Variables, merge, resolve},
    pod::Pod,
};
use serde_json::{Value, json};
use testkit::{
    process::Process,
    redis::{Cluster, Node, Standalone},
};
use tokio::task::block_in_place;

const LEASE: Duration = Duration::from_secs(2);

const LEGACY: &str = r#"
[[legacy]]
channels = ["trip:*"]
room = "trip:{channel:1}"
topic = "{/topic}"
key = "{/data/id}"
id = "{/id}"
data = "/data"

[[legacy]]
channels = ["/records"]
room = "{/room}"
topic = "records"

[[legacy]]
channels = ["/system_notice", "*"]
room = "notice"
topic = "{channel}"
"#;

fn url(servers: &[(String, u16)], scheme: &str) -> Vec<RedisUrl> {
    servers.iter().map(|(host, port)| RedisUrl::parse(&format!("{scheme}://{host}:{port}")).unwrap()).collect()
}

fn member(urls: Vec<RedisUrl>) -> Pod {
    member_with(urls, LEGACY)
}

fn member_with(urls: Vec<RedisUrl>, toml: &str) -> Pod {
    pod(|settings| {
        let file = merge(&Flags::new(), &Variables::new(), Some((Path::new("rc.toml"), toml))).unwrap();
        settings.legacy = file.settings.legacy;
        settings.policies = file.settings.policies;
        settings.dialects = file.settings.dialects;
        settings.redis.urls = urls;
        settings.redis.lease = LEASE;
        settings.redis.command_timeout = Duration::from_secs(2);
    })
}

async fn counted(pod: &Pod, result: &str) -> u64 {
    let series = format!("roomcast_legacy_messages_total{{result=\"{result}\"}} ");
    let text = get(pod, "/metrics").await.1;
    text.lines().find_map(|line| line.strip_prefix(&series)).expect("the series").parse().unwrap()
}

/// What all pods counted together.
async fn sum(pods: &[&Pod], result: &str) -> u64 {
    let mut sum = 0;
    for pod in pods {
        sum += counted(pod, result).await;
    }
    sum
}

/// Publishes until a pod takes it in; how many it took.
async fn taken_in(pods: &[&Pod], server: &Node) -> u64 {
    let began = Instant::now();
    loop {
        let published = sum(pods, "published").await;
        if published > 0 {
            // What is under way still comes.
            tokio::time::sleep(Duration::from_millis(200)).await;
            return sum(pods, "published").await;
        }
        assert!(began.elapsed() < Duration::from_secs(15), "nobody takes messages in");
        block_in_place(|| server.call(&["PUBLISH", "trip:probe", r#"{"topic":"t","data":0}"#]));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The next events that come together.
async fn batch(client: &mut Client) -> Vec<Value> {
    loop {
        match client.next().await {
            Seen::Json(message) if message["type"] == "events" => return message["events"].as_array().unwrap().clone(),
            Seen::Json(message) => assert_ne!(message["type"], "gap", "{message}"),
            other => panic!("{other:?}"),
        }
    }
}

/// The next events, exactly so many.
async fn events(client: &mut Client, count: usize) -> Vec<Value> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(batch(client).await);
    }
    assert_eq!(all.len(), count, "{all:?}");
    all
}

async fn data(client: &mut Client, count: usize) -> Vec<u64> {
    events(client, count).await.iter().map(|event| event["data"]["n"].as_u64().unwrap()).collect()
}

#[test]
fn without_redis_there_is_nothing_to_take_in() {
    let file = merge(&Flags::new(), &Variables::new(), Some((Path::new("rc.toml"), LEGACY))).unwrap();
    let api_key = ApiKey::new("key".into()).unwrap();
    let machine = Machine { cores: 1, open_files: 10_000, memory: MemoryCeiling::detect(), state_dir: None, api_key };
    assert_eq!(resolve(file.settings, &machine).map(drop), Err(vec![SettingsError::Legacy]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_message_reaches_the_clients_of_all_pods_once_and_in_order() {
    let server = block_in_place(Standalone::start);
    let (a, b) = (member(url(&[server.address()], "redis")), member(url(&[server.address()], "redis")));
    let pods = [&a, &b];
    let before = taken_in(&pods, &server).await;
    let mut clients = Vec::new();
    for pod in pods {
        let mut client = Client::connect(pod.addresses().plain[0]).await;
        for room in ["trip:7", "group-1", "notice"] {
            client.subscribe(room).await;
        }
        clients.push(client);
    }
    let publish = |channel: &str, message: &Value| {
        block_in_place(|| server.call(&["PUBLISH", channel, &message.to_string()]));
    };
    for n in 0..200 {
        // The content repeats itself: every message is an event all the same.
        publish("trip:7", &json!({"topic": "stop.updated", "data": {"n": n / 2, "id": 5}}));
    }
    for client in &mut clients {
        assert_eq!(data(client, 200).await, (0..200).map(|n| n / 2).collect::<Vec<_>>());
    }
    // An id makes the second message a repetition.
    for n in [1, 2] {
        publish("trip:7", &json!({"topic": "t", "id": "same", "data": {"n": n}}));
    }
    let records = json!({"room": "group-1", "records": {"events": [{"id": 1}]}});
    publish("/records", &records);
    let notice = json!({"version": "2.1", "notice": "soon", "reload": true});
    publish("/system_notice", &notice);
    for client in &mut clients {
        let event = |event: Value| (event["topic"].as_str().unwrap().to_owned(), event["data"].clone());
        let mut seen: Vec<_> = events(client, 3).await.into_iter().map(event).collect();
        seen.sort_by(|a, b| a.0.cmp(&b.0));
        let expected = [("/system_notice", notice.clone()), ("records", records.clone()), ("t", json!({"n": 1}))];
        assert_eq!(seen, expected.map(|(topic, data)| (topic.to_owned(), data)));
        assert!(client.is_quiet().await, "nothing comes twice, though `*` matches every channel");
    }
    // What does not fit is counted, once in the fleet, and goes nowhere.
    for message in ["no JSON", r#"{"data":{}}"#, r#"{"topic":"","data":1}"#] {
        block_in_place(|| server.call(&["PUBLISH", "trip:7", message]));
    }
    block_in_place(|| server.call(&["PUBLISH", "/records", r#"{"room":"","records":{}}"#]));
    let began = Instant::now();
    while sum(&pods, "unfit").await < 4 {
        assert!(began.elapsed() < Duration::from_secs(5), "unfit: {}", sum(&pods, "unfit").await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for client in &mut clients {
        assert!(client.is_quiet().await);
    }
    assert_eq!((sum(&pods, "unfit").await, sum(&pods, "failed").await), (4, 0));
    // The repetition was published too; the log knew it.
    assert_eq!(sum(&pods, "published").await, before + 204);
    assert!(sum(&pods, "ignored").await >= 208, "the other pod heard them all");
    a.stop();
    b.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_it_does_not_matter_where_they_publish() {
    let cluster = block_in_place(|| Cluster::start(3, 0));
    let urls = || url(&cluster.addresses(), "redis-cluster");
    let (a, b) = (member(urls()), member(urls()));
    let addresses = cluster.addresses();
    let mut links: Vec<_> =
        addresses.iter().map(|(_, port)| block_in_place(|| testkit::redis::Link::open(*port, None).unwrap())).collect();
    let pods = [&a, &b];
    let began = Instant::now();
    while sum(&pods, "published").await == 0 {
        assert!(began.elapsed() < Duration::from_secs(15), "nobody takes messages in");
        block_in_place(|| links[0].call(&["PUBLISH", "trip:probe", r#"{"topic":"t","data":0}"#]).unwrap().ok());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut clients = Vec::new();
    for pod in pods {
        let mut client = Client::connect(pod.addresses().plain[0]).await;
        client.subscribe("trip:7").await;
        clients.push(client);
    }
    for n in 0..30_u64 {
        let message = json!({"topic": "t", "data": {"n": n}}).to_string();
        block_in_place(|| links[n as usize % 3].call(&["PUBLISH", "trip:7", &message]).unwrap().ok());
        // The nodes are not in order with each other.
        for client in &mut clients {
            assert_eq!(data(client, 1).await, [n]);
        }
    }
    a.stop();
    b.stop();
}

const FLEETING: &str = r#"
[[policy]]
match = ["trip:*"]
history_size = 0
batch_window = "100ms"
conflate = "key"
topics = ["t", "u"]

[[policy]]
match = ["kept:*"]
history_size = 0
retain = "room"

[[legacy]]
channels = ["trip:*", "kept:*"]
room = "{channel}"
topic = "{/topic}"
key = "{/key}"
data = "/data"

[[dialect]]
name = "plain"
paths = ["/plain"]

[[dialect.command]]
when = { "/join" = "*" }
does = "subscribe"
room = "{/join}"

[[dialect.event]]
write = '{"t": "{topic}", "d": "{data}", "at": "{offset?}", "in": "{position}"}'
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_keeps_nothing_is_told_at_once_by_every_pod_and_without_a_position() {
    let server = block_in_place(Standalone::start);
    let urls = || url(&[server.address()], "redis");
    let (a, b) = (member_with(urls(), FLEETING), member_with(urls(), FLEETING));
    let mut clients = Vec::new();
    for pod in [&a, &b] {
        while get(pod, "/ready").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut client = Client::connect(pod.addresses().plain[0]).await;
        client.subscribe("trip:7").await;
        clients.push(client);
    }
    let mut plain = Client::open(a.addresses().plain[0], "/plain", &[], &[], None).await.unwrap();
    plain.send(r#"{"join": "trip:7"}"#).await;
    let publish = |channel: &str, message: Value| {
        block_in_place(|| server.call(&["PUBLISH", channel, &message.to_string()]));
    };
    // The patterns stand once something comes; what is conflated away says nothing of when.
    let began = Instant::now();
    while counted(&a, "passed").await == 0 || counted(&b, "passed").await == 0 {
        assert!(began.elapsed() < Duration::from_secs(15), "nobody hears");
        publish("trip:other", json!({"topic": "t", "data": 0}));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (key, n) in [("x", 1), ("y", 2), ("x", 3)] {
        publish("trip:7", json!({"topic": "t", "key": key, "data": {"n": n}}));
    }
    publish("trip:7", json!({"topic": "unknown", "data": 1}));
    for client in &mut clients {
        let mut message = client.json().await;
        for event in message["events"].as_array_mut().unwrap() {
            assert!(event.as_object_mut().unwrap().remove("time").is_some());
        }
        let event = |key: &str, n: u64| json!({"topic": "t", "key": key, "data": {"n": n}});
        assert_eq!(message, json!({"type": "events", "room": "trip:7", "events": [event("y", 2), event("x", 3)]}));
        assert!(client.is_quiet().await, "once, and what its topics do not name never");
    }
    for n in [2, 3] {
        assert_eq!(plain.json().await, json!({"t": "t", "d": {"n": n}, "in": null}));
    }
    // No log was written to: who comes is told that the room is where it was.
    let mut late = Client::connect(b.addresses().plain[0]).await;
    assert_eq!(late.subscribe("trip:7").await["offset"], 0);
    assert_eq!(sum(&[&a, &b], "published").await, 0);
    // A room with a retained value has one log for the fleet.
    late.subscribe("kept:1").await;
    let began = Instant::now();
    let kept = loop {
        assert!(began.elapsed() < Duration::from_secs(15), "nobody takes messages in");
        publish("kept:1", json!({"topic": "t", "data": "v"}));
        match tokio::time::timeout(Duration::from_millis(200), late.json()).await {
            Ok(message) if message["retained"] != true => break message,
            _ => {}
        }
    };
    assert_eq!((&kept["type"], &kept["after"], &kept["events"][0]["data"]), (&"events".into(), &0.into(), &"v".into()));
    // Counted a moment after it was taken in.
    let began = Instant::now();
    while sum(&[&a, &b], "published").await == 0 {
        assert!(began.elapsed() < Duration::from_secs(5), "nothing was counted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    a.stop();
    b.stop();
}
