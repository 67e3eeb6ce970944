//! What is erased, and what is too old.

use std::{
    future::ready as at_once,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::{
    archive::{
        database::{Database, archived},
        messages, publish,
        side::{KNOWN, NEVER, Side, Stop, chat, policies, settings},
    },
    harness::{pod, publication, rule},
    users::{call, connect, known, ready},
};
use roomcast::testing::{
    archive::ArchivedErasure,
    broker::{
        AckBounds, Acks, Answer, Broker, BrokerError, EachOf, Erasure, HistoryQuery, KeptAck, Standing, UntoldAck,
    },
    config::PersonalRoom,
    model::{Access, Ack, ArchiveMode, Epoch, EraseMode, Payload, Position, Publication, Room},
    pod::Pod,
};

async fn delete(pod: &Pod, path: &str) -> (u16, Value) {
    let head = format!("DELETE {path} HTTP/1.1\r\nAuthorization: Bearer test-key");
    let (status, body) = call(pod.addresses().internal[0], &head, "").await;
    (status, serde_json::from_str(&body).unwrap())
}

/// All tables as text.
fn all(database: &Database) -> String {
    ["messages", "pending", "generations", "reads", "delivered"]
        .map(|table| database.sql(&format!("SELECT t::text, convert_from(coalesce(to_jsonb(t)->>'data', '')::bytea, 'UTF8') FROM roomcast_{table} t")))
        .join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_user_that_is_erased_the_archive_has_nothing() {
    let database = Database::made().await;
    let pod = pod(|settings| {
        known(settings);
        settings.tokens.personal_room = Some(PersonalRoom::parse("user:{user}").unwrap());
        settings.acks.every = Duration::from_millis(10);
        archived(&database, settings);
        settings.policies[0].policy.erase = EraseMode::Content;
        settings.policies.push(rule("user:*", |policy| {
            policy.archive = ArchiveMode::Postgres;
            policy.join = Access::Owner;
        }));
    });
    ready(&pod).await;
    let (mut ann, mut bob) = (connect(&pod, "ann-e").await, connect(&pod, "bob").await);
    publish(&pod, &json!({"room": "user:ann-e", "topic": "note", "data": {"to": "ann-e"}})).await;
    for client in [&mut ann, &mut bob] {
        client.subscribe("chat:1").await;
        let said = json!({"type": "publish", "id": 1, "room": "chat:1", "topic": "said", "data": "secret-words", "key": "mine"});
        client.send(&said.to_string()).await;
        while client.json().await["type"] != "published" {}
    }
    for (client, offset) in [(&mut ann, 2), (&mut bob, 1)] {
        client.send(&json!({"type": "ack", "id": "a", "room": "chat:1", "offset": offset}).to_string()).await;
    }
    ann.send(&json!({"type": "ack", "id": "d", "room": "chat:1", "offset": 2, "delivered": true}).to_string()).await;
    database.until("SELECT count(*) FROM roomcast_reads", "2").await;
    database.until("SELECT reader FROM roomcast_delivered", "ann-e").await;
    assert!(all(&database).contains("ann-e"));
    assert_eq!(delete(&pod, "/api/users/ann-e").await.0, 200);
    let left = all(&database);
    assert!(!left.contains("ann-e"), "{left}");
    // Of others all is as it was, and a page has no hole.
    let (_, page) = messages(&pod, "bob", "room=chat:1").await;
    let told: Vec<_> =
        page["messages"].as_array().unwrap().iter().map(|m| (m["erased"].clone(), m["data"].clone())).collect();
    // What tells of it is an event like any other.
    assert_eq!(told[..2], [(json!(true), Value::Null), (Value::Null, json!("secret-words"))]);
    assert_eq!(told[2..], [(Value::Null, json!({"offsets": [1], "content": true}))]);
    assert_eq!(page["missing"], json!([]));
    assert_eq!(delete(&pod, "/api/users/ann-e").await.0, 200, "again is no error");
    drop((ann, bob));
    block_in_place(|| pod.stop());
}

/// What says where logs stand, and sometimes does not.
struct Standings {
    inner: Arc<dyn Acks>,
    is_away: AtomicBool,
}

impl Acks for Standings {
    fn standings<'a>(&'a self, rooms: &'a [(Room, Vec<Epoch>)]) -> EachOf<'a, Standing> {
        if self.is_away.load(Relaxed) {
            let refused = |_| Err(BrokerError::Unavailable("away".to_owned()));
            return Box::pin(at_once(rooms.iter().map(refused).collect()));
        }
        self.inner.standings(rooms)
    }

    fn keep<'a>(&'a self, acks: &'a [Ack], bounds: AckBounds) -> EachOf<'a, KeptAck> {
        self.inner.keep(acks, bounds)
    }

    fn take_untold(&self, older: Duration, most: usize) -> Answer<'_, Vec<UntoldAck>> {
        self.inner.take_untold(older, most)
    }

    fn kept<'a>(&'a self, user: &'a str, bounds: AckBounds) -> Answer<'a, Vec<(Room, Vec<Position>)>> {
        self.inner.kept(user, bounds)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_the_archive_has_goes_once_members_can_be_told() {
    let database = Database::made().await;
    let pod = pod(|_| {});
    let acks = Arc::new(Standings { inner: Arc::clone(&pod.services().acks.store), is_away: AtomicBool::new(false) });
    let side = Side::start_with(&settings(&database, NEVER), &pod, Stop::Never, KNOWN, Arc::clone(&acks) as _);
    for said in ["1", "2"] {
        let said = Publication { user: Some("ann".into()), ..publication("said", said) };
        side.broker.publish(&chat(), said).await.unwrap();
    }
    let (inner, broker) = (Arc::clone(&pod.services().erasure), Arc::clone(&side.broker) as _);
    let content = policies(|policy| policy.erase = EraseMode::Content);
    let erasure = ArchivedErasure::new(inner, broker, Arc::clone(&side.archive), content);
    let written = "SELECT count(*) FROM roomcast_messages WHERE author = 'ann'";
    acks.is_away.store(true, Relaxed);
    assert_eq!(erasure.forget_beyond("ann").await, Err(BrokerError::Unknown));
    assert_eq!(database.sql(written), "2", "found again when it is repeated");
    acks.is_away.store(false, Relaxed);
    erasure.forget_beyond("ann").await.unwrap();
    assert_eq!(database.sql(written), "0");
    let query = HistoryQuery { since: None, until: None, max_events: 1, max_bytes: 1_000 };
    let told = side.broker.history(&chat(), query).await.unwrap();
    let Payload::Json(data) = &told.events[0].payload else { panic!("{told:?}") };
    assert_eq!(data.get(), r#"{"offsets":[1,2],"content":true}"#);
    drop(side);
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_is_deleted_is_gone_from_the_archive_and_begins_anew() {
    let database = Database::of_its_own().await;
    let pod = pod(|settings| {
        known(settings);
        archived(&database, settings);
    });
    ready(&pod).await;
    for n in 0..3 {
        publish(&pod, &json!({"room": "chat:1", "topic": "said", "data": n})).await;
        publish(&pod, &json!({"room": "chat:2", "topic": "said", "data": n})).await;
    }
    assert_eq!(delete(&pod, "/api/rooms/chat:1").await, (200, json!({"room": "chat:1", "deleted": true})));
    assert!(!all(&database).contains("chat:1"));
    assert_eq!(publish(&pod, &json!({"room": "chat:1", "topic": "said", "data": 9})).await.0, 200);
    let (_, page) = messages(&pod, "ann", "room=chat:1").await;
    assert_eq!((&page["messages"][0]["data"], page["messages"].as_array().unwrap().len()), (&json!(9), 1));
    assert_eq!(database.sql("SELECT count(*) FROM roomcast_messages WHERE room = 'chat:2'"), "3");
    // An archive that is not there is an error, and is asked again.
    block_in_place(|| database.server.kill());
    let (status, refusal) = delete(&pod, "/api/rooms/chat:2").await;
    assert!(status == 503 || status == 504, "{status} {refusal}");
    block_in_place(|| {
        database.server.restart();
        database.server.wait_ready();
    });
    ready(&pod).await;
    assert_eq!(database.sql("SELECT count(*) FROM roomcast_messages WHERE room = 'chat:2'"), "3");
    assert_eq!(delete(&pod, "/api/rooms/chat:2").await, (200, json!({"room": "chat:2", "deleted": true})));
    assert!(!all(&database).contains("chat:2"));
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_older_than_it_is_kept_goes() {
    let database = Database::made().await;
    let pod = pod(|settings| {
        known(settings);
        archived(&database, settings);
        settings.archive.keep = Some(Duration::from_secs(3_600));
        settings.archive.repair_after = Duration::from_secs(1);
    });
    ready(&pod).await;
    for n in 0..3 {
        publish(&pod, &json!({"room": "chat:1", "topic": "said", "data": n})).await;
    }
    database.sql(r#"UPDATE roomcast_messages SET created = created - interval '2 h' WHERE "offset" < 3"#);
    block_in_place(|| pod.stop());
    // It looks when it starts, and each minute.
    let pod = crate::harness::pod(|settings| {
        archived(&database, settings);
        settings.archive.keep = Some(Duration::from_secs(3_600));
        settings.archive.repair_after = Duration::from_secs(1);
    });
    database.until(r#"SELECT string_agg("offset"::text, ' ') FROM roomcast_messages"#, "3").await;
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_room_without_messages_nothing_is_left_behind() {
    let database = Database::made().await;
    let start = |keep: Option<Duration>| {
        pod(|settings| {
            known(settings);
            settings.tokens.personal_room = Some(PersonalRoom::parse("user:{user}").unwrap());
            archived(&database, settings);
            settings.acks.every = Duration::from_millis(10);
            settings.archive.keep = keep;
            settings.archive.repair_after = Duration::from_secs(1);
        })
    };
    let first = start(None);
    ready(&first).await;
    let (mut ann, mut bob) = (connect(&first, "ann").await, connect(&first, "bob").await);
    for client in [&mut ann, &mut bob] {
        assert_eq!(client.json().await["type"], "subscribed", "its personal room");
    }
    for room in ["chat:1", "chat:2", "chat:3"] {
        bob.send(&json!({"type": "subscribe", "id": "s", "room": room}).to_string()).await;
        while bob.json().await["id"] != "s" {}
        for n in 0..3 {
            ann.send(&json!({"type": "publish", "id": "p", "room": room, "topic": "said", "data": n}).to_string())
                .await;
            while ann.json().await["type"] != "published" {}
        }
        for more in [json!({}), json!({"delivered": true})] {
            let mut ack = json!({"type": "ack", "id": "a", "room": room, "offset": 3});
            ack.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            bob.send(&ack.to_string()).await;
        }
    }
    database.until("SELECT count(*) FROM roomcast_reads", "3").await;
    database.until("SELECT count(*) FROM roomcast_delivered", "3").await;
    drop((ann, bob));
    let (_, page) = messages(&first, "ann", "room=chat:1").await;
    let end = page["after"].as_str().unwrap().to_owned();
    block_in_place(|| first.stop());
    // Of one all is old; of another one message is younger, and a third has one that is on its way.
    database.sql("UPDATE roomcast_generations SET created = created - interval '2 h'");
    database.sql(
        "UPDATE roomcast_messages SET created = created - interval '2 h' WHERE room <> 'chat:2' OR \"offset\" < 3",
    );
    database.sql(
        "INSERT INTO roomcast_pending (id, room, side, key, hash, topic, is_binary, data, after_generation, after_offset, is_unknown) \
         VALUES ('\\x000102030405060708090a0b0c0d0e0f', 'chat:3', 'b', 'k', '', 't', false, '1', 1, 3, true)",
    );
    let second = start(Some(Duration::from_secs(3_600)));
    ready(&second).await;
    database.until("SELECT string_agg(room, ' ' ORDER BY room) FROM roomcast_generations", "chat:2 chat:3").await;
    for table in ["reads", "delivered"] {
        assert_eq!(
            database.sql(&format!("SELECT string_agg(room, ' ' ORDER BY room) FROM roomcast_{table}")),
            "chat:2 chat:3"
        );
    }
    assert!(!all(&database).contains("chat:1"));
    // Its log is another one by now. What follows is behind what was told before.
    for n in 0..2 {
        assert_eq!(publish(&second, &json!({"room": "chat:1", "topic": "said", "data": n})).await.0, 200);
    }
    let (_, page) = messages(&second, "ann", &format!("room=chat:1&after={end}")).await;
    assert_eq!((page["messages"].as_array().map(Vec::len), &page["missing"]), (Some(2), &json!([])), "{page}");
    let (_, page) = messages(&second, "ann", "room=chat:1").await;
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(2));
    block_in_place(|| second.stop());
}
