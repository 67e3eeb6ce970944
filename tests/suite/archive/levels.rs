//! The tables' levels: up, down, and what a pod does with those that are not its own.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    archive::{
        TOLD,
        database::{Database, archived},
        messages, publish,
    },
    harness::{get, pod},
    users::{known, ready},
};
use roomcast::testing::archive::MigrationError;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_come_and_go_by_level() {
    let database = Database::empty().await;
    let migrator = database.migrator();
    let status = migrator.status().await.unwrap();
    assert_eq!((status.found, status.own, status.trouble), (0, 4, Some(MigrationError::Missing)));
    // Two programs at once: one makes them.
    let (a, b) = tokio::join!(migrator.up(), migrator.up());
    let made = [a.unwrap(), b.unwrap()];
    assert!(made == [vec![1, 2, 3, 4], vec![]] || made == [vec![], vec![1, 2, 3, 4]], "{made:?}");
    assert_eq!(migrator.status().await.unwrap().trouble, None);
    assert_eq!(migrator.down(1).await.unwrap(), [4, 3, 2]);
    let status = migrator.status().await.unwrap();
    assert_eq!(status.trouble, Some(MigrationError::Older { found: 1, needed: 4 }));
    assert_eq!(migrator.up().await.unwrap(), [2, 3, 4]);
    assert_eq!(migrator.down(0).await.unwrap(), [4, 3, 2, 1]);
    let tables = "SELECT string_agg(tablename, ' ') FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(database.sql(tables), "roomcast_migrations");
    assert_eq!(migrator.up().await.unwrap(), [1, 2, 3, 4]);

    database.sql("UPDATE roomcast_migrations SET hash = 'other' WHERE level = 1");
    for refused in [migrator.up().await, migrator.down(0).await] {
        assert_eq!(refused, Err(MigrationError::Changed(1, "0001_messages".to_owned())));
    }
    database.sql("DELETE FROM roomcast_migrations; INSERT INTO roomcast_migrations (level, name, hash) VALUES (9, '0009_x', 'x')");
    assert!(matches!(migrator.up().await, Err(MigrationError::Changed(9, _))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_takes_no_event_for_tables_that_are_not_its_own() {
    let database = Database::empty().await;
    let pod = pod(|settings| {
        archived(&database, settings);
        settings.archive.timeout = Duration::from_millis(500);
    });
    let began = Instant::now();
    while get(&pod, "/ready").await.1 != r#"{"status":"degraded","reason":"archive"}"# {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let event = json!({"room": "chat:1", "topic": "said", "data": 1});
    let (status, refusal) = publish(&pod, &event).await;
    let message = refusal["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!((status, &refusal["error"]["code"]), (503, &json!("unavailable")));
    assert!(message.ends_with(TOLD), "what is to be done is in the log: {message}");
    // Other rooms go on.
    let (status, _) = publish(&pod, &json!({"room": "news:1", "topic": "said", "data": 1})).await;
    assert_eq!(status, 200);

    database.migrator().up().await.unwrap();
    ready(&pod).await;
    assert_eq!(publish(&pod, &event).await.0, 200);
    // Nothing of the one that was refused.
    assert_eq!(database.sql(r#"SELECT "offset" FROM roomcast_messages"#), "1");
    tokio::task::block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_brings_the_tables_up_where_it_may() {
    let database = Database::empty().await;
    let pod = pod(|settings| {
        archived(&database, settings);
        settings.archive.migrate = true;
    });
    ready(&pod).await;
    assert_eq!(publish(&pod, &json!({"room": "chat:1", "topic": "said", "data": 1})).await.0, 200);
    tokio::task::block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_another_level_or_changed_by_hand_are_used_by_no_pod() {
    let changed = "UPDATE roomcast_migrations SET hash = repeat('0', 64) WHERE level = 2";
    let newer = "INSERT INTO roomcast_migrations (level, name, hash) VALUES (5, '0005_later', 'x')";
    for (what, is_found) in [
        ("older", (|trouble| matches!(trouble, MigrationError::Older { found: 3, .. })) as fn(&MigrationError) -> bool),
        (changed, |trouble| matches!(trouble, MigrationError::Changed(2, _))),
        (newer, |trouble| matches!(trouble, MigrationError::Newer { found: 5, .. })),
    ] {
        let database = Database::made().await;
        let migrator = database.migrator();
        if what == "older" {
            assert_eq!(migrator.down(3).await.unwrap(), [4]);
        } else {
            database.sql(what);
        }
        let before = database.sql("SELECT string_agg(m::text, ' ' ORDER BY level) FROM roomcast_migrations m");
        let pod = pod(|settings| {
            known(settings);
            archived(&database, settings);
            settings.archive.timeout = Duration::from_millis(500);
            // What was made by hand, and what a newer build made, is not for this one to mend.
            settings.archive.migrate = what != "older";
        });
        let began = Instant::now();
        while get(&pod, "/ready").await.1 != r#"{"status":"degraded","reason":"archive"}"# {
            assert!(began.elapsed() < Duration::from_secs(20), "{what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let event = json!({"room": "chat:1", "topic": "said", "data": 1});
        let (status, refusal) = publish(&pod, &event).await;
        assert!(status == 503 && refusal["error"]["message"].as_str().unwrap().ends_with(TOLD), "{what}: {refusal}");
        assert_eq!(messages(&pod, "ann", "room=chat:1").await.0, 503, "{what}");
        let trouble = migrator.status().await.unwrap().trouble.unwrap();
        assert!(is_found(&trouble), "{what}: {trouble}");
        assert_eq!(database.sql("SELECT string_agg(m::text, ' ' ORDER BY level) FROM roomcast_migrations m"), before);
        assert_eq!(database.sql("SELECT count(*) FROM roomcast_messages"), "0");
        tokio::task::block_in_place(|| pod.stop());
    }
}
