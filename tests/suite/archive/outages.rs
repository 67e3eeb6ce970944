//! PostgreSQL that is stopped in the middle, hangs, and comes back; pods that are killed meanwhile.

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use testkit::{
    process::Process,
    redis::{Standalone, Way},
};
use tokio::task::block_in_place;

use crate::{
    archive::{
        TOLD,
        database::{Database, archived},
        messages, offsets, publish,
    },
    harness::{Client, get, pod},
    users::{call, known, ready},
};
use roomcast::testing::config::PostgresUrl;

fn event(n: usize) -> Value {
    json!({"room": "chat:1", "topic": "said", "data": n, "idempotency_key": format!("k{n}")})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_stopped_nothing_is_published_to_archived_rooms() {
    let database = Database::of_its_own().await;
    let pod = pod(|settings| {
        known(settings);
        archived(&database, settings);
        settings.archive.timeout = Duration::from_millis(700);
    });
    ready(&pod).await;
    let mut member = Client::connect(pod.addresses().plain[0]).await;
    member.subscribe("chat:1").await;
    assert_eq!(publish(&pod, &event(1)).await.0, 200);
    block_in_place(|| database.server.kill());
    // Those before it is noticed as well.
    for n in 2..5 {
        let began = Instant::now();
        let (status, refusal) = publish(&pod, &event(n)).await;
        assert!(status == 503 || status == 504, "{status} {refusal}");
        let message = refusal["error"]["message"].as_str().unwrap();
        assert!(status == 504 || message.ends_with(TOLD), "{message}");
        let said = refusal.to_string();
        assert!(!said.contains("127.0.0.1") && !said.contains("postgres"), "nothing of where it is: {said}");
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    let (status, said) = get(&pod, "/ready").await;
    assert_eq!((status, &*said), (200, r#"{"status":"degraded","reason":"archive"}"#));
    let (status, page) = messages(&pod, "ann", "room=chat:1").await;
    assert_eq!((status, &page["error"]["code"]), (503, &json!("unavailable")));
    assert_eq!(page["error"]["message"], TOLD);
    let (_, metrics) = get(&pod, "/metrics").await;
    assert!(metrics.contains("roomcast_degraded{reason=\"archive\"} 1"), "{metrics}");
    block_in_place(|| {
        database.server.restart();
        database.server.wait_ready();
    });
    ready(&pod).await;
    // What was refused is the publisher's to ask for again.
    for n in 2..5 {
        assert_eq!(publish(&pod, &event(n)).await.0, 200);
    }
    let mut heard = Vec::new();
    while heard.len() < 4 {
        let message = member.json().await;
        heard.extend(message["events"].as_array().into_iter().flatten().map(|event| event["data"].clone()));
    }
    assert_eq!(heard, [json!(1), json!(2), json!(3), json!(4)]);
    database.until("SELECT count(*) FROM roomcast_pending", "0").await;
    assert_eq!(offsets(&messages(&pod, "ann", "room=chat:1").await.1), [1, 2, 3, 4]);
    block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_swallows_all_makes_an_outcome_unknown_and_not_wrong() {
    let database = Database::made().await;
    let way = Way::to(database.server.port());
    let pod = pod(|settings| {
        known(settings);
        archived(&database, settings);
        settings.archive.url =
            Some(PostgresUrl::parse(&database.server.url_by(way.address().1, &database.name)).unwrap());
        settings.archive.timeout = Duration::from_millis(500);
        settings.archive.repair_after = Duration::from_secs(2);
    });
    ready(&pod).await;
    assert_eq!(publish(&pod, &event(1)).await.0, 200);
    way.swallow();
    way.close(true);
    let (status, said) = publish(&pod, &event(2)).await;
    assert_eq!((status, &said["error"]["code"]), (504, &json!("unknown")), "{said}");
    way.close(false);
    let began = Instant::now();
    while publish(&pod, &event(2)).await.0 != 200 {
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    database.until("SELECT count(*) FROM roomcast_pending", "0").await;
    let all = r#"SELECT "offset", convert_from(data, 'UTF8') FROM roomcast_messages ORDER BY 1"#;
    assert_eq!(database.sql(all), "1|1\n2|2");
    block_in_place(|| pod.stop());
}

/// A pod as a program, over Redis and PostgreSQL.
fn program(server: &Standalone, database: &Database) -> Process {
    let (host, port) = server.address();
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command
        .args(["serve", "--dev", "--listen", "127.0.0.1:0", "--plain-listen", "127.0.0.1:0"])
        .args(["--internal-listen", "127.0.0.1:0", "--workers", "1", "--api-key", "test-key"])
        .args(["--redis", &format!("redis://{host}:{port}")])
        .args(["--archive-url", &database.server.url(&database.name), "--archive-repair-after", "1s"])
        .args(["--default-policy-archive", "postgres"]);
    Process::start(command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_pods_that_are_killed_while_they_publish_nothing_is_lost_or_twice() {
    let server = block_in_place(Standalone::start);
    let database = Database::made().await;
    let mut pods = [(); 2].map(|()| block_in_place(|| program(&server, &database)));
    let head = "POST /api/publish HTTP/1.1\r\nAuthorization: Bearer test-key";
    let mut answered = BTreeMap::new();
    let began = Instant::now();
    for n in 0..400_usize {
        if n % 40 == 20 {
            let at = (n / 40) % 2;
            block_in_place(|| pods[at].kill());
            pods[at] = block_in_place(|| program(&server, &database));
        }
        // A publisher asks until it is answered, at whichever pod, under one key. Some have a pod killed beside them.
        let body =
            json!({"room": format!("chat:{}", n % 3), "topic": "said", "data": n, "idempotency_key": format!("k{n}")});
        let mut tries = 0;
        loop {
            assert!(began.elapsed() < Duration::from_secs(100), "event {n} is not answered");
            tries += 1;
            let address = pods[(n + tries) % 2].address("internal");
            let body = body.to_string();
            let asked = tokio::spawn(async move { call(address, head, &body).await });
            if n % 40 == 19 && tries == 1 {
                tokio::time::sleep(Duration::from_micros(500 * (n as u64 / 40))).await;
                block_in_place(|| pods[(n + tries) % 2].kill());
                let _ = asked.await;
                pods[(n + tries) % 2] = block_in_place(|| program(&server, &database));
                continue;
            }
            if let Ok((200, answer)) = asked.await {
                let answer: Value = serde_json::from_str(&answer).unwrap();
                answered.insert(n, answer["offset"].as_u64().unwrap());
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    database.until("SELECT count(*) FROM roomcast_pending", "0").await;
    let rows = database.sql(r#"SELECT convert_from(data, 'UTF8'), "offset" FROM roomcast_messages ORDER BY data"#);
    let mut kept = BTreeMap::<usize, Vec<u64>>::new();
    for row in rows.lines() {
        let (n, offset) = row.split_once('|').unwrap();
        kept.entry(n.parse().unwrap()).or_default().push(offset.parse().unwrap());
    }
    let twice: Vec<_> = kept.iter().filter(|(_, offsets)| offsets.len() > 1).collect();
    let lost: Vec<_> = answered.keys().filter(|n| !kept.contains_key(n)).collect();
    assert!(twice.is_empty() && lost.is_empty() && kept.len() == 400, "twice {twice:?}, lost {lost:?}");
    let address = pods[0].address("plain");
    for room in 0..3 {
        let mut query = String::new();
        let mut read = Vec::new();
        loop {
            let head = format!("GET /messages?room=chat:{room}&limit=50{query} HTTP/1.1");
            let (status, page) = call(address, &head, "").await;
            let page: Value = serde_json::from_str(&page).unwrap();
            assert_eq!((status, &page["missing"]), (200, &json!([])), "{page}");
            let mut of_page: Vec<Value> = page["messages"].as_array().unwrap().clone();
            of_page.extend(read);
            read = of_page;
            match page["before"].as_str() {
                Some(before) => query = format!("&before={before}"),
                None => break,
            }
        }
        let data: Vec<u64> = read.iter().map(|message| message["data"].as_u64().unwrap()).collect();
        let expected: Vec<u64> = (0..400).filter(|n| n % 3 == room).collect();
        assert_eq!(data, expected, "in the order in which they were published");
    }
}
