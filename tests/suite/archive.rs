//! Rooms that are archived in a real PostgreSQL: what is written around a publish, what crashes leave, what members read.

mod crashes;
pub mod database;
mod deleting;
mod disk;
mod erasing;
mod levels;
mod outages;
mod pages;
mod sealing;
mod side;
mod sizes;
mod tls;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    archive::database::{Database, archived},
    harness::{Client, get, pod},
    users::{call, connect, known, ready, token},
};
use roomcast::testing::{config::PersonalRoom, metrics::ARCHIVE_DESCRIPTIONS, pod::Pod};

/// What clients are told of an archive that does not do what they ask for.
const TOLD: &str = "the archive takes nothing now: try again";

/// Publishes over the API: the status and the answer.
async fn publish(pod: &Pod, body: &Value) -> (u16, Value) {
    let head = "POST /api/publish HTTP/1.1\r\nAuthorization: Bearer test-key";
    let (status, body) = call(pod.addresses().internal[0], head, &body.to_string()).await;
    (status, serde_json::from_str(&body).unwrap())
}

/// A page of messages, as a user: the status and the answer.
pub async fn messages(pod: &Pod, user: &str, query: &str) -> (u16, Value) {
    let head = format!("GET /messages?{query} HTTP/1.1\r\nAuthorization: Bearer {}", token(user));
    let (status, body) = call(pod.addresses().plain[0], &head, "").await;
    (status, serde_json::from_str(&body).unwrap_or_else(|_| json!(body)))
}

fn offsets(page: &Value) -> Vec<u64> {
    page["messages"].as_array().unwrap().iter().map(|message| message["offset"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_in_the_archive_when_its_publish_is_answered() {
    let database = Database::made().await;
    let pod = pod(|settings| {
        known(settings);
        archived(&database, settings);
    });
    ready(&pod).await;
    let (mut ann, mut bob) = (connect(&pod, "ann").await, connect(&pod, "bob").await);
    bob.subscribe("chat:1").await;
    // A backend, a client, a retry, bytes; and a room that is not archived.
    let (status, first) =
        publish(&pod, &json!({"room": "chat:1", "topic": "said", "data": {"n": 1.50}, "id": "m1"})).await;
    assert_eq!((status, &first["offset"]), (200, &json!(1)));
    assert_eq!(database.sql("SELECT count(*) FROM roomcast_messages"), "1", "before the answer, not after it");
    let said = json!({"type": "publish", "id": 7, "room": "chat:1", "topic": "said", "data": "hi", "key": "k", "idempotency_key": "once"});
    for _ in 0..2 {
        ann.send(&said.to_string()).await;
        let answer = ann.json().await;
        assert_eq!((&answer["type"], &answer["offset"]), (&json!("published"), &json!(2)), "{answer}");
    }
    publish(&pod, &json!({"room": "chat:1", "topic": "raw", "data64": "AP8="})).await;
    publish(&pod, &json!({"room": "news:1", "topic": "said", "data": 1})).await;
    assert_eq!(
        database.sql(r#"SELECT room, generation, "offset", topic, event_key, author, is_binary FROM roomcast_messages ORDER BY 3"#),
        "chat:1|1|1|said|||f\nchat:1|1|2|said|k|ann|f\nchat:1|1|3|raw|||t"
    );
    assert_eq!(database.sql("SELECT count(*) FROM roomcast_pending"), "0");
    // Its members had it, too.
    let mut heard = Vec::new();
    while heard.len() < 3 {
        let message = bob.json().await;
        heard.extend(message["events"].as_array().into_iter().flatten().map(|event| event["offset"].clone()));
    }
    assert_eq!(heard, [json!(1), json!(2), json!(3)]);
    let (status, page) = messages(&pod, "bob", "room=chat:1").await;
    assert_eq!(status, 200, "{page}");
    let epoch = &first["epoch"];
    let mut told = page["messages"].clone();
    for message in told.as_array_mut().unwrap() {
        assert!(message["time"].as_u64().unwrap() > 1_700_000_000_000);
        message.as_object_mut().unwrap().remove("time");
    }
    assert_eq!(
        told,
        json!([
            {"epoch": epoch, "offset": 1, "topic": "said", "data": {"n": 1.50}, "id": "m1"},
            {"epoch": epoch, "offset": 2, "topic": "said", "key": "k", "data": "hi", "user": "ann"},
            {"epoch": epoch, "offset": 3, "topic": "raw", "data64": "AP8="},
        ])
    );
    assert!(!page.to_string().contains("status"), "bob wrote none of them");
    let (_, own) = messages(&pod, "ann", "room=chat:1").await;
    assert_eq!(own["messages"][1]["status"], "sent");
    drop((ann, bob));
    tokio::task::block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_is_archived_in_the_rooms_that_are() {
    let database = Database::made().await;
    let pod = pod(|settings| archived(&database, settings));
    ready(&pod).await;
    let publications: Vec<Value> =
        (0..40).map(|n| json!({"rooms": ["chat:1", "news:1", "chat:2"], "topic": "said", "data": n})).collect();
    let head = "POST /api/broadcast HTTP/1.1\r\nAuthorization: Bearer test-key";
    let body = json!({"publications": publications}).to_string();
    let (status, answer) = call(pod.addresses().internal[0], head, &body).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, answer["results"].as_array().unwrap().len()), (200, 120));
    assert!(answer["results"].as_array().unwrap().iter().all(|result| result["offset"].is_number()), "{answer}");
    let in_order = r#"SELECT room, count(*), bool_and("offset" = convert_from(data, 'UTF8')::int + 1) FROM roomcast_messages GROUP BY room ORDER BY room"#;
    assert_eq!(database.sql(in_order), "chat:1|40|t\nchat:2|40|t");
    tokio::task::block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_repeats_with_other_data_leaves_no_row() {
    let database = Database::made().await;
    let pod = pod(|settings| {
        known(settings);
        archived(&database, settings);
    });
    ready(&pod).await;
    let mut ann = connect(&pod, "ann").await;
    let mut said = async |data: u64| {
        let event = json!({"type": "publish", "id": data, "room": "chat:1", "topic": "said", "data": data, "idempotency_key": "k"});
        let answer = ann.ask(event).await;
        answer.get("code").unwrap_or(&answer["offset"]).clone()
    };
    assert_eq!([said(1).await, said(2).await, said(1).await], [json!(1), json!("conflict"), json!(1)]);
    let event = |data: u64| json!({"room": "chat:1", "topic": "said", "data": data, "idempotency_key": "k"});
    assert_eq!(publish(&pod, &event(1)).await.0, 200, "a backend's key is another one");
    let (status, refusal) = publish(&pod, &event(2)).await;
    assert_eq!((status, &refusal["error"]["code"]), (409, &json!("conflict")));
    database.until("SELECT count(*) FROM roomcast_pending", "0").await;
    let (_, page) = messages(&pod, "ann", "room=chat:1").await;
    let told: Vec<&Value> = page["messages"].as_array().unwrap().iter().map(|message| &message["data"]).collect();
    assert_eq!(told, [&json!(1), &json!(1)]);
    drop(ann);
    tokio::task::block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authors_see_that_others_have_read() {
    authors_see(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authors_that_have_no_room_of_their_own_see_it_too() {
    authors_see(false).await;
}

async fn authors_see(has_personal_rooms: bool) {
    let database = Database::made().await;
    let pod = pod(|settings| {
        known(settings);
        settings.tokens.personal_room = has_personal_rooms.then(|| PersonalRoom::parse("user:{user}").unwrap());
        settings.acks.every = std::time::Duration::from_millis(10);
        archived(&database, settings);
    });
    ready(&pod).await;
    let (mut ann, mut bob) = (connect(&pod, "ann").await, connect(&pod, "bob").await);
    for client in [&mut ann, &mut bob].into_iter().filter(|_| has_personal_rooms) {
        assert_eq!(client.json().await["type"], "subscribed", "its personal room");
    }
    bob.subscribe("chat:1").await;
    ann.subscribe("chat:1").await;
    for n in 1..=3 {
        ann.send(&json!({"type": "publish", "id": n, "room": "chat:1", "topic": "said", "data": n}).to_string()).await;
        while ann.json().await["type"] != "published" {}
    }
    bob.send(&json!({"type": "ack", "id": "a", "room": "chat:1", "offset": 2}).to_string()).await;
    database.until("SELECT reader, \"offset\" FROM roomcast_reads", "bob|2").await;
    let status = async |user: &str| -> Vec<Value> {
        let (_, page) = messages(&pod, user, "room=chat:1").await;
        page["messages"].as_array().unwrap().iter().map(|message| message["status"].clone()).collect()
    };
    assert_eq!(status("ann").await, ["read", "read", "sent"]);
    // A device has the third, and says that it has one that is not there; its author's own devices say nothing of it.
    let delivered = json!({"type": "ack", "id": "d", "room": "chat:1", "offset": 9, "delivered": true}).to_string();
    ann.send(&delivered).await;
    bob.send(&delivered).await;
    database.until("SELECT reader, \"offset\" FROM roomcast_delivered ORDER BY reader DESC LIMIT 1", "bob|3").await;
    assert_eq!(status("ann").await, ["read", "read", "delivered"]);
    assert_eq!(status("bob").await, [Value::Null, Value::Null, Value::Null], "of others' nothing is said");
    drop((ann, bob));
    tokio::task::block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_metrics_are_described_and_documented() {
    let database = Database::made().await;
    let pod = pod(|settings| archived(&database, settings));
    ready(&pod).await;
    publish(&pod, &json!({"room": "chat:1", "topic": "said", "data": 1})).await;
    let (_, text) = get(&pod, "/metrics").await;
    let names: BTreeSet<&str> = text
        .lines()
        .filter(|line| line.starts_with("roomcast_archive_"))
        .map(|line| line.split(['{', ' ']).next().unwrap())
        .map(|name| ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name))
        .collect();
    assert_eq!(names, ARCHIVE_DESCRIPTIONS.iter().map(|(name, _)| *name).collect());
    let guide = include_str!("../../docs/OPERATIONS.md");
    for (name, says) in ARCHIVE_DESCRIPTIONS {
        assert!(text.contains(&format!("# HELP {name} {says}")) && guide.contains(&format!("`{name}")), "{name}");
    }
    assert!(text.contains("roomcast_archive_events_total{outcome=\"kept\"} 1"), "{text}");
    tokio::task::block_in_place(|| pod.stop());
}

#[tokio::test]
async fn without_an_archive_there_is_no_trace_of_it() {
    let pod = pod(known);
    let (status, _) = messages(&pod, "ann", "room=chat:1").await;
    assert_eq!(status, 404);
    let (_, metrics) = get(&pod, "/metrics").await;
    assert!(!metrics.contains("roomcast_archive"), "{metrics}");
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    client.subscribe("chat:1").await;
    pod.stop();
}
