//! What clients meet that ask for much at once: rooms, publishes, members.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Client, pod, rule};
use roomcast::testing::model::PresenceMode;

#[tokio::test]
async fn coming_back_to_all_rooms_is_free() {
    let pod = pod(|settings| {
        settings.limits.max_rooms = 200;
        (settings.limits.commands_per_second, settings.limits.command_burst) = (1, 5);
    });
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    for n in 0..150 {
        client.send(&json!({"type": "subscribe", "room": format!("n:{n}")}).to_string()).await;
    }
    let rest: Vec<_> = (150..200).map(|n| json!({"room": format!("n:{n}")})).collect();
    client.send(&json!({"type": "subscribe", "rooms": rest}).to_string()).await;
    for _ in 0..200 {
        let answer = client.json().await;
        assert_eq!(answer["type"], "subscribed", "{answer}");
    }
    // A second time each costs what another command does.
    let mut limited = false;
    for _ in 0..20 {
        let answer = client.ask(json!({"type": "subscribe", "room": "n:0"})).await;
        limited |= answer["code"] == "rate_limited";
        if limited {
            break;
        }
    }
    assert!(limited);
    pod.stop();
}

#[tokio::test]
async fn rooms_beyond_the_limit_are_one_error() {
    let pod = pod(|settings| {
        settings.limits.max_rooms = 5;
        settings.limits.command_burst = 1_000;
    });
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    let rooms: Vec<_> = (0..500).map(|n| json!({"room": format!("n:{n}")})).collect();
    client.send(&json!({"type": "subscribe", "rooms": rooms, "id": 1}).to_string()).await;
    let (mut joined, mut errors) = (0, Vec::new());
    for _ in 0..6 {
        let answer = client.json().await;
        assert_eq!(answer["id"], 1, "{answer}");
        if answer["type"] == "subscribed" { joined += 1 } else { errors.push(answer) }
    }
    assert_eq!((joined, errors.len()), (5, 1));
    assert_eq!((&errors[0]["code"], &errors[0]["room"]), (&json!("limit_exceeded"), &Value::Null), "{errors:?}");
    assert!(errors[0]["message"].as_str().unwrap().contains("n:5 and 494 more"), "{errors:?}");
    let one = client.ask(json!({"type": "subscribe", "room": "n:9"})).await;
    assert_eq!((&one["code"], &one["room"]), (&json!("limit_exceeded"), &json!("n:9")));
    pod.stop();
}

/// The connections that the messages about presence add up to, until they are so many.
async fn listed(client: &mut Client, known: &mut BTreeSet<String>, members: usize) {
    while known.len() != members {
        let message = client.json().await;
        let names = message["members"].as_array().cloned().unwrap_or_default();
        let names = names.iter().map(|member| member["connection"].as_str().unwrap().to_owned());
        match message["type"].as_str() {
            Some("joined") => known.extend(names),
            Some("left") => {
                let left: BTreeSet<String> = names.collect();
                known.retain(|name| !left.contains(name));
            }
            Some("presence") if message["members"].is_array() => *known = names.collect(),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_presence_list_is_good_again_once_the_room_is_small_again() {
    let pod = pod(|settings| settings.policies = vec![rule("r", |policy| policy.presence = PresenceMode::Events)]);
    let address = pod.addresses().plain[0];
    let (mut first, mut known) = (Client::connect(address).await, BTreeSet::new());
    first.send(&json!({"type": "subscribe", "room": "r"}).to_string()).await;
    listed(&mut first, &mut known, 1).await;
    let mut others = Vec::new();
    for _ in 0..210 {
        let mut other = Client::connect(address).await;
        other.send(&json!({"type": "subscribe", "room": "r"}).to_string()).await;
        others.push(other);
    }
    // So many that only the number is told.
    loop {
        let message = first.json().await;
        if message["type"] == "presence" && message["total"] == 211 {
            assert!(message["members"].is_null(), "{message}");
            break;
        }
    }
    // Of those that leave, most were never named, and of those that stay, some were not.
    others.drain(100..200).for_each(drop);
    listed(&mut first, &mut known, 111).await;
    let list = first.ask(json!({"type": "presence", "room": "r", "id": 1})).await;
    let members = list["members"].as_array().unwrap().iter();
    let members: BTreeSet<_> = members.map(|member| member["connection"].as_str().unwrap().to_owned()).collect();
    assert_eq!(members, known);
    pod.stop();
}
