//! Long-polls and event streams over HTTP: the same events, positions, gaps and refusals as over a WebSocket.

mod document;
mod in_a_dialect;
mod refusals;
mod sending;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::harness::{Client, SOON, get as ask_internal, pod, publish, rule};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, Response, body::Incoming};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use roomcast::testing::{
    auth::SigningKey,
    config::{HmacSecret, OriginPattern, PersonalRoom, RedisUrl},
    model::{Access, Act, Conflate, Disconnect, Order, PresenceMode, Retain, SlowReceiver, Target},
    pod::Pod,
};
use serde_json::{Value, json};
use testkit::redis::Standalone;
use tokio::{task::block_in_place, time::timeout};

fn client() -> HttpClient<HttpConnector, Empty<Bytes>> {
    HttpClient::builder(TokioExecutor::new()).build_http()
}

async fn send(address: SocketAddr, method: Method, target: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
    let mut request = Request::builder().method(method).uri(format!("http://{address}{target}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::new()).unwrap();
    timeout(SOON, client().request(request)).await.expect("an answer in time").unwrap()
}

/// The status and the JSON of an answer to a GET.
async fn ask(pod: &Pod, target: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let response = send(pod.addresses().plain[0], Method::GET, target, headers).await;
    assert_eq!(response.headers()["cache-control"], "no-store", "{target}");
    assert_eq!(response.headers()["content-type"], "application/json", "{target}");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_else(|e| panic!("{e}: {body:?}")))
}

async fn poll(pod: &Pod, target: &str) -> Value {
    let (status, answer) = ask(pod, target, &[]).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

fn encoded(cursor: &Value) -> String {
    form_urlencoded::byte_serialize(cursor.as_str().unwrap().as_bytes()).collect()
}

fn kinds(answer: &Value) -> Vec<&str> {
    answer["messages"].as_array().unwrap().iter().map(|message| message["type"].as_str().unwrap()).collect()
}

fn offsets(answer: &Value) -> Vec<u64> {
    let messages = answer["messages"].as_array().unwrap().iter().filter(|m| m["type"] == "events");
    messages.flat_map(|m| m["events"].as_array().unwrap()).map(|e| e["offset"].as_u64().unwrap()).collect()
}

/// One event of a stream.
#[derive(Debug, Clone, Default, PartialEq)]
struct Event {
    kind: String,
    id: Option<String>,
    data: Option<Value>,
    retry: Option<u64>,
    comment: bool,
}

/// Reads an event stream as HTML, section 9.2.6, says.
struct Stream {
    body: Incoming,
    text: String,
}

impl Stream {
    async fn open(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Self {
        let response = send(address, Method::GET, target, headers).await;
        assert_eq!(response.status(), 200, "{target}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert!(!response.headers().contains_key("content-encoding"));
        Self { body: response.into_body(), text: String::new() }
    }

    /// The next block; `None`: the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let mut event = Event::default();
                let mut data: Option<String> = None;
                for line in block.lines() {
                    let (field, value) = line.split_once(':').unwrap();
                    let value = value.strip_prefix(' ').unwrap_or(value);
                    match field {
                        "" => event.comment = true,
                        "id" => event.id = Some(value.to_owned()),
                        "event" => event.kind = value.to_owned(),
                        "retry" => event.retry = Some(value.parse().unwrap()),
                        "data" => match &mut data {
                            Some(data) => data.extend(["\n", value]),
                            None => data = Some(value.to_owned()),
                        },
                        _ => panic!("{line}"),
                    }
                }
                event.data = data.map(|data| serde_json::from_str(&data).unwrap());
                self.text = rest.to_owned();
                return Some(event);
            }
            let frame = timeout(SOON, self.body.frame()).await.expect("something in time")?;
            self.text.push_str(std::str::from_utf8(&frame.ok()?.into_data().unwrap()).unwrap());
        }
    }

    /// The next message of a type, whatever comes between.
    async fn message(&mut self, kind: &str) -> (Value, Option<String>) {
        loop {
            let event = self.next().await.expect("the stream goes on");
            match event.data {
                Some(data) if data["type"] == kind => return (data, event.id),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_poll_begins_waits_and_goes_on() {
    let pod = pod(|s| s.policies = vec![rule("last:*", |p| p.retain = Retain::Topic)]);
    publish(&pod, "a", "t", "0").await;
    let first = poll(&pod, "/poll?room=a&room=b").await;
    assert_eq!(kinds(&first), ["subscribed", "subscribed"], "{first}");
    let cursor = encoded(&first["cursor"]);
    // Nothing is there yet: it waits, and is answered when something is.
    let target = format!("/poll?room=a&room=b&cursor={cursor}");
    let (waiting, began) = (poll(&pod, &target), Instant::now());
    let (answer, ()) = tokio::join!(waiting, async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        publish(&pod, "a", "t", "{\"n\": 1,\n \"m\": 2}").await;
    });
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(kinds(&answer), ["subscribed", "subscribed", "events"], "{answer}");
    assert!(answer["messages"][0]["recovered"] == true && answer["messages"][1]["recovered"] == true, "{answer}");
    assert_eq!(answer["messages"][2]["events"][0]["data"], json!({"n": 1, "m": 2}));
    assert_eq!(offsets(&answer), [2]);
    // What was missed between two polls comes at once, exactly, by the cursor and by single positions.
    for n in 3..=5 {
        publish(&pod, "a", "t", &n.to_string()).await;
    }
    let (mut cursor, mut missed) = (encoded(&answer["cursor"]), Vec::new());
    // What is in the log may still be on its way to the worker: that comes with the next poll.
    while missed.last() != Some(&5) {
        let answer = poll(&pod, &format!("/poll?room=a&room=b&cursor={cursor}")).await;
        missed.extend(offsets(&answer));
        cursor = encoded(&answer["cursor"]);
    }
    assert_eq!(missed, [3, 4, 5]);
    let epoch = first["messages"].as_array().unwrap().iter().find(|m| m["room"] == "a").unwrap()["epoch"].clone();
    let epoch = encoded(&epoch);
    assert_eq!(offsets(&poll(&pod, &format!("/poll?room=a&since={epoch}:1&room=b")).await), [2, 3, 4, 5]);
    // A position that the log does not have is answered with the room's own.
    let gone = poll(&pod, "/poll?room=a&since=another:3").await;
    assert_eq!((kinds(&gone), &gone["messages"][0]["recovered"]), (vec!["subscribed"], &json!(false)));
    assert_eq!(gone["messages"][0]["offset"], 5);
    // Retained values come to who begins.
    publish(&pod, "last:1", "t", "7").await;
    let retained = poll(&pod, "/poll?room=last:1").await;
    assert_eq!(retained["messages"][1]["retained"], true, "{retained}");
    pod.stop();
}

#[tokio::test]
async fn a_poll_without_news_ends_in_time_and_is_a_connection_meanwhile() {
    let pod = pod(|s| {
        s.timeouts.poll = Duration::from_secs(2);
        s.timeouts.ping = Duration::from_secs(1);
        s.timeouts.pong = Duration::from_millis(100);
        s.general.max_connections = Some(1);
        s.default_policy.presence = PresenceMode::List;
    });
    let first = poll(&pod, "/poll?room=a").await;
    let target = format!("/poll?room=a&cursor={}", encoded(&first["cursor"]));
    let began = Instant::now();
    let (answer, ()) = tokio::join!(poll(&pod, &target), async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        let metrics = ask_internal(&pod, "/metrics").await.1;
        assert!(metrics.contains("roomcast_connections{transport=\"poll\",dialect=\"native\"} 1"), "{metrics}");
        assert!(metrics.contains("roomcast_handshakes_total{stage=\"poll\",result=\"ok\"} 2"), "{metrics}");
        let list = pod.services().presence.list(&roomcast::testing::model::Room::parse("a").unwrap(), 9).await.unwrap();
        assert_eq!(list.total, 0, "a poll comes and goes");
        let (status, full) = ask(&pod, "/poll?room=a", &[]).await;
        assert_eq!((status, &full["error"]["code"]), (503, &json!("unavailable")), "{full}");
    });
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(kinds(&answer), ["subscribed"]);
    assert_eq!(answer["cursor"], first["cursor"]);
    assert!(answer.get("close").is_none(), "{answer}");
    pod.stop();
}

#[tokio::test]
async fn a_poll_that_is_full_leaves_the_rest_to_the_next() {
    let pod = pod(|s| {
        s.limits.send_queue = 16 * 1024;
        s.default_policy.slow = SlowReceiver::Gap;
    });
    let first = poll(&pod, "/poll?room=a").await;
    let data = format!("\"{}\"", "x".repeat(2_000));
    for _ in 0..40 {
        publish(&pod, "a", "t", &data).await;
    }
    let (mut cursor, mut all, mut polls) = (encoded(&first["cursor"]), Vec::new(), 0);
    while all.len() < 40 {
        let answer = poll(&pod, &format!("/poll?room=a&cursor={cursor}")).await;
        assert!(kinds(&answer).iter().all(|kind| *kind != "gap"), "{answer}");
        all.extend(offsets(&answer));
        cursor = encoded(&answer["cursor"]);
        polls += 1;
    }
    assert_eq!(all, (1..=40).collect::<Vec<u64>>(), "in {polls} polls");
    pod.stop();
}

#[tokio::test]
async fn an_event_stream_goes_on_where_it_was_cut() {
    let pod = pod(|s| s.timeouts.ping = Duration::from_secs(1));
    let address = pod.addresses().plain[0];
    let mut stream = Stream::open(address, "/events?room=a&room=b", &[]).await;
    let greeting = stream.next().await.unwrap();
    assert!((1_000..5_000).contains(&greeting.retry.unwrap()), "{greeting:?}");
    let (welcome, _) = stream.message("welcome").await;
    stream.message("subscribed").await;
    stream.message("subscribed").await;
    publish(&pod, "a", "t", "{\"n\":\r\n1}").await;
    let (events, _) = stream.message("events").await;
    assert_eq!((&events["room"], &events["events"][0]["data"]), (&json!("a"), &json!({"n": 1})));
    publish(&pod, "b", "t", "2").await;
    let (events, id) = stream.message("events").await;
    assert_eq!(events["room"], "b");
    // A sign of life when nothing happens.
    let began = Instant::now();
    while !stream.next().await.unwrap().comment {}
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    let name = welcome["connection"].as_str().unwrap();
    let (_, listed) = ask_connection(&pod, name).await;
    assert_eq!((&listed["transport"], &listed["compressed"]), (&json!("sse"), &json!(false)), "{listed}");
    drop(stream);
    publish(&pod, "a", "t", "3").await;
    let mut stream =
        Stream::open(address, "/events?room=a&room=b&cursor=a%3Dold:1", &[("Last-Event-ID", &id.unwrap())]).await;
    let (one, _) = stream.message("subscribed").await;
    assert_eq!(one["recovered"], true, "{one}");
    let (events, _) = stream.message("events").await;
    assert_eq!((&events["room"], &events["after"], &events["offset"]), (&json!("a"), &json!(1), &json!(2)));
    pod.stop();
}

async fn ask_connection(pod: &Pod, name: &str) -> (u16, Value) {
    let url = format!("/api/connections/{name}");
    let response = send(pod.addresses().internal[0], Method::GET, &url, &[("Authorization", "Bearer test-key")]).await;
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap())
}

#[tokio::test]
async fn a_closed_connection_is_told_and_a_stuck_reader_is_cut_off() {
    let pod = pod(|s| {
        s.timeouts.ping = Duration::from_secs(1);
        s.timeouts.pong = Duration::from_millis(200);
        s.default_policy.conflate = Conflate::None;
    });
    let address = pod.addresses().plain[0];
    let disconnect = async |name: &Value| {
        let target = Target::Connection(name.as_str().unwrap().into());
        let order = Order { target, act: Act::Disconnect(Disconnect::Disconnected) };
        assert_eq!(pod.services().queues.obey(order).await.unwrap(), Some(1));
    };
    let mut stream = Stream::open(address, "/events?room=a", &[]).await;
    let (welcome, _) = stream.message("welcome").await;
    disconnect(&welcome["connection"]).await;
    let last = loop {
        match stream.next().await {
            Some(event) if event.kind == "close" => break event,
            Some(_) => {}
            None => panic!("it ended without a word"),
        }
    };
    assert_eq!(last.data, Some(json!({"code": 4003, "reason": "disconnected"})));
    assert_eq!(stream.next().await, None);
    // Nobody reads: what the kernel does not take waits, then the silence ends it.
    let stuck = Stream::open(address, "/events?room=a", &[]).await;
    let data = format!("\"{}\"", "x".repeat(60_000));
    let began = Instant::now();
    while pod.services().gate.connections() > 0 {
        publish(&pod, "a", "t", &data).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(began.elapsed() < Duration::from_secs(20), "a stuck reader keeps its connection");
    }
    drop(stuck);
    pod.stop();
}

const SECRET: &str = "a secret of at least thirty-two bytes";

#[tokio::test]
async fn a_drain_sends_polls_and_streams_elsewhere() {
    let pod = pod(|_| ());
    let address = pod.addresses().plain[0];
    let first = poll(&pod, "/poll?room=a").await;
    let target = format!("/poll?room=a&cursor={}", encoded(&first["cursor"]));
    let mut stream = Stream::open(address, "/events?room=a", &[]).await;
    stream.message("subscribed").await;
    let waiting = tokio::spawn(async move { send(address, Method::GET, &target, &[]).await });
    let began = Instant::now();
    while pod.services().gate.connections() < 2 {
        assert!(began.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (answer, (), ()) = tokio::join!(
        waiting,
        async {
            stream.message("reconnect").await;
            let end = loop {
                match stream.next().await {
                    Some(event) if event.kind == "close" => break event,
                    Some(_) => {}
                    None => panic!("it ended without a word"),
                }
            };
            assert_eq!(end.data.unwrap()["code"], 1012);
        },
        pod.drain(Duration::from_millis(50), Duration::from_millis(500)),
    );
    let answer = answer.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["connection"].to_str().unwrap()), (200, "close"));
    let answer: Value = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(answer["cursor"], first["cursor"]);
    assert!(answer.get("close").is_none(), "{answer}");
}

fn member(server: &testkit::redis::Node) -> Pod {
    pod(|settings| {
        let (host, port) = server.address();
        settings.redis.urls = vec![RedisUrl::parse(&format!("redis://{host}:{port}")).unwrap()];
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_poll_may_go_to_another_pod() {
    let server = block_in_place(Standalone::start);
    let (a, b) = (member(&server), member(&server));
    for pod in [&a, &b] {
        let began = Instant::now();
        while ask_internal(pod, "/ready").await.0 != 200 {
            assert!(began.elapsed() < SOON);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let first = poll(&a, "/poll?room=r&room=s").await;
    let (mut cursor, mut seen) = (encoded(&first["cursor"]), Vec::new());
    for n in 1..=6_u64 {
        publish(if n % 3 == 0 { &a } else { &b }, "r", "t", &n.to_string()).await;
        let answer = poll(if n % 2 == 0 { &a } else { &b }, &format!("/poll?room=r&room=s&cursor={cursor}")).await;
        seen.extend(offsets(&answer));
        cursor = encoded(&answer["cursor"]);
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6]);
    // An event stream goes on from a poll's cursor, and a WebSocket from the position in it.
    publish(&a, "r", "t", "7").await;
    let mut stream = Stream::open(b.addresses().plain[0], &format!("/events?room=r&room=s&cursor={cursor}"), &[]).await;
    let (events, id) = stream.message("events").await;
    assert_eq!((&events["after"], &events["offset"]), (&json!(6), &json!(7)));
    assert!(id.unwrap().contains(":7"));
    let mut socket = Client::connect(a.addresses().plain[0]).await;
    let since = json!({"epoch": events["epoch"], "offset": 6});
    let joined = socket.ask(json!({"type": "subscribe", "room": "r", "since": since})).await;
    assert_eq!(joined["recovered"], true);
    a.stop();
    b.stop();
}
