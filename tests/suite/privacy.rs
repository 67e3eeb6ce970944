//! What is known of a user: nothing of what is switched off, and nothing once the user is erased. All of Redis is searched.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::redis::Standalone;
use tokio::task::block_in_place;

use crate::{
    erasure::SEARCH,
    harness::{Client, pod, rule},
    hooks::dialects::Polling,
    users::{call, connect, known, over, ready, token},
};
use roomcast::testing::{
    config::{PersonalRoom, Settings},
    model::{Access, AckMode, DeleteMode, EraseMode, Retain},
    pod::Pod,
};

mod everywhere;
mod switches;

/// A user whose name stands nowhere else.
const USER: &str = "ann-p";

/// The keys that name the user, and what else is in them.
fn search(server: &Standalone) -> Vec<String> {
    let found = block_in_place(|| server.call(&["EVAL", SEARCH, "0", USER]).text().to_owned());
    found.split("; ").filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

async fn until(server: &Standalone, what: &str, holds: impl Fn(&[String]) -> bool) {
    let began = Instant::now();
    loop {
        let found = search(server);
        if holds(&found) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "not {what}: {found:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
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

async fn say(client: &mut Client, topic: &str, more: Value) {
    let mut event = json!({"type": "publish", "room": "chat:1", "topic": topic, "data": {"by": USER}});
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let said = answer(client, event).await;
    assert_eq!(said["type"], "published", "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_switched_off_is_neither_told_nor_kept() {
    let server = block_in_place(Standalone::start);
    let pod = pod(|settings| {
        known(settings);
        over(&server, settings);
        settings.policies = vec![rule("chat:*", |policy| policy.publish = Access::User)];
    });
    ready(&pod).await;
    let (mut ann, mut bob) = (connect(&pod, USER).await, connect(&pod, "bob").await);
    for client in [&mut ann, &mut bob] {
        client.subscribe("chat:1").await;
    }
    say(&mut ann, "said", json!({})).await;
    let at = json!({"room": "chat:1", "offset": 1});
    for (kind, more, said) in [
        ("ack", &at, "done"),
        ("ack", &json!({"room": "chat:1", "offset": 1, "delivered": true}), "done"),
        ("delete", &at, "not_available"),
        ("signal", &json!({"room": "chat:1", "topic": "typing"}), "not_available"),
        ("status", &json!({"status": "busy"}), "not_available"),
        ("presence", &json!({"room": "chat:1"}), "not_available"),
        ("rpc", &json!({"method": "m", "idempotency_key": "k"}), "not_available"),
    ] {
        let mut command = more.clone();
        command["type"] = json!(kind);
        let answer = answer(&mut ann, command).await;
        let got = if said == "done" { &answer["type"] } else { &answer["code"] };
        assert_eq!(got, said, "{kind}: {answer}");
    }
    // Another member is told the event, and nothing else.
    assert_eq!(bob.json().await["type"], "events");
    assert_eq!(bob.ask(json!({"type": "ping"})).await["type"], "pong");
    drop(ann);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(bob.ask(json!({"type": "ping"})).await["type"], "pong", "nor when it leaves");
    let found = search(&server);
    assert!(found.len() == 1 && found[0].contains(":log:chat:1 = "), "the log has its event: {found:#?}");
    block_in_place(|| pod.stop());
}

fn social(settings: &mut Settings) {
    known(settings);
    settings.tokens.personal_room = Some(PersonalRoom::parse("user:{user}").unwrap());
    settings.user_presence.room = Some(PersonalRoom::parse("presence:{user}").unwrap());
    settings.user_presence.offline_after = Duration::from_secs(600);
    settings.limits.user_connections = Some(5);
    settings.socketio.enabled = true;
    settings.policies = vec![
        rule("chat:*", |policy| {
            (policy.publish, policy.signal) = (Access::User, Access::User);
            (policy.acks, policy.delete, policy.erase) = (AckMode::Receipts, DeleteMode::Author, EraseMode::Event);
            (policy.retain, policy.history_size) = (Retain::Topic, 4);
        }),
        rule("user:*", |policy| policy.join = Access::Owner),
        rule("presence:*", |policy| policy.retain = Retain::Room),
    ];
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_user_that_is_erased_nothing_is_left_whatever_it_did() {
    let server = block_in_place(Standalone::start);
    let [a, b] = [(); 2].map(|()| {
        pod(|settings| {
            social(settings);
            over(&server, settings);
        })
    });
    ready(&a).await;
    ready(&b).await;
    let (mut ann, mut bob) = (connect(&a, USER).await, connect(&b, "bob").await);
    bob.subscribe("chat:1").await;
    ann.subscribe("chat:1").await;
    // A value that outlasts its event, then one that is in the log, and one that its author deletes.
    let key = format!("{USER} k");
    say(&mut ann, "first", json!({"event_id": format!("{USER} 1"), "idempotency_key": key, "key": USER})).await;
    for n in 0..4 {
        let event = json!({"type": "publish", "room": "chat:1", "topic": format!("t{n}"), "data": n});
        assert_eq!(answer(&mut bob, event).await["type"], "published");
    }
    say(&mut ann, "second", json!({"key": USER})).await;
    say(&mut ann, "third", json!({})).await;
    assert_eq!(answer(&mut ann, json!({"type": "delete", "room": "chat:1", "offset": 7})).await["type"], "done");
    for more in [json!({}), json!({"delivered": true})] {
        let mut ack = json!({"type": "ack", "room": "chat:1", "offset": 3});
        ack.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(answer(&mut ann, ack).await["type"], "done");
    }
    assert_eq!(answer(&mut ann, json!({"type": "status", "status": "busy"})).await["type"], "done");
    ann.send(&json!({"type": "signal", "room": "chat:1", "topic": "typing", "ttl": 60_000}).to_string()).await;
    let tablet = Polling::open(b.addresses().plain[0], &format!("&token={}", token(USER))).await;
    tablet.send("40\x1e420[\"subscribe\",{\"room\":\"chat:1\"}]").await;
    let kinds = [
        "acks:",
        "places:",
        "user:presence:",
        "log:presence:",
        "value:socketio:",
        "retry:",
        "authors:",
        "values:chat:1",
        "log:chat:1",
    ];
    let has_all = |found: &[String]| kinds.iter().all(|kind| found.iter().any(|text| text.contains(kind)));
    until(&server, "all that is kept of it", has_all).await;

    let erase = async || {
        let head = format!("DELETE /api/users/{USER} HTTP/1.1\r\nAuthorization: Bearer test-key");
        call(a.addresses().internal[0], &head, "").await
    };
    // On a busy machine its followers may not be told in time.
    let mut erased = erase().await;
    while erased.0 == 503 {
        erased = erase().await;
    }
    assert!(erased.0 == 200 && erased.1.contains(r#""silent":[]"#), "{erased:?}");
    until(&server, "nothing", <[String]>::is_empty).await;
    // What is left for the others says that something was there, and not by which user.
    let head = "GET /api/rooms/chat:1/history HTTP/1.1\r\nAuthorization: Bearer test-key";
    let (_, history) = call(b.addresses().internal[0], head, "").await;
    assert!(history.contains("$deleted") && !history.contains(USER), "{history}");
    let mut late = connect(&b, "cem").await;
    late.send(&json!({"type": "subscribe", "id": "s", "room": "chat:1"}).to_string()).await;
    let mut retained = Value::Null;
    while retained["retained"] != true {
        retained = late.json().await;
    }
    let topics: Vec<_> = retained["events"].as_array().unwrap().iter().map(|event| event["topic"].clone()).collect();
    assert_eq!(topics, ["t0", "t1", "t2", "t3"], "{retained}");
    // Its token is good until it expires: it begins anew.
    let mut back = connect(&a, USER).await;
    let unread = answer(&mut back, json!({"type": "unread"})).await;
    assert_eq!(unread["rooms"], json!([]), "{unread}");
    block_in_place(|| [a, b].into_iter().for_each(Pod::stop));
}
