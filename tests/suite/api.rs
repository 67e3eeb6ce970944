//! The API over real HTTP: every call with good and bad input.

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
async fn every_call_refuses_what_is_wrong_with_it() {
    let pod = newsroom(|settings| settings.limits.api_body = 2048);
    let (_client, id) = member(&pod, &["news:1"]).await;
    let mut caller = Caller::new(&pod).await;
    let connection = |rest: &str| format!("/api/connections/{id}{rest}");
    let gets = [
        "/api/rooms",
        "/api/rooms/news:1",
        "/api/rooms/news:1/history",
        "/api/rooms/news:1/presence",
        "/api/connections",
        &connection(""),
        "/api/users/ann",
        "/api/stats",
    ];
    let posts = [
        "/api/publish",
        "/api/broadcast",
        &connection("/disconnect"),
        &connection("/subscribe"),
        &connection("/unsubscribe"),
        &connection("/refresh"),
        "/api/users/ann/refresh",
        "/api/users/ann/disconnect",
        "/api/users/ann/subscribe",
        "/api/users/ann/unsubscribe",
    ];
    for (method, targets) in [("GET", &gets[..]), ("POST", &posts[..])] {
        for target in targets {
            for authorization in [
                "",
                "Authorization: Bearer wrong\r\n",
                "Authorization: Bearer \r\n",
                "Authorization: Basic test-key\r\n",
            ] {
                let answer = caller.request(method, target, authorization, b"{}").await;
                assert_eq!((answer.status, answer.code()), (401, "unauthorized"), "{target} {authorization}");
                assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
            }
            let answer = caller.call(method, &format!("{target}?nothing=1"), b"{}").await;
            assert_eq!((answer.status, answer.code()), (400, "bad_request"), "{target}: {answer:?}");
            assert!(answer.message().contains("\"nothing\""), "{answer:?}");
            let (other, allowed) = if method == "GET" { ("POST", "get, head") } else { ("GET", "post") };
            let answer = caller.call(other, target, b"").await;
            assert_eq!((answer.status, answer.code()), (405, "method_not_allowed"), "{target}");
            assert!(answer.head.contains(&format!("allow: {allowed}\r\n")), "{}", answer.head);
            assert_eq!(caller.call("DELETE", target, b"").await.status, 405, "{target}");
        }
    }
    for target in &posts {
        for (body, status, code) in [
            (&b"{"[..], 400, "bad_request"),
            (b"[]", 400, "bad_request"),
            (b"room=a", 400, "bad_request"),
            (br#"{"nothing":1}"#, 400, "bad_request"),
            (b"{\"room\":\"\xff\"}", 400, "bad_request"),
            (&[b' '; 2049], 413, "limit_exceeded"),
        ] {
            let answer = caller.call("POST", target, body).await;
            assert_eq!((answer.status, answer.code()), (status, code), "{target} {}", String::from_utf8_lossy(body));
        }
    }
    for target in gets {
        let answer = caller.get(&target.replace("news:1", "news%2").replace("ann", "%")).await;
        let bad = target.contains("news:1") || target.contains("ann");
        assert_eq!(answer.status, if bad { 400 } else { 200 }, "{target}: {answer:?}");
    }
    for (target, status, code, says) in [
        ("/api/rooms?limit=0", 400, "bad_request", "from 1 to 1000"),
        ("/api/rooms?limit=1001", 400, "bad_request", "from 1 to 1000"),
        ("/api/rooms?limit=many", 400, "bad_request", "whole number"),
        ("/api/rooms?limit=1&limit=1", 400, "bad_request", "given twice"),
        ("/api/rooms?prefix=%f", 400, "bad_request", "`prefix`"),
        ("/api/rooms/a%20b", 400, "bad_room", "white space"),
        ("/api/rooms/a%FF", 400, "bad_request", "UTF-8"),
        ("/api/rooms/a%7Bb%7D/history", 400, "bad_room", "braces"),
        ("/api/rooms/a/history?offset=-1", 400, "bad_request", "`offset`"),
        ("/api/rooms/a/history?offset=9007199254740992", 400, "bad_request", "`offset`"),
        ("/api/rooms/a/history?limit=1001", 400, "bad_request", "from 0 to 1000"),
        ("/api/rooms/brief:1/history", 409, "not_available", "keeps no history"),
        ("/api/rooms/plain:1/presence", 409, "not_available", "switched off"),
        ("/api/rooms/news:1/presence?limit=x", 400, "bad_request", "`limit`"),
        ("/api/connections?after=x", 400, "bad_request", "`after`"),
        ("/api/connections?room=a+b", 400, "bad_room", "white space"),
        ("/api/connections?limit=0", 400, "bad_request", "from 1"),
        ("/api/connections/0000000000000000", 404, "not_found", "no connection"),
        ("/api/connections/nobody", 404, "not_found", "no connection"),
        ("/api/users/ann?after=1", 400, "bad_request", "`after`"),
        ("/api/nothing", 404, "not_found", "/api/nothing"),
        ("/api/rooms/", 404, "not_found", "/api/rooms/"),
        ("/api/rooms/a/b", 404, "not_found", "/api/rooms/a/b"),
        ("/nothing", 404, "not_found", "/nothing"),
    ] {
        let answer = caller.get(target).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{target}: {answer:?}");
        assert!(answer.message().contains(says), "{target}: {answer:?}");
    }
    let bad_room = json!({"room": "a b"});
    for (target, body, status, code) in [
        ("/api/publish", event("a b"), 400, "bad_room"),
        ("/api/publish", json!({"room": "a", "topic": "x".repeat(256), "data": 1}), 413, "limit_exceeded"),
        ("/api/publish", json!({"room": "a", "topic": "t", "key": "x".repeat(256), "data": 1}), 413, "limit_exceeded"),
        ("/api/publish", json!({"room": "a", "topic": "", "data": 1}), 400, "bad_request"),
        ("/api/publish", json!({"rooms": ["a"], "topic": "t", "data": 1}), 400, "bad_request"),
        (&connection("/refresh"), json!({"within_ms": 999}), 400, "bad_request"),
        (&connection("/refresh"), json!({"within_ms": 1500.5}), 400, "bad_request"),
        (&connection("/refresh"), json!({"within": 1500}), 400, "bad_request"),
        ("/api/connections/0000000000000000/refresh", json!({}), 404, "not_found"),
        ("/api/users/ann/refresh", json!({"within_ms": -1}), 400, "bad_request"),
        (&connection("/disconnect"), json!({"code": 1000}), 400, "bad_request"),
        (&connection("/disconnect"), json!({"code": "4003"}), 400, "bad_request"),
        (&connection("/subscribe"), bad_room.clone(), 400, "bad_room"),
        (&connection("/unsubscribe"), bad_room.clone(), 400, "bad_room"),
        ("/api/connections/0000000000000000/disconnect", json!({}), 404, "not_found"),
        ("/api/connections/0000000000000000/subscribe", json!({"room": "a"}), 404, "not_found"),
        ("/api/connections/nobody/unsubscribe", json!({"room": "a"}), 404, "not_found"),
        ("/api/users/ann/subscribe", bad_room.clone(), 400, "bad_room"),
        ("/api/users/ann/unsubscribe", bad_room, 400, "bad_room"),
        ("/api/users/ann/disconnect", json!({"code": 4029}), 400, "bad_request"),
    ] {
        let answer = caller.post(target, body.clone()).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{target} {body}: {answer:?}");
    }
    // Without a key nobody learns what there is; what is open needs none.
    for target in ["/api/nothing", "/api/", "/api/rooms/%"] {
        assert_eq!(caller.request("GET", target, "", b"").await.status, 401, "{target}");
    }
    for target in ["/health", "/accepting", "/ready", "/metrics", "/api/openapi.json"] {
        assert_eq!(caller.request("GET", target, "", b"").await.status, 200, "{target}");
        assert_eq!(caller.request("GET", &format!("{target}?x=1"), "", b"").await.status, 400, "{target}");
        assert_eq!(caller.request("POST", target, "", b"").await.status, 405, "{target}");
    }
    pod.stop();
}

#[tokio::test]
async fn an_empty_key_lets_nobody_in_and_new_keys_count_after_a_reload() {
    let keys = |keys: &[&str]| Some(keys.iter().map(|key| ApiKey::new((*key).to_owned())).collect::<Vec<_>>());
    let pod = pod(|settings| settings.general.api_keys = keys(&["", "first", "second"]));
    let mut caller = Caller::new(&pod).await;
    let mut status = async |key: &str| {
        caller.request("GET", "/api/stats", &format!("Authorization: Bearer {key}\r\n"), b"").await.status
    };
    for (key, expected) in [("first", 200), ("second", 200), ("", 401), ("third", 401), ("first ", 200)] {
        assert_eq!(status(key).await, expected, "{key:?}");
    }
    pod.reload(crate::harness::config(crate::harness::settings(|settings| {
        settings.general.api_keys = keys(&["third"])
    })));
    for (key, expected) in [("first", 401), ("third", 200)] {
        assert_eq!(status(key).await, expected, "{key:?}");
    }
    pod.reload(crate::harness::config(crate::harness::settings(|settings| settings.general.api_keys = keys(&[""]))));
    for key in ["", "third"] {
        assert_eq!(status(key).await, 401, "{key:?}");
    }
    pod.stop();
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
    assert_eq!(caller.post("/api/publish", body).await.body, first.body, "the same key is the same event");
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

/// What a pod alone says to an order.
fn affected(connections: usize) -> serde_json::Value {
    json!({"scope": "fleet", "connections": connections, "pods": 1, "silent": []})
}

#[tokio::test]
async fn connections_are_seen_moved_and_closed() {
    let pod = newsroom(|_| {});
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(member(&pod, &["news:1"]).await);
    }
    clients.sort_by(|(_, a), (_, b)| a.cmp(b));
    let ids: Vec<_> = clients.iter().map(|(_, id)| id.clone()).collect();
    let mut caller = Caller::new(&pod).await;
    let (mut listed, mut after) = (Vec::new(), String::new());
    loop {
        let page = caller.get(&format!("/api/connections?room=news:1&limit=2{after}")).await.body;
        assert_eq!(page["total"], 5);
        listed.extend(page["connections"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(listed, ids);
    assert_eq!(caller.get("/api/connections?room=other").await.body, json!({"connections": [], "total": 0}));
    assert_eq!(caller.get("/api/connections?user=ann").await.body["total"], 0);
    assert_eq!(caller.get("/api/users/ann%2Fb").await.body, json!({"connections": [], "total": 0}));
    for act in ["subscribe", "unsubscribe"] {
        let answer = caller.post(&format!("/api/users/ann/{act}"), json!({"room": "news:1"})).await;
        assert_eq!((answer.status, answer.body), (200, affected(0)));
    }
    let answer = caller.call("POST", "/api/users/ann/disconnect", b"").await;
    assert_eq!((answer.status, answer.body), (200, affected(0)));

    let (client, id) = &mut clients[2];
    let own = format!("/api/connections/{id}");
    let detail = caller.get(&own).await.body;
    assert_eq!((&detail["id"], &detail["transport"], &detail["tls"]), (&json!(id), &json!("websocket"), &json!(false)));
    assert_eq!((&detail["rooms"][0]["room"], &detail["messages_in"]), (&json!("news:1"), &json!(1)), "{detail}");
    assert!(detail["bytes_out"].as_u64() > Some(0) && detail.get("user").is_none(), "{detail}");

    // Into a room that it may not join by itself, and out again.
    let closed = json!({"room": "closed:1"});
    for (act, changed, told) in [
        ("subscribe", 1, "subscribed"),
        ("subscribe", 0, ""),
        ("unsubscribe", 1, "unsubscribed"),
        ("unsubscribe", 0, ""),
    ] {
        let answer = caller.post(&format!("{own}/{act}"), closed.clone()).await;
        assert_eq!((answer.status, &answer.body), (200, &affected(changed)), "{act}");
        if told.is_empty() {
            assert!(client.is_quiet().await, "{act} again tells nothing");
        } else {
            let message = client.json().await;
            assert_eq!((&message["type"], &message["room"]), (&json!(told), &json!("closed:1")), "{message}");
        }
        if told == "subscribed" {
            caller.post("/api/publish", event("closed:1")).await;
            assert_eq!(client.json().await["room"], "closed:1");
        }
    }

    for ((client, id), (body, code)) in
        clients.iter_mut().zip([("", 4003), ("{}", 4003), ("{\"code\":4001}", 4001), ("{\"code\":1012}", 1012)])
    {
        let answer = caller.call("POST", &format!("/api/connections/{id}/disconnect"), body.as_bytes()).await;
        assert_eq!((answer.status, &answer.body), (200, &affected(1)), "{body}");
        assert_eq!(client.closed().await, Some(code), "{body}");
    }
    let left = caller.get("/api/connections").await.body;
    assert_eq!((&left["total"], &left["connections"][0]["id"]), (&json!(1), &json!(ids[4])));
    pod.stop();
}

#[tokio::test]
async fn all_connections_of_a_user_are_one_for_the_backend() {
    const SECRET: &str = "a secret of at least thirty-two bytes";
    let pod = newsroom(|settings| {
        settings.tokens.hmac_secrets = vec![HmacSecret::new(SECRET).unwrap()];
        settings.tokens.leeway = Duration::ZERO;
    });
    let connect = async |user: &str| {
        let claims = json!({"sub": user, "exp": 4_000_000_000_u64});
        let token = SigningKey::secret(&HmacSecret::new(SECRET).unwrap()).token(&claims, None).unwrap();
        let (address, bearer) = (pod.addresses().plain[0], format!("Bearer {token}"));
        let mut client =
            Client::open(address, "/ws", &["roomcast.v1"], &[("Authorization", &bearer)], None).await.unwrap();
        let id = client.json().await["connection"].as_str().unwrap().to_owned();
        (client, id)
    };
    let (mut first, mut second, mut other) = (connect("ann/é").await, connect("ann/é").await, connect("ann").await);
    first.0.subscribe("news:1").await;
    let mut caller = Caller::new(&pod).await;
    let ann = "/api/users/ann%2F%C3%A9";
    let mut ids = [first.1.clone(), second.1.clone()];
    ids.sort();
    let listed = caller.get(ann).await.body;
    assert_eq!((&listed["total"], &listed["connections"][0]["id"]), (&json!(2), &json!(ids[0])), "{listed}");
    assert_eq!(listed["connections"][1]["user"], "ann/é", "{listed}");
    assert_eq!(listed["connections"][1]["expires_at"], json!(4_000_000_000_000_u64), "{listed}");
    let page = caller.get(&format!("{ann}?limit=1")).await.body;
    assert_eq!((&page["total"], &page["next"]), (&json!(2), &json!(ids[0])), "{page}");
    let page = caller.get(&format!("{ann}?limit=1&after={}", ids[0])).await.body;
    assert_eq!((&page["connections"][0]["id"], page.get("next")), (&json!(ids[1]), None), "{page}");
    let filtered = caller.get("/api/connections?user=ann%2F%C3%A9&room=news:1").await.body;
    assert_eq!((&filtered["total"], &filtered["connections"][0]["id"]), (&json!(1), &json!(first.1)), "{filtered}");

    let room = json!({"room": "news:1"});
    for (act, changed) in [("subscribe", 1), ("subscribe", 0), ("unsubscribe", 2), ("unsubscribe", 0)] {
        let answer = caller.post(&format!("{ann}/{act}"), room.clone()).await;
        assert_eq!((answer.status, answer.body), (200, affected(changed)), "{act}");
    }
    assert_eq!(second.0.json().await["type"], "subscribed");
    for client in [&mut first.0, &mut second.0] {
        assert_eq!(client.json().await["type"], "unsubscribed");
    }
    let answer = caller.post(&format!("{ann}/disconnect"), json!({"code": 4001})).await;
    assert_eq!((answer.status, answer.body), (200, affected(2)));
    for client in [&mut first.0, &mut second.0] {
        assert_eq!(client.closed().await, Some(4001));
    }
    assert!(other.0.is_quiet().await, "another user is not meant");
    assert_eq!(caller.get(ann).await.body["total"], 0);
    pod.stop();
}

#[tokio::test]
async fn http_is_spoken_properly() {
    let pod = newsroom(|_| {});
    let mut caller = Caller::new(&pod).await;
    // HEAD has GET's head and no body.
    let get = caller.get("/api/openapi.json").await;
    let head = caller.call("HEAD", "/api/openapi.json", b"").await;
    let length =
        |answer: &Answer| answer.head.lines().find(|line| line.starts_with("content-length")).unwrap().to_owned();
    assert_eq!((head.status, length(&head)), (200, length(&get)));
    assert_eq!(get.body["openapi"], "3.1.0");
    assert_eq!(caller.call("HEAD", "/api/publish", b"").await.status, 405);
    // Chunked bodies, and any content type.
    let body = event("news:1").to_string();
    let chunked = format!(
        "POST /api/publish HTTP/1.1\r\nHost: pod\r\nAuthorization: bearer {KEY}\r\nTransfer-Encoding: chunked\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    caller.write(chunked.as_bytes()).await;
    assert_eq!(caller.answer(true).await.status, 200);
    // Whoever sends too much, or has no key, gets to read why; and the connection goes on if the rest came.
    let large = vec![b' '; 4 * 1024 * 1024];
    assert_eq!(caller.call("POST", "/api/publish", &large).await.status, 413);
    assert_eq!(caller.request("POST", "/api/publish", "", &large).await.status, 401);
    assert_eq!(caller.get("/api/stats").await.status, 200);
    // No HTTP at all.
    caller.write(b"\x16\x03\x01 not http\r\n\r\n").await;
    assert_eq!(caller.answer(true).await.status, 400);
    pod.stop();
}

#[tokio::test]
async fn connections_beyond_the_most_are_refused_and_counted() {
    let pod = newsroom(|_| {});
    let mut callers = Vec::new();
    for _ in 0..1_024 {
        callers.push(Caller::new(&pod).await);
    }
    let mut excess = Caller::new(&pod).await;
    let answer = excess.answer(true).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(!excess.more().await, "it ends");
    let mut caller = callers.pop().unwrap();
    let metrics = caller.get("/metrics").await;
    assert!(metrics.body.as_str().unwrap().contains("roomcast_internal_refused_total 1"), "{metrics:?}");
    // Whoever goes makes place.
    drop(callers.pop());
    let deadline = Instant::now() + SOON;
    loop {
        let mut next = Caller::new(&pod).await;
        next.write(b"GET /health HTTP/1.1\r\nHost: pod\r\n\r\n").await;
        if next.answer(true).await.status == 200 {
            break;
        }
        assert!(Instant::now() < deadline, "the place that was left is not given");
    }
    pod.stop();
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_off_and_an_idle_connection_is_not() {
    let pod = newsroom(|_| {});
    let (mut slow, mut idle) = (Caller::new(&pod).await, Caller::new(&pod).await);
    assert_eq!(idle.get("/health").await.status, 200);
    slow.write(b"GET /health HTTP/1.1\r\nX: ").await;
    let began = Instant::now();
    let mut chunk = [0; 64];
    loop {
        match timeout(Duration::from_secs(1), slow.stream.read(&mut chunk)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(_)) => panic!("an answer to half a request"),
            // A byte now and then does not help.
            Err(_) => drop(slow.stream.write_all(b"x").await),
        }
        assert!(began.elapsed() < Duration::from_secs(20), "still open");
    }
    assert!(began.elapsed() > Duration::from_secs(9), "cut off after {:?}", began.elapsed());
    assert_eq!(idle.get("/health").await.status, 200, "kept");
    pod.stop();
}
