//! What clients of people's features get wrong, each answered as the protocol's document says, with the connection still there.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    harness::{Client, pod, rule},
    users::{call, connect, known, token},
};
use roomcast::testing::{
    config::{PersonalRoom, Settings},
    model::{Access, AckMode, DeleteMode},
    pod::Pod,
};

fn social(settings: &mut Settings) {
    known(settings);
    settings.tokens.personal_room = Some(PersonalRoom::parse("user:{user}").unwrap());
    settings.user_presence.room = Some(PersonalRoom::parse("presence:{user}").unwrap());
    settings.acks.every = Duration::from_millis(20);
    settings.policies = vec![
        rule("dm:*", |policy| {
            (policy.publish, policy.signal) = (Access::User, Access::User);
            (policy.acks, policy.delete) = (AckMode::Receipts, DeleteMode::Author);
        }),
        rule("closed:*", |policy| (policy.acks, policy.join) = (AckMode::Receipts, Access::Nobody)),
        rule("user:*", |policy| policy.join = Access::Owner),
    ];
}

/// The answer to a command, whatever comes before it.
async fn answer(client: &mut Client, mut command: Value) -> Value {
    command["id"] = json!("it");
    client.send(&command.to_string()).await;
    loop {
        let message = client.json().await;
        if message["id"] == "it" {
            return message;
        }
    }
}

/// The code of an error, or the type of another answer, and that it stands in the document.
async fn code(client: &mut Client, command: Value) -> String {
    let answer = answer(client, command).await;
    let code = answer.get("code").unwrap_or(&answer["type"]).as_str().unwrap().to_owned();
    if answer["type"] == "error" {
        let page = include_str!("../../docs/PROTOCOL.md");
        let codes = page.split("\n## Error codes\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
        assert!(codes.contains(&format!("| `{code}` |")), "{code}");
    }
    code
}

async fn unread(client: &mut Client) -> Value {
    answer(client, json!({"type": "unread", "rooms": ["dm:1"]})).await["rooms"][0]["unread"].clone()
}

fn said(key: &str, data: Value) -> Value {
    json!({"type": "publish", "room": "dm:1", "topic": "said", "event_id": key, "idempotency_key": key, "data": data})
}

fn ack(offset: u64) -> Value {
    json!({"type": "ack", "room": "dm:1", "offset": offset})
}

#[tokio::test]
async fn ids_that_repeat_with_other_data_are_a_conflict_and_change_nothing() {
    let pod = pod(social);
    let mut ann = connect(&pod, "ann").await;
    let first = answer(&mut ann, said("m-1", json!("hello"))).await;
    assert_eq!(answer(&mut ann, said("m-1", json!("hello"))).await, first, "a retry is the same event");
    for other in [json!("another"), json!(null), json!(["hello"])] {
        assert_eq!(code(&mut ann, said("m-1", other.clone())).await, "conflict", "{other}");
    }
    let history = answer(&mut ann, json!({"type": "history", "room": "dm:1"})).await;
    assert_eq!(history["events"].as_array().map(Vec::len), Some(1), "{history}");
    // Another user's key is another one.
    assert_eq!(code(&mut connect(&pod, "bob").await, said("m-1", json!("another"))).await, "published");
    pod.stop();
}

#[tokio::test]
async fn an_ack_beyond_the_end_is_refused_and_one_backwards_changes_nothing() {
    let pod = pod(social);
    let (mut ann, mut bob) = (connect(&pod, "ann").await, connect(&pod, "bob").await);
    for n in 1..=3 {
        assert_eq!(code(&mut ann, said(&n.to_string(), json!(n))).await, "published");
    }
    assert_eq!(code(&mut bob, ack(2)).await, "done");
    assert_eq!(unread(&mut bob).await, 1);
    let epoch = |epoch: &str| json!({"type": "ack", "room": "dm:1", "offset": 1, "epoch": epoch});
    let elsewhere = json!({"type": "ack", "room": "closed:1", "offset": 1});
    for (command, expected) in [
        (ack(4), "bad_position"),
        (ack(9_007_199_254_740_991), "bad_position"),
        (epoch("another"), "bad_position"),
        (epoch(""), "bad_request"),
        (json!({"type": "ack", "room": "dm:1", "offset": -1}), "bad_request"),
        (json!({"type": "ack", "room": "dm:1", "offset": 1.5}), "bad_request"),
        (json!({"type": "ack", "room": "dm:1"}), "bad_request"),
        (json!({"type": "ack", "room": "dm:1", "offset": 1, "delivered": 1}), "bad_request"),
        (elsewhere, "forbidden"),
        (ack(1), "done"),
        (ack(0), "done"),
    ] {
        assert_eq!(code(&mut bob, command.clone()).await, expected, "{command}");
    }
    assert_eq!(unread(&mut bob).await, 1, "what was read stays read");
    let mut nobody = Client::connect(pod.addresses().plain[0]).await;
    assert_eq!(code(&mut nobody, ack(1)).await, "unauthorized");
    pod.stop();
}

#[tokio::test]
async fn a_receipt_is_for_its_author_and_none_can_be_sent() {
    let pod = pod(social);
    let [mut ann, mut bob, mut cem] =
        [connect(&pod, "ann").await, connect(&pod, "bob").await, connect(&pod, "cem").await];
    for client in [&mut bob, &mut cem] {
        assert_eq!(code(client, json!({"type": "subscribe", "room": "dm:1"})).await, "subscribed");
    }
    let told = answer(&mut ann, said("m-1", json!(1))).await;
    for kind in ["receipt", "receipts"] {
        let forged = json!({"type": kind, "room": "dm:1", "epoch": told["epoch"], "offset": 1, "user": "bob"});
        assert_eq!(code(&mut cem, forged).await, "unknown_command");
    }
    // Of one's own event, and of another's.
    assert_eq!(code(&mut ann, ack(1)).await, "done");
    assert_eq!(code(&mut bob, ack(1)).await, "done");
    assert_eq!(code(&mut cem, json!({"type": "ack", "room": "dm:1", "offset": 1, "delivered": true})).await, "done");
    let (mut read, mut delivered) = (Vec::new(), Vec::new());
    while read.is_empty() || delivered.is_empty() {
        let message = ann.json().await;
        let users = |list: &Value| -> Vec<Value> {
            list.as_array().into_iter().flatten().map(|receipt| receipt["user"].clone()).collect()
        };
        read.extend(users(&message["receipts"]));
        delivered.extend(users(&message["delivered"]));
    }
    assert_eq!((read, delivered), (vec![json!("bob")], vec![json!("cem")]), "an author is no reader of its own");
    for client in [&mut bob, &mut cem] {
        loop {
            let message = client.ask(json!({"type": "ping"})).await;
            assert_ne!(message["type"], "receipts", "{message}");
            if message["type"] == "pong" {
                break;
            }
        }
    }
    pod.stop();
}

#[tokio::test]
async fn an_unknown_status_is_refused_and_a_flood_of_signals_is_thinned() {
    let pod = pod(social);
    let mut ann = connect(&pod, "ann").await;
    for status in [json!("asleep"), json!(7), json!(null), json!("ONLINE")] {
        assert_eq!(code(&mut ann, json!({"type": "status", "status": status})).await, "bad_request", "{status}");
    }
    assert_eq!(code(&mut ann, json!({"type": "status", "status": "busy"})).await, "done");
    // More than its rate, of which the others see one; it is never closed for it.
    let mut bob = connect(&pod, "bob").await;
    for client in [&mut ann, &mut bob] {
        assert_eq!(code(client, json!({"type": "subscribe", "room": "dm:1"})).await, "subscribed");
    }
    let typing = json!({"type": "signal", "room": "dm:1", "topic": "typing", "ttl": 60_000}).to_string();
    for _ in 0..200 {
        ann.send(&typing).await;
    }
    assert_eq!(code(&mut ann, json!({"type": "unread"})).await, "unread", "it is still there");
    let seen = async |client: &mut Client| {
        client.send(r#"{"type":"ping"}"#).await;
        let mut signals = 0;
        loop {
            match client.json().await["type"].as_str() {
                Some("pong") => return signals,
                Some("signal") => signals += 1,
                _ => {}
            }
        }
    };
    let signals = seen(&mut bob).await;
    assert!(signals <= 3, "{signals} of 200");
    pod.stop();
}

async fn erase(pod: &Pod, user: &str) {
    let head = format!("DELETE /api/users/{user} HTTP/1.1\r\nAuthorization: Bearer test-key");
    while call(pod.addresses().internal[0], &head, "").await.0 == 503 {}
}

#[tokio::test]
async fn the_token_of_a_user_that_was_deleted_begins_anew() {
    let pod = pod(social);
    let mut ann = connect(&pod, "ann").await;
    assert_eq!(code(&mut ann, said("m-1", json!(1))).await, "published");
    assert_eq!(code(&mut ann, ack(1)).await, "done");
    assert_eq!(code(&mut ann, json!({"type": "status", "status": "busy"})).await, "done");
    erase(&pod, "ann").await;
    assert_eq!(ann.closed().await, Some(4003));
    let head = format!("POST /send?token={} HTTP/1.1", token("ann"));
    let (status, unread) = call(pod.addresses().plain[0], &head, r#"{"type":"unread"}"#).await;
    assert!(status == 200 && unread.contains(r#""rooms":[]"#), "{unread}");
    let mut again = connect(&pod, "ann").await;
    assert_eq!(code(&mut again, said("m-2", json!(2))).await, "published");
    let shown = "GET /api/v1/presence?users=ann HTTP/1.1\r\nAuthorization: Bearer test-key";
    let (_, shown) = call(pod.addresses().internal[0], shown, "").await;
    assert!(!shown.contains("busy"), "what it chose is forgotten: {shown}");
    pod.stop();
}
