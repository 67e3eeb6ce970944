//! A disk of PostgreSQL that is full.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use testkit::postgres::Postgres;
use tokio::task::block_in_place;

use crate::{
    archive::{
        TOLD,
        database::{Database, archived},
        messages, offsets, publish,
    },
    harness::{Client, pod},
    users::{known, ready},
};

/// An event that no compression makes small.
fn event(n: u64) -> Value {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("{state:016x}")
    };
    let data: String = (0..3_000).map(|_| draw()).collect();
    json!({"room": "chat:1", "topic": "said", "data": data, "idempotency_key": format!("k{n}")})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_its_disk_is_full_events_are_refused_and_none_is_lost_or_twice() {
    let Some(server) = block_in_place(|| Postgres::start_with_space(24 << 20)) else {
        eprintln!("SKIPPED: only root may make the small file system that fills up");
        return;
    };
    let database = Database::made_in_its_space(Arc::new(server)).await;
    let pod = pod(|settings| {
        known(settings);
        archived(&database, settings);
        settings.archive.timeout = Duration::from_secs(1);
    });
    ready(&pod).await;
    let mut member = Client::connect(pod.addresses().plain[0]).await;
    member.subscribe("chat:1").await;
    assert_eq!(publish(&pod, &event(1)).await.0, 200);
    database.sql("CREATE TABLE filler (text text)");
    let fill = "INSERT INTO filler SELECT repeat(md5(n::text), 40) FROM generate_series(1, 4000) n";
    while block_in_place(|| database.server.try_sql(&database.name, fill)).is_ok() {}
    let mut answers = Vec::new();
    for n in 2..6 {
        let (status, refusal) = publish(&pod, &event(n)).await;
        assert!(status == 503 || status == 504, "{status} {refusal}");
        answers.push((status, refusal));
    }
    let (_, refusal) =
        answers.iter().find(|(status, _)| *status == 503).expect("nothing is published that has no place");
    assert!(refusal["error"]["message"].as_str().unwrap().ends_with(TOLD), "{refusal}");
    // What is there is read.
    let (status, page) = messages(&pod, "ann", "room=chat:1").await;
    assert_eq!((status, offsets(&page)), (200, vec![1]));
    database.sql("DROP TABLE filler");
    let began = Instant::now();
    for n in 2..6 {
        while publish(&pod, &event(n)).await.0 != 200 {
            assert!(began.elapsed() < Duration::from_secs(20), "there is place again");
        }
    }
    database.until("SELECT count(*) FROM roomcast_pending", "0").await;
    let (_, page) = messages(&pod, "ann", "room=chat:1").await;
    assert_eq!(offsets(&page), [1, 2, 3, 4, 5]);
    let mut heard = Vec::new();
    while heard.len() < 5 {
        let message = member.json().await;
        heard.extend(message["events"].as_array().into_iter().flatten().map(|event| event["offset"].clone()));
    }
    assert_eq!(heard, [json!(1), json!(2), json!(3), json!(4), json!(5)]);
    block_in_place(|| pod.stop());
}
