//! What a room's policy promises, seen by clients.

use std::time::Duration;

use crate::harness::{Client, pod, publication, publish, publish_as};
use roomcast::testing::{
    config::{RoomPattern, Rule},
    model::{Access, Conflate, Policy, PresenceMode, Retain},
    pod::Pod,
};
use roomcast_websocket::Offer;
use serde_json::json;

fn with(policy: Policy) -> Pod {
    pod(|settings| settings.policies = vec![Rule { patterns: vec![RoomPattern::parse("it:*").unwrap()], policy }])
}

async fn member(pod: &Pod, room: &str) -> Client {
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    client.subscribe(room).await;
    client
}

fn keyed(topic: &str, key: &str, data: &str) -> roomcast::testing::model::Publication {
    roomcast::testing::model::Publication { key: Some(key.into()), ..publication(topic, data) }
}

#[tokio::test]
async fn a_window_batches_and_conflates() {
    let window = Duration::from_millis(150);
    let pod = with(Policy { batch_window: window, conflate: Conflate::Key, ..Policy::default() });
    let mut client = member(&pod, "it:1").await;
    for (topic, key, data) in [("a", "x", "1"), ("a", "y", "2"), ("a", "x", "3"), ("b", "x", "4")] {
        publish_as(&pod, "it:1", keyed(topic, key, data)).await;
    }
    publish(&pod, "it:1", "a", "5").await;
    let batch = client.json().await;
    assert_eq!((&batch["after"], &batch["offset"]), (&json!(0), &json!(5)), "the range covers what was conflated");
    let data: Vec<_> = batch["events"].as_array().unwrap().iter().map(|e| e["data"].as_u64().unwrap()).collect();
    assert_eq!(data, [2, 3, 4, 5], "the newest of each topic and key, in order");
    assert!(client.is_quiet().await);
    pod.stop();
}

#[tokio::test]
async fn retained_values_come_to_newcomers_and_move_no_position() {
    let pod = with(Policy { retain: Retain::Key, retain_remove_topics: vec!["gone".into()], ..Policy::default() });
    for (topic, key, data) in [("set", "x", "1"), ("set", "y", "2"), ("set", "x", "3"), ("gone", "y", "null")] {
        publish_as(&pod, "it:1", keyed(topic, key, data)).await;
    }
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    let joined = client.subscribe("it:1").await;
    assert_eq!((&joined["offset"], &joined["recovered"]), (&json!(4), &json!(false)));
    let retained = client.json().await;
    assert_eq!(retained["retained"], true, "{retained}");
    assert_eq!(retained["events"].as_array().unwrap().len(), 1);
    assert_eq!(retained["events"][0]["data"], 3);
    publish(&pod, "it:1", "set", "9").await;
    assert_eq!(client.json().await["after"], 4);
    pod.stop();
}

#[tokio::test]
async fn presence_is_listed_and_told() {
    let pod = with(Policy { presence: PresenceMode::Events, ..Policy::default() });
    let mut first = member(&pod, "it:1").await;
    let told = first.json().await;
    assert_eq!((&told["type"], &told["total"]), (&json!("joined"), &json!(1)), "{told}");
    let mut second = member(&pod, "it:1").await;
    assert_eq!(first.json().await["type"], "joined");
    let list = loop {
        let answer = second.ask(json!({"type": "presence", "room": "it:1", "id": "p"})).await;
        if answer["type"] == "presence" {
            break answer;
        }
    };
    assert_eq!((&list["total"], &list["id"]), (&json!(2), &json!("p")), "{list}");
    assert_eq!(list["members"].as_array().unwrap().len(), 2);
    drop(second);
    let left = first.json().await;
    assert_eq!((&left["type"], &left["total"]), (&json!("left"), &json!(1)), "{left}");
    let refused = first.ask(json!({"type": "presence", "room": "other:1"})).await;
    assert_eq!(refused["code"], "not_available");
    pod.stop();
}

#[tokio::test]
async fn clients_publish_where_they_may_in_the_order_they_asked() {
    let pod = with(Policy { publish: Access::Anyone, ..Policy::default() });
    let mut reader = member(&pod, "it:1").await;
    let mut writer = Client::connect(pod.addresses().plain[0]).await;
    for n in 0..50 {
        writer.send(&json!({"type": "publish", "room": "it:1", "topic": "t", "data": n, "id": n}).to_string()).await;
    }
    for n in 0..50 {
        let answer = writer.json().await;
        assert_eq!(
            (&answer["type"], &answer["id"], &answer["offset"]),
            (&json!("published"), &json!(n), &json!(n + 1))
        );
    }
    let mut next = 0;
    while next < 50 {
        for event in reader.json().await["events"].as_array().unwrap() {
            assert_eq!((&event["data"], &event["offset"]), (&json!(next), &json!(next + 1)));
            assert!(event.get("user").is_none());
            next += 1;
        }
    }
    let refused = writer.ask(json!({"type": "publish", "room": "other:1", "topic": "t", "data": 1})).await;
    assert_eq!((&refused["code"], &refused["room"]), (&json!("forbidden"), &json!("other:1")));
    pod.stop();
}

#[tokio::test]
async fn nobody_joins_a_closed_room() {
    let pod = with(Policy { join: Access::User, ..Policy::default() });
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    for ask in ["subscribe", "history"] {
        let refused = client.ask(json!({"type": ask, "room": "it:1"})).await;
        assert_eq!(refused["code"], "forbidden", "{refused}");
    }
    pod.stop();
}

#[tokio::test]
async fn history_answers_ranges() {
    let pod = with(Policy { history_size: 5, ..Policy::default() });
    let mut last = None;
    for n in 1..=8 {
        last = Some(publish(&pod, "it:1", "t", &n.to_string()).await);
    }
    let epoch = last.unwrap().epoch.as_str().to_owned();
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    let newest = client.ask(json!({"type": "history", "room": "it:1", "limit": 2})).await;
    assert_eq!((&newest["after"], &newest["offset"]), (&json!(6), &json!(8)), "{newest}");
    let since = client.ask(json!({"type": "history", "room": "it:1", "since": {"epoch": epoch, "offset": 5}})).await;
    assert_eq!((since["events"].as_array().unwrap().len(), &since["complete"]), (3, &json!(true)), "{since}");
    let trimmed = client.ask(json!({"type": "history", "room": "it:1", "since": {"epoch": epoch, "offset": 1}})).await;
    assert_eq!(trimmed["complete"], false, "{trimmed}");
    // The same positions for a subscription: the first is exact, the second cannot be.
    let again = client.ask(json!({"type": "subscribe", "room": "it:1", "since": {"epoch": epoch, "offset": 5}})).await;
    assert_eq!((&again["recovered"], &again["offset"]), (&json!(true), &json!(5)), "{again}");
    let mut other = Client::connect(pod.addresses().plain[0]).await;
    let gone = other.ask(json!({"type": "subscribe", "room": "it:1", "since": {"epoch": epoch, "offset": 1}})).await;
    assert_eq!((&gone["recovered"], &gone["offset"]), (&json!(false), &json!(8)), "{gone}");
    let mut stranger = Client::connect(pod.addresses().plain[0]).await;
    let since = json!({"epoch": "another", "offset": 8});
    let gone = stranger.ask(json!({"type": "subscribe", "room": "it:1", "since": since})).await;
    assert_eq!(gone["recovered"], false, "{gone}");
    pod.stop();
}

#[tokio::test]
async fn a_window_size_of_its_own_gets_frames_of_its_own() {
    let pod = pod(|_| ());
    let address = pod.addresses().plain[0];
    let mut clients = Vec::new();
    for bits in [9, 12, 15] {
        let offer = Offer { server_max_window_bits: Some(bits), ..Offer::default() };
        let mut client = Client::connect_with(address, Some(offer)).await;
        client.subscribe("it:1").await;
        clients.push(client);
    }
    let text: String = (0..2_000).map(|n| char::from(b'a' + (n * n % 23) as u8)).collect();
    publish(&pod, "it:1", "t", &json!(text).to_string()).await;
    for client in &mut clients {
        assert_eq!(client.json().await["events"][0]["data"], text);
    }
    pod.stop();
}

/// Several pods of one process share nothing.
#[tokio::test]
async fn pods_stand_apart() {
    let (one, other) = (pod(|_| ()), pod(|_| ()));
    let (mut here, mut there) = (member(&one, "it:1").await, member(&other, "it:1").await);
    publish(&one, "it:1", "t", "1").await;
    assert_eq!(here.json().await["offset"], 1);
    assert!(there.is_quiet().await);
    assert_eq!((one.services().gate.connections(), other.services().gate.connections()), (1, 1));
    one.stop();
    other.stop();
}

#[tokio::test]
async fn a_reloaded_policy_reaches_the_rooms_that_are_held() {
    let settings = |policy: Policy| {
        crate::harness::settings(|settings| {
            settings.policies = vec![Rule { patterns: vec![RoomPattern::parse("it:*").unwrap()], policy }];
        })
    };
    let pod = Pod::start(crate::harness::config(settings(Policy::default()))).unwrap();
    let mut client = member(&pod, "it:1").await;
    let presence = json!({"type":"presence","room":"it:1"});
    assert_eq!(client.ask(presence.clone()).await["code"], "not_available");
    publish(&pod, "it:1", "a", "1").await;
    assert_eq!(client.json().await["offset"], 1);

    let window = Duration::from_millis(200);
    let newer =
        Policy { batch_window: window, presence: PresenceMode::List, join: Access::Nobody, ..Policy::default() };
    pod.reload(crate::harness::config(settings(newer)));
    // A worker looks at its configuration twice a second, an owner at least once.
    tokio::time::sleep(Duration::from_millis(1_800)).await;
    publish(&pod, "it:1", "a", "2").await;
    publish(&pod, "it:1", "a", "3").await;
    let batch = client.json().await;
    assert_eq!((&batch["after"], &batch["offset"]), (&json!(1), &json!(3)), "the window holds them together: {batch}");
    let mut late = Client::connect(pod.addresses().plain[0]).await;
    let refused = late.ask(json!({"type":"subscribe","room":"it:1"})).await;
    assert_eq!(refused["code"], "forbidden", "who comes is asked; who is in stays");
    let services = std::sync::Arc::clone(pod.services());
    let room = roomcast::testing::model::Room::parse("it:1").unwrap();
    assert_eq!(services.presence.list(&room, 10).await.unwrap().total, 1, "who is in is known");
    pod.stop();
}
