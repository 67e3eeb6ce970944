//! What a crash between any two steps leaves, and what becomes of it: over the embedded broker and over Redis.
//!
//! A pod's archive is stopped there by a broker that does not go on: before it publishes, or after. Then all of that pod is dropped, and
//! another one looks after what is left.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use testkit::redis::Standalone;
use tokio::task::block_in_place;

use crate::{
    archive::{
        database::Database,
        side::{COUNTS, KNOWN, NEVER, SOON, Side, Stop, chat, settings},
    },
    harness::{Client, pod, publication},
    users::{over, ready},
};
use roomcast::testing::{
    archive::PageQuery,
    broker::{Broker, BrokerError},
    config::ArchiveSettings,
    model::{IdempotencyKey, Publication},
    pod::Pod,
};

fn known_event(data: &str) -> Publication {
    let key = Some(IdempotencyKey::of_client("once".into()));
    Publication { user: Some("ann".into()), idempotency_key: key, ..publication("said", data) }
}

/// The next event that a member hears.
async fn heard(client: &mut Client) -> (u64, String) {
    loop {
        let message = client.json().await;
        if let Some(event) = message["events"].as_array().and_then(|events| events.first()) {
            assert_eq!(message["events"].as_array().unwrap().len(), 1, "{message}");
            return (event["offset"].as_u64().unwrap(), event["data"].to_string());
        }
    }
}

async fn crash_between_any_two_steps(pod: &Pod) {
    let database = Database::made().await;
    let mut member = Client::connect(pod.addresses().plain[0]).await;
    member.subscribe("chat:1").await;

    // (1) and not (2): no member heard it, and its row says that it is to come.
    Side::start(&settings(&database, NEVER), pod, Stop::BeforePublishing, KNOWN).crash(known_event("1")).await;
    assert_eq!(database.sql(COUNTS), "1|0");
    let other = Side::start(&settings(&database, NEVER), pod, Stop::Never, KNOWN);
    assert_eq!(other.broker.publish(&chat(), publication("said", "2")).await.unwrap().offset, 1);
    assert_eq!(heard(&mut member).await, (1, "2".to_owned()));
    // It may be before or behind: as it is not published, nothing that can be read waits for it.
    assert_eq!(other.offsets().await, [1]);

    // (2) and not (3): members heard it. What follows is not read before its position is known.
    Side::start(&settings(&database, NEVER), pod, Stop::AfterPublishing, KNOWN).crash(publication("said", "3")).await;
    assert_eq!(heard(&mut member).await, (2, "3".to_owned()));
    assert_eq!(other.broker.publish(&chat(), publication("said", "4")).await.unwrap().offset, 3);
    assert_eq!(heard(&mut member).await, (3, "4".to_owned()));
    assert_eq!(database.sql(COUNTS), "2|2");
    assert_eq!(other.offsets().await, [1], "3 is there, and 2 may still come");
    drop(other);

    // Two pods look after both at once.
    let [a, b] = [(); 2].map(|()| Side::start(&settings(&database, SOON), pod, Stop::Never, KNOWN));
    database.until(COUNTS, "0|4").await;
    assert_eq!(heard(&mut member).await, (4, "1".to_owned()), "published once, now");
    let all = r#"SELECT "offset", convert_from(data, 'UTF8'), author FROM roomcast_messages ORDER BY 1"#;
    assert_eq!(database.sql(all), "1|2|\n2|3|\n3|4|\n4|1|ann");
    assert_eq!((a.offsets().await, b.offsets().await), (vec![1, 2, 3, 4], vec![1, 2, 3, 4]));

    // (3) and not (4): the publisher asks again under its key, and gets the same position.
    let again = a.broker.publish(&chat(), known_event("1")).await.unwrap();
    assert_eq!(again.offset, 4);
    // Another event under the key is refused, and leaves nothing.
    assert_eq!(b.broker.publish(&chat(), known_event("9")).await, Err(BrokerError::Conflict));
    database.until(COUNTS, "0|4").await;
    drop(a);

    // Nothing else was ever published.
    b.broker.publish(&chat(), publication("said", "5")).await.unwrap();
    assert_eq!(heard(&mut member).await, (5, "5".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_any_two_steps_is_repaired() {
    let pod = pod(|_| {});
    crash_between_any_two_steps(&pod).await;
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_any_two_steps_is_repaired_over_redis() {
    let server = block_in_place(Standalone::start);
    let pod = pod(|settings| over(&server, settings));
    ready(&pod).await;
    crash_between_any_two_steps(&pod).await;
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_the_first_event_of_a_room_is_read_when_that_is_settled() {
    let database = Database::made().await;
    let pod = pod(|_| {});
    Side::start(&settings(&database, NEVER), &pod, Stop::AfterPublishing, KNOWN).crash(publication("said", "1")).await;
    // This one finds a log that has an event, and an archive that has none of its room.
    let other = Side::start(&settings(&database, NEVER), &pod, Stop::Never, KNOWN);
    assert_eq!(other.broker.publish(&chat(), publication("said", "2")).await.unwrap().offset, 2);
    assert_eq!(database.sql(COUNTS), "1|1");
    assert_eq!(database.sql("SELECT generation, first FROM roomcast_generations"), "1|1", "the first event is its own");
    assert!(other.offsets().await.is_empty(), "2 is there, and 1 may still come");
    drop(other);
    let side = Side::start(&settings(&database, SOON), &pod, Stop::Never, KNOWN);
    database.until(COUNTS, "0|2").await;
    assert_eq!(side.offsets().await, [1, 2]);
    drop(side);
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_loses_the_database_confirms_what_it_published_when_that_is_back() {
    let database = Database::of_its_own().await;
    let pod = pod(|_| {});
    let first = Side::start(&settings(&database, NEVER), &pod, Stop::Never, KNOWN);
    first.broker.publish(&chat(), publication("said", "1")).await.unwrap();
    drop(first);
    // It has not asked for the room's lives yet, and cannot ask now. No repair comes.
    let mut side = Side::start(&settings(&database, NEVER), &pod, Stop::AWhile, KNOWN);
    let published = side.publish_in_an_outage(&database, publication("said", "2")).await;
    assert_eq!(published, Err(BrokerError::Unknown));
    database.until(COUNTS, "0|2").await;
    assert_eq!(side.offsets().await, [1, 2]);
    drop(side);
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_whose_life_the_archive_does_not_have_yet_is_confirmed_too() {
    let database = Database::of_its_own().await;
    let pod = pod(|_| {});
    // The first event of its room, in the outage; and no repair comes.
    let mut side = Side::start(&settings(&database, NEVER), &pod, Stop::AWhile, KNOWN);
    let published = side.publish_in_an_outage(&database, publication("said", "1")).await;
    assert_eq!(published, Err(BrokerError::Unknown));
    database.until(COUNTS, "0|1").await;
    assert_eq!(side.offsets().await, [1]);
    drop(side);
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_is_slower_than_the_repair_is_not_told_that_nothing_was_published() {
    let database = Database::made().await;
    let pod = pod(|_| {});
    let mut slow = Side::start(&settings(&database, NEVER), &pod, Stop::Refusing, KNOWN);
    let broker = Arc::clone(&slow.broker);
    let publishing = tokio::spawn(async move { broker.publish(&chat(), publication("said", "1")).await });
    (&mut slow.reached).await.unwrap();
    let repairing = Side::start(&settings(&database, SOON), &pod, Stop::Never, KNOWN);
    database.until(COUNTS, "0|1").await;
    slow.go_on.notify_one();
    assert_eq!(publishing.await.unwrap(), Err(BrokerError::Unknown));
    drop((slow, repairing));
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_erases_a_row_waits_for_a_pod_that_publishes_it() {
    let database = Database::made().await;
    let pod = pod(|_| {});
    Side::start(&settings(&database, NEVER), &pod, Stop::BeforePublishing, KNOWN).crash(publication("said", "1")).await;
    let mut repairing = Side::start(&settings(&database, SOON), &pod, Stop::AWhile, KNOWN);
    (&mut repairing.reached).await.unwrap();
    // As erasing a room, or a user, begins.
    let erasing = {
        let (server, name) = (Arc::clone(&database.server), database.name.clone());
        tokio::task::spawn_blocking(move || server.sql(&name, "DELETE FROM roomcast_pending"))
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!erasing.is_finished(), "the event is in the log, or will be, before its row is gone");
    repairing.go_on.notify_one();
    erasing.await.unwrap();
    database.until("SELECT count(*) FROM roomcast_pending", "0").await;
    drop(repairing);
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_is_told_that_nothing_was_published_when_nothing_will_be() {
    let database = Database::of_its_own().await;
    let pod = pod(|_| {});
    let refusing = ArchiveSettings { timeout: Duration::from_millis(700), ..settings(&database, NEVER) };
    let side = Side::start(&refusing, &pod, Stop::Refusing, KNOWN);
    side.go_on.notify_one();
    let published = side.broker.publish(&chat(), publication("said", "1")).await;
    assert_eq!(published, Err(BrokerError::Unavailable("full".to_owned())));
    assert_eq!(database.sql(COUNTS), "0|0", "before the answer, not after it");
    drop(side);
    // Where the row cannot be taken back the repair may publish it yet.
    let mut side = Side::start(&refusing, &pod, Stop::Refusing, KNOWN);
    let published = side.publish_in_an_outage(&database, publication("said", "2")).await;
    assert_eq!(published, Err(BrokerError::Unknown));
    database.until(COUNTS, "0|0").await;
    drop(side);
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_cannot_be_settled_holds_up_no_other() {
    let database = Database::made().await;
    let pod = pod(|_| {});
    Side::start(&settings(&database, NEVER), &pod, Stop::BeforePublishing, KNOWN).crash(publication("said", "1")).await;
    database.sql("UPDATE roomcast_pending SET room = 'chat:0'");
    database.sql("ALTER TABLE roomcast_generations ADD CHECK (room <> 'chat:0')");
    Side::start(&settings(&database, NEVER), &pod, Stop::BeforePublishing, KNOWN).crash(publication("said", "2")).await;
    // The older one is first in every round, and fails.
    let side = Side::start(&settings(&database, SOON), &pod, Stop::Never, KNOWN);
    database.until("SELECT string_agg(room, ' ') FROM roomcast_pending", "chat:0").await;
    assert_eq!(side.offsets().await, [1]);
    drop(side);
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_old_is_unknown_and_never_published() {
    let database = Database::made().await;
    let pod = pod(|_| {});
    let mut member = Client::connect(pod.addresses().plain[0]).await;
    member.subscribe("chat:1").await;
    Side::start(&settings(&database, NEVER), &pod, Stop::BeforePublishing, KNOWN).crash(known_event("1")).await;
    database.sql("UPDATE roomcast_pending SET created = created - interval '150 s'");
    let side = Side::start(&settings(&database, SOON), &pod, Stop::Never, KNOWN);
    database.until("SELECT is_unknown FROM roomcast_pending", "t").await;
    // It holds nothing up.
    side.broker.publish(&chat(), publication("said", "2")).await.unwrap();
    assert_eq!(heard(&mut member).await, (1, "2".to_owned()));
    assert_eq!(side.offsets().await, [1]);
    drop(side);
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_a_log_that_is_gone_is_unknown() {
    let database = Database::made().await;
    let first = pod(|_| {});
    let side = Side::start(&settings(&database, NEVER), &first, Stop::Never, KNOWN);
    side.broker.publish(&chat(), publication("said", "1")).await.unwrap();
    drop(side);
    Side::start(&settings(&database, NEVER), &first, Stop::AfterPublishing, KNOWN)
        .crash(publication("said", "2"))
        .await;
    block_in_place(|| first.stop());
    // Another process has another log, and cannot know what that one published.
    let second = pod(|_| {});
    let side = Side::start(&settings(&database, SOON), &second, Stop::Never, KNOWN);
    database.until("SELECT is_unknown FROM roomcast_pending", "t").await;
    side.broker.publish(&chat(), publication("said", "3")).await.unwrap();
    let lives = r#"SELECT generation, "offset", convert_from(data, 'UTF8') FROM roomcast_messages ORDER BY 1, 2"#;
    assert_eq!(database.sql(lives), "1|1|1\n2|1|3");
    let query = PageQuery { before: None, after: None, limit: 100, user: None };
    let page = side.archive.page(&chat(), &query).await.unwrap();
    assert_eq!(page.messages.len(), 2);
    assert!(json!(page.missing.len()) == 0, "what a log that is gone had is not missing: {:?}", page.missing);
    drop(side);
    block_in_place(|| second.stop());
}
