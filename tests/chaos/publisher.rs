//! Publishers: each event has a name of its own, and is sent until it is acknowledged.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, header};
use roomcast::testing::transport::fetch::{Client, Limits};
use serde_json::{Value, json};

use testkit::checker::Acknowledged;

use super::fleet::{Addresses, KEY};

/// A page of a log is a MiB of data, and what surrounds them.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(6), max_bytes: 4 * 1024 * 1024 };

/// What all publishers of a run share.
pub struct Plan {
    pub pods: Vec<Addresses>,
    pub rooms: Vec<String>,
    /// Bytes of each event beside what it needs.
    pub padding: usize,
    /// Set when no new event shall be sent.
    pub over: AtomicBool,
    /// Answers that were no success.
    pub refused: AtomicUsize,
}

/// Publishes one event after the other until the run is over; every event that was begun is acknowledged, or given up
/// after `patience`. Returns what was acknowledged, and how many were given up.
pub async fn publish(plan: Arc<Plan>, me: usize, pause: Duration, patience: Duration) -> (Vec<Acknowledged>, usize) {
    let client = Client::new(None).unwrap();
    let (mut acknowledged, mut given_up) = (Vec::new(), 0);
    let mut n = 0_usize;
    let padding = "x".repeat(plan.padding);
    while !plan.over.load(Relaxed) {
        n += 1;
        // Every publisher visits every room, each in an order of its own.
        let room = &plan.rooms[(me * 7919 + n * 31) % plan.rooms.len()];
        let id = format!("p{me}-{n}");
        let began = Instant::now();
        let mut attempt = me + n;
        loop {
            let pod = plan.pods[attempt % plan.pods.len()];
            match send(&client, pod, room, &id, &padding).await {
                Some((epoch, offset)) => {
                    acknowledged.push(Acknowledged { room: room.clone(), id, epoch, offset });
                    break;
                }
                None if began.elapsed() > patience => {
                    given_up += 1;
                    break;
                }
                None => {
                    plan.refused.fetch_add(1, Relaxed);
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        tokio::time::sleep(pause).await;
    }
    (acknowledged, given_up)
}

async fn send(client: &Client, pod: Addresses, room: &str, id: &str, padding: &str) -> Option<(String, u64)> {
    let body = json!({ "room": room, "topic": "t", "id": id, "idempotency_key": id, "data": { "id": id, "padding": padding } });
    let answer = call(client, pod, "POST", "/api/publish", body.to_string()).await?;
    Some((answer["epoch"].as_str()?.to_owned(), answer["offset"].as_u64()?))
}

/// A call of a pod's API; `None`: no success.
pub async fn call(client: &Client, pod: Addresses, method: &str, path: &str, body: String) -> Option<Value> {
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", pod.internal))
        .header(header::AUTHORIZATION, format!("Bearer {KEY}"))
        .body(Bytes::from(body))
        .unwrap();
    let answer = client.fetch(request, &LIMITS).await.ok()?;
    if !answer.status().is_success() {
        return None;
    }
    serde_json::from_slice(answer.body()).ok()
}

/// A room's whole log, page by page; `None`: it cannot be read.
pub async fn log(client: &Client, pod: Addresses, room: &str) -> Option<Vec<(u64, String)>> {
    let mut log = Vec::new();
    let (mut epoch, mut after) = (None::<String>, 0);
    loop {
        let mut path = format!("/api/rooms/{}/history?offset={after}&limit=1000", room.replace(':', "%3A"));
        if let Some(epoch) = &epoch {
            path += &format!("&epoch={epoch}");
        }
        let page = call(client, pod, "GET", &path, String::new()).await?;
        let events = page["events"].as_array()?;
        for event in events {
            log.push((event["offset"].as_u64()?, event["id"].as_str()?.to_owned()));
        }
        let offset = page["offset"].as_u64()?;
        if page["complete"] == true || events.is_empty() {
            return Some(log);
        }
        (epoch, after) = (Some(page["epoch"].as_str()?.to_owned()), offset);
    }
}
