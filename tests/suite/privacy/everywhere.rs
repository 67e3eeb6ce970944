//! A user is erased in a fleet with an archive and an edge: what a search over Redis and PostgreSQL finds of it, and what clients are told of the
//! past, on pods and at the edge, from logs, from what pods hold of their ends, and from the archive.

use serde_json::json;
use tempfile::NamedTempFile;
use testkit::redis::Standalone;
use tokio::task::block_in_place;

use super::{USER, answer, search, until};
use crate::{
    archive::{
        database::{Database, archived},
        messages,
    },
    edges::{KEY, follows, takes_edges, url},
    harness::{Client, pod, rule},
    tokens::support::{Pair, file},
    users::{call, connect, connect_as, known, over, ready},
};
use roomcast::testing::{
    config::{PersonalRoom, Settings},
    model::{Access, AckMode, ArchiveMode, DeleteMode, EraseMode, Retain},
    pod::Pod,
};

/// The rooms, one for each thing that may become of what a user wrote.
const ROOMS: [&str; 3] = ["kept:1", "shell:1", "gone:1"];

/// So many events are in a log; the others are in the archive alone.
const LOG: usize = 4;

fn rooms(settings: &mut Settings, key: &NamedTempFile) {
    settings.tokens.public_keys = vec![key.path().to_owned()];
    settings.tokens.personal_room = Some(PersonalRoom::parse("user:{user}").unwrap());
    settings.acks.every = std::time::Duration::from_millis(20);
    let written = |pattern, erase| {
        rule(pattern, |policy| {
            (policy.publish, policy.archive, policy.erase) = (Access::User, ArchiveMode::Postgres, erase);
            (policy.acks, policy.delete) = (AckMode::Receipts, DeleteMode::Author);
            (policy.retain, policy.history_size) = (Retain::Key, LOG);
        })
    };
    settings.policies = vec![
        written("kept:*", EraseMode::Keep),
        written("shell:*", EraseMode::Content),
        written("gone:*", EraseMode::Event),
        rule("user:*", |policy| (policy.join, policy.archive) = (Access::Owner, ArchiveMode::Postgres)),
    ];
}

/// Every row of the archive that names the user, its payload as text.
fn rows(database: &Database) -> Vec<String> {
    let mut found = Vec::new();
    for table in ["messages", "pending", "generations", "reads", "delivered"] {
        let all = format!(
            "SELECT room || ' ' || t::text || ' ' || convert_from(coalesce(to_jsonb(t)->>'data', '')::bytea, 'UTF8') FROM roomcast_{table} t"
        );
        found.extend(database.sql(&all).lines().filter(|row| row.contains(USER)).map(str::to_owned));
    }
    found
}

/// What a client is told of a room: by its log's end, from the beginning on, of what is retained, and from the archive.
async fn past(pod: &Pod, room: &str, token: &str) -> String {
    let mut client = connect_as(pod, token).await;
    let mut told = String::new();
    let history = answer(&mut client, json!({"type": "history", "room": room})).await;
    let since = json!({"epoch": history["epoch"], "offset": 0});
    told.push_str(&history.to_string());
    told.push_str(&answer(&mut client, json!({"type": "history", "room": room, "since": since})).await.to_string());
    client.send(&json!({"type": "subscribe", "id": "s", "room": room, "since": since}).to_string()).await;
    client.send(&json!({"type": "ping", "id": "end"}).to_string()).await;
    loop {
        let message = client.json().await;
        told.push_str(&message.to_string());
        if message["id"] == "end" {
            break;
        }
    }
    told
}

async fn say(client: &mut Client, room: &str, by: &str, n: usize) {
    let name = format!("{by} {n}");
    let event = json!({
        "type": "publish", "room": room, "topic": "said", "key": name, "event_id": name, "idempotency_key": name,
        "data": {"by": by, "n": n},
    });
    let said = answer(client, event).await;
    assert_eq!(said["type"], "published", "{said}");
}

/// A user has read so far, or a device of it has got so much.
async fn read(client: &mut Client, room: &str, offset: u64, delivered: bool) {
    let history = answer(client, json!({"type": "history", "room": room})).await;
    let mut ack = json!({"type": "ack", "room": room, "offset": offset, "epoch": history["epoch"]});
    if delivered {
        ack["delivered"] = json!(true);
    }
    assert_eq!(answer(client, ack).await["type"], "done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_user_that_is_erased_nothing_is_found_or_told_but_what_policies_keep() {
    let (server, database) = (block_in_place(Standalone::start), Database::made().await);
    let pair = Pair::p256();
    let key = file(&pair.public_pem);
    let token = |user: &str| pair.signing.token(&json!({"sub": user, "exp": 4_102_444_800_u64}), None).unwrap();
    let home = || {
        pod(|settings| {
            archived(&database, settings);
            rooms(settings, &key);
            known(settings);
            over(&server, settings);
            takes_edges(settings);
            settings.relay.orders = true;
        })
    };
    let [first, second] = [home(), home()];
    ready(&first).await;
    ready(&second).await;
    let edge = pod(|settings| {
        rooms(settings, &key);
        for rule in &mut settings.policies {
            rule.policy.archive = ArchiveMode::Off;
        }
        follows(settings, &[url(&first)], KEY);
    });
    ready(&edge).await;

    let (mut ann, mut bob) = (connect(&first, USER).await, connect(&second, "bob").await);
    for room in ROOMS {
        // The oldest of each are in the archive alone.
        for n in 0..LOG {
            say(&mut ann, room, USER, n).await;
            say(&mut bob, room, "bob", n).await;
        }
        // Of events that the log has yet, or no author is told.
        for offset in [6, 8] {
            for delivered in [false, true] {
                read(&mut ann, room, offset, delivered).await;
            }
        }
    }
    // What clients of an edge say is known to the archive of its home.
    let mut dan = connect_as(&edge, &token("dan")).await;
    for delivered in [false, true] {
        read(&mut dan, "gone:1", 7, delivered).await;
    }
    for table in ["reads", "delivered"] {
        database.until(&format!("SELECT count(*) FROM roomcast_{table} WHERE reader = 'dan'"), "1").await;
    }
    let note = json!({"room": format!("user:{USER}"), "topic": "note", "data": {"to": USER}}).to_string();
    let head = "POST /api/publish HTTP/1.1\r\nAuthorization: Bearer test-key";
    assert_eq!(call(first.addresses().internal[0], head, &note).await.0, 200);
    database.until(&format!("SELECT count(*) FROM roomcast_reads WHERE reader = '{USER}'"), "3").await;
    database.until(&format!("SELECT count(*) FROM roomcast_delivered WHERE reader = '{USER}'"), "3").await;
    // What pods and the edge hold of the logs' ends is read once before, and holds it all.
    for pod in [&first, &second, &edge] {
        for room in ROOMS {
            assert!(past(pod, room, &token("cem")).await.contains(USER), "{room}");
        }
    }
    let kinds = ["acks:", "log:gone:1", "log:shell:1", "values:gone:1", "authors:", "retry:", "log:user:"];
    until(&server, "all that is kept", |found| kinds.iter().all(|kind| found.iter().any(|text| text.contains(kind))))
        .await;
    assert!(rows(&database).iter().any(|row| row.starts_with("gone:1")));

    let head = format!("DELETE /api/users/{USER} HTTP/1.1\r\nAuthorization: Bearer test-key");
    let erased = call(second.addresses().internal[0], &head, "").await;
    assert!(erased.0 == 200 && erased.1.contains(r#""silent":[]"#), "{erased:?}");
    let is_kept =
        |found: &[String]| found.iter().all(|text| text.contains(":kept:1 = ") || text.contains(":retry:kept:1"));
    until(&server, "nothing but what is kept", is_kept).await;
    assert!(search(&server).iter().any(|text| text.contains("log:kept:1")), "the log that keeps it has it");
    let left = rows(&database);
    assert!(!left.is_empty() && left.iter().all(|row| row.starts_with("kept:1")), "{left:#?}");
    for (name, pod) in [("first", &first), ("second", &second), ("edge", &edge)] {
        for room in ["shell:1", "gone:1"] {
            let told = past(pod, room, &token("cem")).await;
            assert!(told.contains("bob 3") && !told.contains(USER), "{name}: {told}");
        }
        let told = past(pod, "kept:1", &token("cem")).await;
        assert!(told.contains(&format!("{USER} 3")), "{name}: {told}");
    }
    for room in ROOMS {
        let (_, page) = messages(&second, "cem", &format!("room={room}")).await;
        let all = page["messages"].as_array().unwrap().len();
        assert!(all >= 2 * LOG && page["missing"] == json!([]), "a page has no hole: {page}");
        assert_eq!(page.to_string().contains(USER), room == "kept:1", "{page}");
        let erased = page["messages"].as_array().unwrap().iter().filter(|message| message["erased"] == true).count();
        assert_eq!(erased, if room == "shell:1" { LOG } else { 0 }, "{page}");
    }
    drop((ann, bob, dan));
    block_in_place(|| [edge, first, second].into_iter().for_each(Pod::stop));
}
