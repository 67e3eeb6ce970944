//! Pages of large messages, and texts that PostgreSQL has no place for.

use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::{
    archive::{
        database::{Database, archived},
        messages, offsets, publish,
    },
    harness::pod,
    users::{known, ready},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_large_messages_has_fewer_of_them() {
    let database = Database::made().await;
    let pod = pod(|settings| {
        known(settings);
        archived(&database, settings);
    });
    ready(&pod).await;
    for n in 0..50 {
        let data = format!("{n} {}", "x".repeat(50_000));
        assert_eq!(publish(&pod, &json!({"room": "chat:1", "topic": "said", "data": data})).await.0, 200);
    }
    let wanted: Vec<u64> = (1..=50).collect();
    let (mut read, mut pages, mut at) = (Vec::new(), 0, String::new());
    loop {
        let (status, page) = messages(&pod, "ann", &format!("room=chat:1&limit=200{at}")).await;
        let size = page.to_string().len();
        assert!(status == 200 && size < 1_200_000, "{status}, {size} bytes");
        read = [offsets(&page), read].concat();
        pages += 1;
        match page["before"].as_str() {
            Some(before) => at = format!("&before={before}"),
            None => break,
        }
    }
    assert_eq!((read, pages), (wanted.clone(), 3));
    // And on from the first one.
    let (mut read, mut at) = (vec![1], "1-1".to_owned());
    while read.len() < 50 {
        let (_, page) = messages(&pod, "ann", &format!("room=chat:1&limit=200&after={at}")).await;
        read.extend(offsets(&page));
        at = page["after"].as_str().unwrap().to_owned();
    }
    assert_eq!(read, wanted);
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_may_hold_any_character() {
    let database = Database::made().await;
    let pod = pod(|settings| {
        known(settings);
        archived(&database, settings);
    });
    ready(&pod).await;
    let odd = "a\0b\u{1}c";
    let event = json!({"room": "chat:1", "topic": "said", "key": odd, "id": odd, "idempotency_key": odd, "data": odd});
    let (status, said) = publish(&pod, &event).await;
    assert_eq!(status, 200, "{said}");
    assert_eq!(publish(&pod, &event).await.1["offset"], said["offset"], "a retry is the same event");
    let (_, page) = messages(&pod, "ann", "room=chat:1").await;
    let message: &Value = &page["messages"][0];
    assert_eq!((&message["key"], &message["id"], &message["data"]), (&json!(odd), &json!(odd), &json!(odd)));
    block_in_place(|| pod.stop());
}
