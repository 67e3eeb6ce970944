//! Edges that follow a home, as clients, backends and operators see them.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use roomcast::testing::{
    config::{ApiKey, ListenAddress, RoomPattern, Settings, UpstreamUrl},
    model::{PresenceMode, Room},
    pod::Pod,
};
use serde_json::{Value, json};
use testkit::redis::{Standalone, Way};
use tokio::task::block_in_place;

use crate::{
    harness::{Client, Seen, config, get, pod, publication, publish, settings},
    users::{call, over, ready},
};

pub const KEY: &str = "the-key-of-edges";

pub fn takes_edges(settings: &mut Settings) {
    settings.relay.listen = vec![ListenAddress::Ip(([127, 0, 0, 1], 0).into())];
    settings.relay.tls = false;
    settings.relay.keys = vec![ApiKey::new(KEY.into())];
    settings.default_policy.presence = PresenceMode::List;
}

pub fn home() -> Pod {
    pod(takes_edges)
}

pub fn url(home: &Pod) -> String {
    format!("ws://{}", home.addresses().relay[0])
}

pub fn follows(settings: &mut Settings, urls: &[String], key: &str) {
    settings.upstream.urls = urls.iter().map(|url| UpstreamUrl::parse(url).unwrap()).collect();
    settings.upstream.key = Some(ApiKey::new(key.into()));
    settings.upstream.call_timeout = Duration::from_secs(3);
    settings.default_policy.presence = PresenceMode::List;
}

/// An edge that may be a home too, and is linked.
pub async fn edge(urls: &[String]) -> Pod {
    let edge = pod(|settings| {
        takes_edges(settings);
        follows(settings, urls, KEY);
    });
    ready(&edge).await;
    edge
}

/// A home, and its one edge.
pub async fn home_and_edge() -> [Pod; 2] {
    let home = home();
    let edge = edge(&[url(&home)]).await;
    [home, edge]
}

async fn says(pod: &Pod, wanted: &str) {
    let began = Instant::now();
    loop {
        let (status, said) = get(pod, "/ready").await;
        if said == wanted {
            assert_eq!(status, 200);
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{said} instead of {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A client that keeps its position in each room, and fails at a hole, a repetition or a gap.
pub struct Walker {
    client: Client,
    at: HashMap<String, (Value, u64)>,
}

impl Walker {
    pub async fn enter(pod: &Pod, rooms: &[String]) -> Self {
        let mut walker = Self { client: Client::connect(pod.addresses().plain[0]).await, at: HashMap::new() };
        for room in rooms {
            let joined = walker.asked(json!({"type": "subscribe", "room": room})).await;
            walker.at.insert(room.clone(), (joined["epoch"].clone(), joined["offset"].as_u64().unwrap()));
        }
        walker
    }

    /// Leaves the pod, and comes to another one with its positions.
    async fn walk_to(mut self, pod: &Pod) -> Self {
        self.client = Client::connect(pod.addresses().plain[0]).await;
        let rooms: Vec<_> = self.at.clone().into_iter().collect();
        for (room, (epoch, offset)) in rooms {
            let since = json!({"epoch": epoch, "offset": offset});
            let joined = self.asked(json!({"type": "subscribe", "room": room, "since": since})).await;
            assert_eq!(joined["recovered"], true, "{joined}");
        }
        self
    }

    /// Sends a command and waits for its answer, events of other rooms taken in meanwhile.
    async fn asked(&mut self, command: Value) -> Value {
        self.client.send(&command.to_string()).await;
        loop {
            let said = self.message().await;
            if said["type"] == "subscribed" {
                return said;
            }
            self.take(&said);
        }
    }

    async fn message(&mut self) -> Value {
        match self.client.next().await {
            Seen::Json(message) => message,
            other => panic!("{other:?} instead of a message"),
        }
    }

    fn take(&mut self, said: &Value) {
        assert!(said["type"] != "gap" && said["type"] != "error", "{said}");
        if said["type"] != "events" {
            return;
        }
        let (epoch, at) = self.at.get_mut(said["room"].as_str().unwrap()).unwrap();
        for event in said["events"].as_array().unwrap() {
            let offset = event["offset"].as_u64().unwrap();
            assert_eq!(offset, *at + 1, "behind {at}: {said}");
            assert_eq!(event["data"], json!(offset), "{said}");
            *at = offset;
        }
        *epoch = said["epoch"].clone();
    }

    /// Reads up to each room's event with that offset.
    pub async fn reads_up_to(&mut self, offset: u64) {
        while self.at.values().any(|(_, at)| *at < offset) {
            let said = self.message().await;
            self.take(&said);
        }
        assert!(self.at.values().all(|(_, at)| *at == offset));
    }
}

fn rooms(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("room:{n}")).collect()
}

/// Publishes the event with that offset, whose data it is, in each room.
pub async fn publish_each(pod: &Pod, rooms: &[String], offset: u64) {
    for room in rooms {
        assert_eq!(publish(pod, room, "t", &offset.to_string()).await.offset, offset);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_anywhere_reaches_the_clients_everywhere() {
    let home = home();
    let (a, b) = (edge(&[url(&home)]).await, edge(&[url(&home)]).await);
    let rooms = rooms(3);
    let mut walkers = Vec::new();
    for pod in [&home, &a, &b] {
        walkers.push(Walker::enter(pod, &rooms).await);
    }
    for (offset, pod) in (1..).zip([&home, &a, &b, &a, &home]) {
        publish_each(pod, &rooms, offset).await;
    }
    for walker in &mut walkers {
        walker.reads_up_to(5).await;
    }
    for pod in [a, b, home] {
        pod.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_walks_with_one_position_from_pod_to_pod() {
    let home = home();
    let (a, b) = (edge(&[url(&home)]).await, edge(&[url(&home)]).await);
    let rooms = rooms(100);
    let mut walker = Walker::enter(&home, &rooms).await;
    let mut resident = Walker::enter(&a, &rooms).await;
    let mut offset = 0;
    for (pod, publisher) in [(&a, &home), (&b, &a), (&home, &b), (&b, &home), (&a, &b)] {
        for _ in 0..2 {
            offset += 1;
            publish_each(publisher, &rooms, offset).await;
        }
        walker = walker.walk_to(pod).await;
        walker.reads_up_to(offset).await;
        resident.reads_up_to(offset).await;
    }
    let metrics = get(&a, "/metrics").await.1;
    assert!(metrics.contains("roomcast_upstream_reads_total{from=\"tail\"}"), "{metrics}");
    for pod in [a, b, home] {
        pod.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_link_loses_nothing_and_members_stay() {
    let home = home();
    let way = Way::to(home.addresses().relay[0].port());
    let edge = edge(&[format!("ws://127.0.0.1:{}", way.address().1)]).await;
    let rooms = rooms(5);
    let mut walker = Walker::enter(&edge, &rooms).await;
    publish_each(&edge, &rooms, 1).await;
    walker.reads_up_to(1).await;
    way.close(true);
    way.swallow();
    tokio::time::sleep(Duration::from_secs(2)).await;
    publish_each(&home, &rooms, 2).await;
    says(&edge, r#"{"status":"degraded","reason":"upstream"}"#).await;
    let room = Room::parse("room:0").unwrap();
    let refused = edge.services().broker.publish(&room, publication("t", "9")).await;
    assert!(refused.is_err(), "{refused:?}");
    publish_each(&home, &rooms, 3).await;
    way.close(false);
    walker.reads_up_to(3).await;
    publish_each(&edge, &rooms, 4).await;
    walker.reads_up_to(4).await;
    ready(&edge).await;
    edge.stop();
    home.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_pods_of_the_home_dies_and_nothing_is_lost() {
    let server = block_in_place(Standalone::start);
    let home = || {
        pod(|settings| {
            takes_edges(settings);
            over(&server, settings);
        })
    };
    let (first, second) = (home(), home());
    ready(&first).await;
    ready(&second).await;
    let edge = edge(&[url(&first), url(&second)]).await;
    let rooms = rooms(40);
    let mut walker = Walker::enter(&edge, &rooms).await;
    publish_each(&edge, &rooms, 1).await;
    walker.reads_up_to(1).await;
    block_in_place(|| first.stop());
    let began = Instant::now();
    publish_each(&second, &rooms, 2).await;
    walker.reads_up_to(2).await;
    publish_each(&edge, &rooms, 3).await;
    walker.reads_up_to(3).await;
    println!("40 rooms were whole {:?} after one of two pods of the home had died", began.elapsed());
    edge.stop();
    second.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_may_be_the_home_of_another() {
    let home = home();
    let middle = edge(&[url(&home)]).await;
    let far = edge(&[url(&middle)]).await;
    let rooms = rooms(3);
    let (mut near, mut at_the_end) = (Walker::enter(&home, &rooms).await, Walker::enter(&far, &rooms).await);
    for (offset, pod) in (1..).zip([&home, &far, &middle]) {
        publish_each(pod, &rooms, offset).await;
    }
    near.reads_up_to(3).await;
    at_the_end.reads_up_to(3).await;
    at_the_end = at_the_end.walk_to(&middle).await;
    publish_each(&far, &rooms, 4).await;
    at_the_end.reads_up_to(4).await;
    for pod in [far, middle, home] {
        pod.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_is_refused() {
    let [one, other] = testkit::ports::free();
    let ring = |own: u16, next: u16| {
        pod(|settings| {
            takes_edges(settings);
            settings.relay.listen = vec![ListenAddress::Ip(([127, 0, 0, 1], own).into())];
            follows(settings, &[format!("ws://127.0.0.1:{next}")], KEY);
        })
    };
    let pods = [ring(one, other), ring(other, one)];
    let began = Instant::now();
    let is_refused = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("roomcast_relay_refused_total{reason=\"circle\"}"));
        line.is_some_and(|line| !line.ends_with(" 0"))
    };
    loop {
        let texts = [get(&pods[0], "/metrics").await.1, get(&pods[1], "/metrics").await.1];
        if texts.iter().any(|text| is_refused(text)) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{texts:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Neither has a log, so that neither lets a client believe that it is in a room.
    let mut client = Client::connect(pods[0].addresses().plain[0]).await;
    client.send(&json!({"type": "subscribe", "room": "a"}).to_string()).await;
    assert!(client.is_quiet().await);
    pods.into_iter().for_each(Pod::stop);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_key_of_edges_lets_an_edge_in_and_only_while_it_is_one() {
    let home = home();
    // A key of the API is none of edges.
    for wrong in ["another-key", "test-key"] {
        let edge = pod(|settings| follows(settings, &[url(&home)], wrong));
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(get(&edge, "/ready").await, (503, r#"{"status":"starting"}"#.to_owned()));
        edge.stop();
    }
    let edge = edge(&[url(&home)]).await;
    home.reload(config(settings(|settings| {
        takes_edges(settings);
        settings.relay.keys = vec![ApiKey::new("the-next-key".into())];
    })));
    says(&edge, r#"{"status":"degraded","reason":"upstream"}"#).await;
    home.reload(config(settings(takes_edges)));
    ready(&edge).await;
    edge.stop();
    home.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_has_the_rooms_of_its_patterns_and_no_others() {
    let home = pod(|settings| {
        takes_edges(settings);
        settings.relay.rooms = vec![RoomPattern::parse("eu:*").unwrap()];
    });
    let edge = edge(&[url(&home)]).await;
    let broker = &edge.services().broker;
    let (own, other) = (Room::parse("eu:1").unwrap(), Room::parse("us:1").unwrap());
    assert_eq!(broker.publish(&own, publication("t", "1")).await.unwrap().offset, 1);
    let refused = broker.publish(&other, publication("t", "1")).await.unwrap_err().to_string();
    assert!(refused.contains("us:1") && refused.contains("relay.rooms"), "{refused}");
    assert!(broker.retained(&other).await.is_err());
    let everything = roomcast::testing::broker::HistoryQuery { since: None, until: None, max_events: 9, max_bytes: 99 };
    assert!(broker.history(&other, everything.clone()).await.is_err());
    let mut client = Client::connect(edge.addresses().plain[0]).await;
    client.send(&json!({"type": "subscribe", "room": "us:1"}).to_string()).await;
    publish(&home, "us:1", "t", "1").await;
    assert!(client.is_quiet().await);
    home.reload(config(settings(|settings| {
        takes_edges(settings);
        settings.relay.publish = false;
    })));
    let refused = broker.publish(&own, publication("t", "2")).await.unwrap_err().to_string();
    assert!(refused.contains("relay.publish"), "{refused}");
    assert_eq!(broker.history(&own, everything).await.unwrap().end, 1);
    edge.stop();
    home.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_edges_are_members_of_the_room_and_orders_reach_them() {
    let home = home();
    let edge = edge(&[url(&home)]).await;
    let mut client = Client::raw(edge.addresses().plain[0], None).await;
    let id = client.json().await["connection"].as_str().unwrap().to_owned();
    client.subscribe("a").await;
    let room = Room::parse("a").unwrap();
    let members = async |pod: &Pod, count: usize| {
        let began = Instant::now();
        loop {
            let list = pod.services().presence.list(&room, 10).await.unwrap();
            if list.total == count {
                return list;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{list:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(*members(&home, 1).await.members[0].connection, *id);
    members(&edge, 1).await;
    let order = async |pod: &Pod, path: &str, body: &str| {
        let head = format!("POST {path} HTTP/1.1\r\nAuthorization: Bearer test-key\r\nContent-Type: application/json");
        call(pod.addresses().internal[0], &head, body).await
    };
    let (status, said) = order(&home, &format!("/api/connections/{id}/subscribe"), r#"{"room":"ordered"}"#).await;
    assert_eq!(status, 200, "{said}");
    while client.json().await["room"] != "ordered" {}
    let (status, said) = order(&home, &format!("/api/connections/{id}/disconnect"), "").await;
    assert_eq!(status, 200, "{said}");
    assert!(client.closed().await.is_some());
    members(&home, 0).await;
    // An edge that dies takes its members along, after a moment in which it may come back.
    let mut client = Client::connect(edge.addresses().plain[0]).await;
    client.subscribe("a").await;
    members(&home, 1).await;
    block_in_place(|| edge.stop());
    members(&home, 0).await;
    home.stop();
}
