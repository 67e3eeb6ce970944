//! The API over real HTTP: every call with good and bad input.

mod connections;
mod http;
mod refusals;

use std::time::Duration;

use crate::harness::{Client, SOON, pod};
use roomcast::testing::{
    auth::SigningKey,
    config::{ApiKey, HmacSecret, RoomPattern, Rule, Settings},
    model::{Access, Policy, PresenceMode},
    pod::Pod,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

const KEY: &str = "test-key";

/// A connection to the internal listener.
struct Caller {
    stream: TcpStream,
    received: Vec<u8>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }
}

impl Caller {
    async fn new(pod: &Pod) -> Self {
        let stream = TcpStream::connect(pod.addresses().internal[0]).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, received: Vec::new() }
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// One more read; `false`: the connection has ended.
    async fn more(&mut self) -> bool {
        let mut chunk = vec![0; 65_536];
        let n = timeout(SOON, self.stream.read(&mut chunk)).await.expect("something in time").unwrap_or(0);
        self.received.extend_from_slice(&chunk[..n]);
        n > 0
    }

    async fn answer(&mut self, has_body: bool) -> Answer {
        let end = loop {
            if let Some(at) = self.received.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.more().await, "the connection ended without an answer");
        };
        let head = String::from_utf8(self.received[..end].to_vec()).unwrap().to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
        let length: usize = if has_body { length.expect("a length").parse().unwrap() } else { 0 };
        while self.received.len() < end + length {
            assert!(self.more().await, "the connection ended within an answer");
        }
        let body = &self.received[end..end + length];
        let body = serde_json::from_slice(body).unwrap_or_else(|_| json!(String::from_utf8_lossy(body)));
        self.received.drain(..end + length);
        Answer { status: head[9..12].parse().unwrap(), head, body }
    }

    async fn request(&mut self, method: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
        let length = if method == "POST" { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
        self.write(format!("{method} {target} HTTP/1.1\r\nHost: pod\r\n{headers}{length}\r\n").as_bytes()).await;
        if method == "POST" {
            self.write(body).await;
        }
        self.answer(method != "HEAD").await
    }

    async fn call(&mut self, method: &str, target: &str, body: &[u8]) -> Answer {
        self.request(method, target, &format!("Authorization: Bearer {KEY}\r\n"), body).await
    }

    async fn get(&mut self, target: &str) -> Answer {
        self.call("GET", target, b"").await
    }

    async fn post(&mut self, target: &str, body: Value) -> Answer {
        self.call("POST", target, body.to_string().as_bytes()).await
    }
}

/// A pod whose `news:` rooms have presence, and whose `brief:` rooms have neither presence nor history.
fn newsroom(change: impl FnOnce(&mut Settings)) -> Pod {
    let rule = |pattern: &str, policy| Rule { patterns: vec![RoomPattern::parse(pattern).unwrap()], policy };
    pod(|settings| {
        settings.policies = vec![
            rule("news:*", Policy { presence: PresenceMode::List, ..Policy::default() }),
            rule("brief:*", Policy { history_size: 0, ..Policy::default() }),
            rule("small:*", Policy { history_bytes: 1_024, ..Policy::default() }),
            rule("closed:*", Policy { join: Access::Nobody, ..Policy::default() }),
        ];
        change(settings);
    })
}

/// A client in `rooms`, and its id.
async fn member(pod: &Pod, rooms: &[&str]) -> (Client, String) {
    let mut client = Client::raw(pod.addresses().plain[0], None).await;
    let id = client.json().await["connection"].as_str().unwrap().to_owned();
    for room in rooms {
        client.subscribe(room).await;
    }
    (client, id)
}

fn event(room: &str) -> Value {
    json!({"room": room, "topic": "t", "data": {"n": 1}})
}

#[tokio::test]
async fn events_are_published_and_read_again() {
    let pod = newsroom(|_| {});
    let (mut client, _) = member(&pod, &["news:a/é"]).await;
    let mut caller = Caller::new(&pod).await;
    let body =
        json!({"room": "news:a/é", "topic": "t", "data": {"n": 1}, "key": "k", "id": "i", "idempotency_key": "x"});
    let first = caller.post("/api/publish", body.clone()).await;
    assert_eq!((first.status, &first.body["offset"]), (200, &json!(1)), "{first:?}");
    assert_eq!(caller.post("/api/publish", body.clone()).await.body, first.body, "the same key is the same event");
    let mut other = body;
    other["data"] = json!({"n": 2});
    let refused = caller.post("/api/publish", other.clone()).await;
    assert_eq!((refused.status, refused.code()), (409, "conflict"), "{refused:?}");
    let each = caller.post("/api/broadcast", json!({"publications": [other]})).await;
    assert_eq!((each.status, &each.body["results"][0]["error"]["code"]), (200, &json!("conflict")), "{each:?}");
    assert_eq!(client.json().await["events"][0]["data"], json!({"n": 1}));

    let results = caller
        .post(
            "/api/broadcast",
            json!({"publications": [
                {"rooms": ["news:a/é", "news:b"], "topic": "many", "data": null},
                {"room": "news:b", "topic": "bytes", "data64": "AAEC"},
            ]}),
        )
        .await;
    let offsets: Vec<_> = results.body["results"].as_array().unwrap().iter().map(|r| r["offset"].as_u64()).collect();
    assert_eq!((results.status, offsets), (200, vec![Some(2), Some(1), Some(2)]), "{results:?}");
    assert_eq!(client.json().await["events"][0]["topic"], "many");
    assert_eq!(caller.post("/api/broadcast", json!({"publications": []})).await.body, json!({"results": []}));

    // One bad entry, and nothing is published.
    let bad = json!({"publications": [event("news:b"), {"room": "news:b", "topic": "t"}]});
    let refused = caller.post("/api/broadcast", bad).await;
    assert_eq!((refused.status, refused.code()), (400, "bad_request"));
    assert!(refused.message().starts_with("publications[1]: `data` is missing"), "{refused:?}");
    let many: Vec<_> = (0..1_001).map(|_| event("news:b")).collect();
    let refused = caller.post("/api/broadcast", json!({ "publications": many })).await;
    assert_eq!((refused.status, refused.code()), (413, "limit_exceeded"), "{refused:?}");

    // What only the broker finds out is told of each event by itself.
    let large = json!({"rooms": ["small:1", "brief:1"], "topic": "t", "data": "x".repeat(1_024)});
    let mixed = caller.post("/api/broadcast", json!({"publications": [large]})).await;
    let results = &mixed.body["results"];
    assert_eq!((mixed.status, &results[0]["error"]["code"]), (200, &json!("limit_exceeded")), "{mixed:?}");
    assert_eq!(results[1]["offset"], 1, "{mixed:?}");
    let large = json!({"room": "small:1", "topic": "t", "data": "x".repeat(1_024)});
    let refused = caller.post("/api/publish", large).await;
    assert_eq!((refused.status, refused.code()), (413, "limit_exceeded"), "{refused:?}");

    let room = "/api/rooms/news:a%2F%C3%A9";
    let history = caller.get(&format!("{room}/history")).await;
    assert_eq!((history.status, &history.body["room"]), (200, &json!("news:a/é")));
    let event = &history.body["events"][0];
    assert_eq!(
        (&event["offset"], &event["key"], &event["id"], &event["data"]),
        (&json!(1), &json!("k"), &json!("i"), &json!({"n": 1}))
    );
    let epoch = history.body["epoch"].as_str().unwrap();
    let bytes = caller.get("/api/rooms/news:b/history").await;
    assert_eq!((&bytes.body["events"][1]["data64"], &bytes.body["end"]), (&json!("AAEC"), &json!(2)), "{bytes:?}");
    for (query, offsets, complete) in [
        (String::new(), &[1, 2][..], true),
        ("?limit=1".into(), &[2], false),
        ("?limit=0".into(), &[], false),
        (format!("?epoch={epoch}&offset=1"), &[2], true),
        (format!("?epoch={epoch}"), &[1, 2], true),
        ("?offset=1".into(), &[2], true),
        ("?epoch=other&offset=1".into(), &[1, 2], false),
    ] {
        let history = caller.get(&format!("{room}/history{query}")).await;
        let found: Vec<_> =
            history.body["events"].as_array().unwrap().iter().map(|e| e["offset"].as_u64().unwrap()).collect();
        assert_eq!((&found[..], history.body["complete"].as_bool()), (offsets, Some(complete)), "{query}: {history:?}");
    }
    let unknown = caller.get("/api/rooms/news:unknown/history").await;
    assert_eq!((unknown.status, &unknown.body["events"], &unknown.body["end"]), (200, &json!([]), &json!(0)));

    let metrics = caller.get("/metrics").await;
    let counted = metrics.body.as_str().unwrap().contains("roomcast_events_in_total{source=\"api\"} 6");
    assert!(counted, "repeated ones are answered, refused ones are not counted: {metrics:?}");
    pod.stop();
}

#[tokio::test]
async fn rooms_are_listed_in_pages() {
    let pod = newsroom(|_| {});
    let mut clients = Vec::new();
    for rooms in [&["news:1", "news:2"][..], &["news:2", "a"], &["news:2", "news:3"], &["z"]] {
        clients.push(member(&pod, rooms).await);
    }
    let mut caller = Caller::new(&pod).await;
    let all = caller.get("/api/rooms").await;
    let room = |room: &str, members: usize| json!({"room": room, "members": members});
    let expected =
        json!({"rooms": [room("a", 1), room("news:1", 1), room("news:2", 3), room("news:3", 1), room("z", 1)]});
    assert_eq!((all.status, &all.body), (200, &expected));
    let (mut pages, mut after) = (Vec::new(), String::new());
    loop {
        let page = caller.get(&format!("/api/rooms?prefix=news:&limit=2{after}")).await;
        pages.push(page.body["rooms"].as_array().unwrap().len());
        let Some(next) = page.body["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(pages, [2, 1]);
    assert_eq!(caller.get("/api/rooms?prefix=none").await.body, json!({"rooms": []}));

    let detail = caller.get("/api/rooms/news:2").await.body;
    assert_eq!((&detail["members"], &detail["position"]["offset"]), (&json!(3), &json!(0)));
    assert_eq!((&detail["policy"]["presence"], &detail["policy"]["publish"]), (&json!("list"), &json!("nobody")));
    let unknown = caller.get("/api/rooms/unknown").await;
    assert_eq!((unknown.status, &unknown.body["members"]), (200, &json!(0)));

    // Joins reach the broker a moment later.
    let deadline = Instant::now() + SOON;
    let presence = loop {
        let presence = caller.get("/api/rooms/news:2/presence?limit=2").await.body;
        if presence["total"] == 3 || Instant::now() > deadline {
            break presence;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((&presence["total"], presence["members"].as_array().unwrap().len()), (&json!(3), 2), "{presence}");
    let ids: Vec<_> = clients.iter().map(|(_, id)| json!(id)).collect();
    assert!(presence["members"].as_array().unwrap().iter().all(|m| ids.contains(&m["connection"])), "{presence}");
    assert_eq!(caller.get("/api/rooms/news:none/presence").await.body["total"], 0);

    let stats = caller.get("/api/stats").await.body;
    assert_eq!(
        (&stats["scope"], &stats["connections"], &stats["readiness"]),
        (&json!("pod"), &json!(4), &json!("ready"))
    );
    assert_eq!(stats["workers"].as_array().unwrap().len(), 2);
    let fleet = caller.get("/api/stats?scope=fleet").await.body;
    assert_eq!((&fleet["scope"], &fleet["connections"], &fleet["silent"]), (&json!("fleet"), &json!(4), &json!([])));
    assert_eq!((&fleet["pods"][0]["pod"], &fleet["pods"][0]["connections"]), (&stats["pod"], &json!(4)), "{fleet}");
    assert_eq!(caller.get("/api/stats?scope=all").await.status, 400);
    pod.stop();
}
