//! Deleted events and erased users: what the archive has of them, in the log and beyond it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::{
    archive::{
        database::{Database, archived},
        messages, offsets,
    },
    harness::{Client, pod, rule},
    users::{call, connect, known, ready},
};
use roomcast::testing::{
    config::Settings,
    model::{Access, ArchiveMode, DeleteMode, EraseMode},
    pod::Pod,
};

/// Users write and delete in `chat:*`, whose log has the newest `kept` events.
fn chats(database: &Database, settings: &mut Settings, kept: usize) {
    known(settings);
    archived(database, settings);
    settings.archive.timeout = Duration::from_secs(1);
    let policy = &mut settings.policies[0].policy;
    (policy.publish, policy.delete, policy.history_size) = (Access::User, DeleteMode::Author, kept);
}

async fn api(pod: &Pod, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let head = format!("{method} {path} HTTP/1.1\r\nAuthorization: Bearer test-key");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, body) = call(pod.addresses().internal[0], &head, &body).await;
    (status, serde_json::from_str(&body).unwrap())
}

async fn delete(pod: &Pod, at: &Value) -> (u16, Value) {
    let event = json!({"offset": at["offset"], "epoch": at["epoch"]});
    api(pod, "POST", "/api/rooms/chat:1/delete", &event).await
}

/// The answer to a command, whatever comes before it.
async fn answer(client: &mut Client, command: Value) -> Value {
    client.send(&command.to_string()).await;
    loop {
        let message = client.json().await;
        if message["id"] == command["id"] {
            return message;
        }
    }
}

/// A user says something in a room, with an id and a key of its own.
async fn say(client: &mut Client, room: &str, id: &str) -> Value {
    answer(
        client,
        json!({"type": "publish", "id": id, "room": room, "topic": "said", "event_id": id, "key": "mine", "data": format!("secret {id}")}),
    )
    .await
}

/// The next event with that topic.
async fn event(client: &mut Client, topic: &str) -> Value {
    loop {
        let message = client.json().await;
        let events = message["events"].as_array().cloned().unwrap_or_default();
        if let Some(event) = events.into_iter().find(|event| event["topic"] == topic) {
            return event;
        }
    }
}

/// Rows that have this text anywhere.
fn found(database: &Database, text: &str) -> String {
    let row = "concat(t::text, convert_from(coalesce(to_jsonb(t)->>'data', '')::bytea, 'UTF8'))";
    let of = |table: &str| {
        database.sql(&format!("SELECT {row} FROM roomcast_{table} t WHERE position('{text}' in {row}) > 0"))
    };
    ["messages", "pending", "reads"].map(of).concat()
}

/// What a page says of each event.
fn told(page: &Value) -> Vec<Value> {
    let of = |message: &Value| json!([message["topic"], message["data"], message["user"], message["erased"]]);
    page["messages"].as_array().unwrap().iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_event_is_deleted_in_the_archive() {
    let database = Database::made().await;
    let pod = pod(|settings| chats(&database, settings, 100));
    ready(&pod).await;
    let (mut ann, mut bob) = (connect(&pod, "ann").await, connect(&pod, "bob").await);
    let (first, second) = (say(&mut ann, "chat:1", "m-1").await, say(&mut bob, "chat:1", "m-2").await);
    let (_, before) = messages(&pod, "ann", "room=chat:1").await;
    let command = |at: &Value| json!({"type": "delete", "id": "d", "room": "chat:1", "epoch": at["epoch"], "offset": at["offset"]});
    assert_eq!(answer(&mut ann, command(&second)).await["code"], "forbidden");
    for _ in 0..2 {
        assert_eq!(answer(&mut ann, command(&first)).await["type"], "done");
    }
    assert_eq!(found(&database, "secret m-1"), "");
    let (_, page) = messages(&pod, "ann", "room=chat:1").await;
    let notice = json!(["$deleted", {"offsets": [1], "ids": ["m-1"]}, "ann", null]);
    let tombstone = json!(["$deleted", {"offsets": [1]}, null, null]);
    assert_eq!(told(&page), [tombstone, json!(["said", "secret m-2", "bob", null]), notice]);
    let (was, is) = (&before["messages"][0], &page["messages"][0]);
    assert_eq!((&is["id"], &is["time"], &is["key"]), (&json!("m-1"), &was["time"], &Value::Null), "as in the log");
    assert_eq!(page["missing"], json!([]));
    // What tells of it cannot be deleted, and what there is not neither.
    let epoch = &first["epoch"];
    for (offset, status) in [(3, 404), (9, 404), (2, 200)] {
        assert_eq!(delete(&pod, &json!({"epoch": epoch, "offset": offset})).await.0, status, "{offset}");
    }
    drop((ann, bob));
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_the_log_has_no_more_is_deleted_by_its_author_and_by_a_backend() {
    let database = Database::made().await;
    let pod = pod(|settings| chats(&database, settings, 2));
    ready(&pod).await;
    let (mut ann, mut bob) = (connect(&pod, "ann").await, connect(&pod, "bob").await);
    bob.subscribe("chat:1").await;
    let first = say(&mut ann, "chat:1", "m-1").await;
    for n in 2..=6 {
        say(&mut ann, "chat:1", &format!("m-{n}")).await;
    }
    let command =
        |offset: u64| json!({"type": "delete", "id": "d", "room": "chat:1", "epoch": first["epoch"], "offset": offset});
    assert_eq!(answer(&mut bob, command(1)).await["code"], "forbidden", "the archive knows whose it is");
    assert_eq!(answer(&mut ann, command(1)).await["type"], "done");
    let heard = event(&mut bob, "$deleted").await;
    assert_eq!((&heard["data"], &heard["user"]), (&json!({"offsets": [1], "ids": ["m-1"]}), &json!("ann")));
    let (status, said) = api(&pod, "POST", "/api/rooms/chat:1/delete", &json!({"offset": 2})).await;
    assert_eq!(status, 200, "{said}");
    assert_eq!(event(&mut bob, "$deleted").await["data"]["offsets"], json!([2]));
    assert_eq!(found(&database, "secret m-1") + &found(&database, "secret m-2"), "");
    let (_, page) = messages(&pod, "bob", "room=chat:1").await;
    assert_eq!(offsets(&page), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(answer(&mut ann, command(1)).await["type"], "done", "to repeat it is harmless");
    assert_eq!(answer(&mut ann, command(7)).await["code"], "bad_position", "it tells of another");
    assert_eq!(api(&pod, "POST", "/api/rooms/chat:1/delete", &json!({"offset": 99})).await.0, 404);
    drop((ann, bob));
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_a_log_of_before_is_deleted_and_told_by_its_id() {
    let database = Database::made().await;
    let start = || pod(|settings| chats(&database, settings, 100));
    let first = start();
    ready(&first).await;
    let old = say(&mut connect(&first, "ann").await, "chat:1", "m-1").await;
    block_in_place(|| first.stop());
    // This one's log begins at 1 again.
    let second = start();
    ready(&second).await;
    let mut ann = connect(&second, "ann").await;
    say(&mut ann, "chat:1", "n-1").await;
    ann.subscribe("chat:1").await;
    assert_eq!(delete(&second, &old).await.0, 200);
    assert_eq!(event(&mut ann, "$deleted").await["data"], json!({"offsets": [], "ids": ["m-1"]}));
    assert_eq!((found(&database, "secret m-1"), found(&database, "secret n-1").is_empty()), (String::new(), false));
    let (_, page) = messages(&second, "ann", "room=chat:1").await;
    assert_eq!(
        told(&page)[..2],
        [json!(["$deleted", {"offsets": [1]}, null, null]), json!(["said", "secret n-1", "ann", null])]
    );
    drop(ann);
    block_in_place(|| second.stop());
}

/// Has the archive confirm nothing that says something, until [`confirms`].
fn confirms_nothing(database: &Database) {
    database.sql("ALTER TABLE roomcast_messages ADD CONSTRAINT stuck CHECK (topic <> 'said') NOT VALID");
}

async fn confirms(database: &Database) {
    database.sql("ALTER TABLE roomcast_messages DROP CONSTRAINT stuck");
    database.until("SELECT count(*) FROM roomcast_pending", "0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_deleted_before_it_is_confirmed_stays_deleted() {
    let database = Database::made().await;
    let pod = pod(|settings| chats(&database, settings, 100));
    ready(&pod).await;
    let mut ann = connect(&pod, "ann").await;
    let first = say(&mut ann, "chat:1", "m-1").await;
    confirms_nothing(&database);
    assert_eq!(say(&mut ann, "chat:1", "m-2").await["code"], "unknown", "it is published, and not confirmed");
    assert!(found(&database, "secret m-2").starts_with('('));
    // What tells of it may wait behind what is stuck.
    let at = json!({"epoch": first["epoch"], "offset": 2});
    let (status, _) = delete(&pod, &at).await;
    assert!(status == 200 || status == 504, "{status}");
    confirms(&database).await;
    assert_eq!(delete(&pod, &at).await.0, 200);
    assert_eq!(found(&database, "secret m-2"), "");
    let (_, page) = messages(&pod, "ann", "room=chat:1").await;
    assert_eq!(told(&page)[1], json!(["$deleted", {"offsets": [2]}, null, null]));
    drop(ann);
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_the_archive_does_not_take_is_not_begun_and_one_that_is_half_done_is_told() {
    let database = Database::of_its_own().await;
    let pod = pod(|settings| chats(&database, settings, 100));
    ready(&pod).await;
    let (mut ann, mut bob) = (connect(&pod, "ann").await, connect(&pod, "bob").await);
    say(&mut ann, "chat:1", "m-1").await;
    bob.subscribe("chat:1").await;
    let command = json!({"type": "delete", "id": "d", "room": "chat:1", "offset": 1});
    let ask = json!({"type": "history", "id": "h", "room": "chat:1", "limit": 1});
    block_in_place(|| database.server.kill());
    assert_eq!(answer(&mut ann, command.clone()).await["code"], "unavailable");
    assert_eq!(answer(&mut ann, ask.clone()).await["events"][0]["data"], "secret m-1", "nothing was done");
    block_in_place(|| {
        database.server.restart();
        database.server.wait_ready();
    });
    ready(&pod).await;
    // The log takes it, and the archive then does not.
    database.sql("ALTER TABLE roomcast_messages ADD CONSTRAINT stuck CHECK (topic <> '$deleted') NOT VALID");
    let began = Instant::now();
    let mut said = answer(&mut ann, command.clone()).await;
    while said["code"] == "unavailable" && began.elapsed() < Duration::from_secs(20) {
        // It has not come back to the database yet.
        tokio::time::sleep(Duration::from_millis(50)).await;
        said = answer(&mut ann, command.clone()).await;
    }
    assert_eq!(said["code"], "unknown");
    assert_eq!(event(&mut bob, "$deleted").await["data"], json!({"offsets": [1], "ids": ["m-1"]}));
    confirms(&database).await;
    assert_eq!(answer(&mut ann, command).await["type"], "done");
    assert_eq!(found(&database, "secret m-1"), "");
    drop((ann, bob));
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_erased_user_wrote_goes_from_the_archive_as_the_policy_says() {
    let database = Database::made().await;
    let pod = pod(|settings| {
        chats(&database, settings, 2);
        let rule = |pattern, erase| {
            rule(pattern, |policy| {
                (policy.publish, policy.archive) = (Access::User, ArchiveMode::Postgres);
                (policy.erase, policy.history_size) = (erase, 2);
            })
        };
        settings.policies = vec![
            rule("kept:*", EraseMode::Keep),
            rule("shell:*", EraseMode::Content),
            rule("gone:*", EraseMode::Event),
        ];
    });
    ready(&pod).await;
    let (mut ann, mut bob) = (connect(&pod, "ann-e").await, connect(&pod, "bob").await);
    for room in ["kept:1", "shell:1", "gone:1"] {
        for id in ["ann-e 1", "m-2", "ann-e 3", "m-4"] {
            let client = if id.starts_with("ann") { &mut ann } else { &mut bob };
            assert_eq!(say(client, room, id).await["type"], "published");
        }
    }
    // One of each kind is in the log yet, one is in the archive alone; and one is on its way.
    confirms_nothing(&database);
    assert_eq!(say(&mut ann, "gone:2", "ann-e 5").await["code"], "unknown");
    assert_eq!(say(&mut ann, "kept:2", "ann-e 6").await["code"], "unknown");
    let began = Instant::now();
    let erase = || api(&pod, "DELETE", "/api/users/ann-e", &Value::Null);
    let mut status = erase().await.0;
    confirms(&database).await;
    while status != 200 {
        assert!(began.elapsed() < Duration::from_secs(20), "{status}");
        status = erase().await.0;
    }
    let page = async |room: &str| told(&messages(&pod, "bob", &format!("room={room}")).await.1);
    let his = |id: &str| json!(["said", format!("secret {id}"), "bob", null]);
    let hers = |id: &str| json!(["said", format!("secret {id}"), "ann-e", null]);
    assert_eq!(page("kept:1").await, [hers("ann-e 1"), his("m-2"), hers("ann-e 3"), his("m-4")]);
    assert_eq!(page("kept:2").await, [hers("ann-e 6")]);
    let shell = json!(["said", null, null, true]);
    assert_eq!(page("shell:1").await[..4], [shell.clone(), his("m-2"), shell, his("m-4")]);
    let gone = |offset: u64| json!(["$deleted", {"offsets": [offset]}, null, null]);
    assert_eq!(page("gone:1").await[..4], [gone(1), his("m-2"), gone(3), his("m-4")]);
    // Nothing else names the user, in whichever room.
    let left = found(&database, "ann-e");
    assert!(left.lines().all(|row| row.contains("kept:")), "{left}");
    drop((ann, bob));
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_erased_user_members_are_told_also_what_only_the_archive_has_and_no_id_is_left() {
    let database = Database::made().await;
    let pod = pod(|settings| {
        chats(&database, settings, 4);
        settings.policies[0].policy.erase = EraseMode::Content;
    });
    ready(&pod).await;
    let (mut ann, mut bob) = (connect(&pod, "ann-e").await, connect(&pod, "bob").await);
    bob.subscribe("chat:1").await;
    for n in 1..=5 {
        say(&mut ann, "chat:1", &format!("ann-e {n}")).await;
    }
    // One is in the archive alone, and one in the log.
    for offset in [1, 5] {
        let own = json!({"type": "delete", "id": "d", "room": "chat:1", "offset": offset});
        assert_eq!(answer(&mut ann, own).await["type"], "done");
    }
    assert!(found(&database, "ann-e 1").contains("$deleted") && found(&database, "ann-e 5").contains("$deleted"));
    assert_eq!(api(&pod, "DELETE", "/api/users/ann-e", &Value::Null).await.0, 200);
    let mut named: Vec<u64> = Vec::new();
    while named.len() < 3 {
        let heard = event(&mut bob, "$deleted").await;
        if heard["data"]["content"] == true {
            named.extend(heard["data"]["offsets"].as_array().unwrap().iter().filter_map(Value::as_u64));
        }
    }
    named.sort_unstable();
    assert_eq!(named, [2, 3, 4]);
    assert_eq!(found(&database, "ann-e"), "");
    let gone = |offset: u64| json!(["$deleted", {"offsets": [offset]}, null, null]);
    let (_, page) = messages(&pod, "bob", "room=chat:1").await;
    let left = told(&page);
    assert_eq!([0, 4, 5, 6].map(|at| left[at].clone()), [1, 5, 1, 5].map(gone));
    let ask = json!({"type": "history", "id": "h", "room": "chat:1"});
    assert!(!answer(&mut bob, ask).await.to_string().contains("ann-e"));
    drop((ann, bob));
    block_in_place(|| pod.stop());
}
