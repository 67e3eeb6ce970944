//! Presets as the pods of a fleet run them: over a real Redis, alone and as a cluster.

use std::time::{Duration, Instant};

use crate::harness::{Client, Seen, config, publish};
use crate::redis::{Cluster, Standalone};
use roomcast::{
    config::{Config, Flags, ListenAddress, LogFormat, LogLevel, Preset, Settings, Variables, merge_over},
    metrics::REALTIME_DESCRIPTIONS,
    pod::Pod,
};
use roomcast_proto::realtime::{
    BroadcastEventRequest, GetConnectionStatsRequest, NotifyBookingResultRequest,
    realtime_service_client::RealtimeServiceClient,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::block_in_place,
};
use tonic::transport::Channel;

/// A pod with a preset, on loopback and free ports; the variables are those of the system that it replaces.
fn preset(name: &str, urls: &str, variables: &[(&str, &str)]) -> Pod {
    let flags = Flags::from([("redis.urls".to_owned(), urls.to_owned())]);
    start(merge_over(Preset::named(name), &flags, &set(variables), None).unwrap().settings)
}

fn set(variables: &[(&str, &str)]) -> Variables {
    variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn start(mut settings: Settings) -> Pod {
    let free = ListenAddress::Ip(([127, 0, 0, 1], 0).into());
    settings.general.plain_listen = Some(vec![free]);
    settings.general.internal_listen = vec![free];
    if !settings.grpc.listen.is_empty() {
        settings.grpc.listen = vec![free];
    }
    settings.general.workers = Some(2);
    settings.redis.lease = Duration::from_secs(2);
    Pod::start(config(settings)).unwrap()
}

async fn open(pod: &Pod, target: &str) -> Client {
    Client::open(pod.addresses().plain[0], target, &[], &[], None).await.unwrap()
}

/// A GET of the public listener: the status and the body.
async fn get(pod: &Pod, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(pod.addresses().plain[0]).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Waits until a preset's pod has reached Redis.
async fn ready(pod: &Pod) {
    let began = Instant::now();
    while crate::harness::get(pod, "/ready").await.0 != 200 {
        assert!(began.elapsed() < Duration::from_secs(15), "not ready");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trips_over_a_cluster() {
    let cluster = block_in_place(|| Cluster::start(3, 0));
    let urls: Vec<_> =
        cluster.addresses().iter().map(|(host, port)| format!("redis-cluster://{host}:{port}")).collect();
    let pods = [preset("trips", &urls.join(","), &[]), preset("trips", &urls.join(","), &[])];
    let mut clients = Vec::new();
    for (pod, trip) in pods.iter().zip(["trip-1", "1"]) {
        ready(pod).await;
        let mut client = open(pod, "/ws").await;
        client.send(&json!({"type": "subscribe", "trip_id": trip}).to_string()).await;
        clients.push((client, trip));
    }
    // Any node will do for a publisher.
    let mut links: Vec<_> =
        cluster.addresses().iter().map(|(_, port)| crate::redis::Link::open(*port, None).unwrap()).collect();
    let began = Instant::now();
    'published: loop {
        for link in &mut links {
            let event = r#"{"topic":"poll.updated","data":{"poll_id":"9","n":1}}"#;
            block_in_place(|| link.call(&["PUBLISH", "trip:1", event]).unwrap().ok());
        }
        for (client, trip) in &mut clients {
            let Ok(Seen::Json(message)) = tokio::time::timeout(Duration::from_millis(400), client.next()).await else {
                assert!(began.elapsed() < Duration::from_secs(20), "nobody takes messages in");
                continue 'published;
            };
            assert_eq!(
                (&message["type"], &message["events"][0]["trip_id"]),
                (&json!("events"), &json!(trip)),
                "{message}"
            );
        }
        break;
    }
    // Who comes later gets the snapshot.
    let mut late = open(&pods[1], "/ws").await;
    late.send(r#"{"type":"subscribe","trip_id":"1"}"#).await;
    assert_eq!(late.json().await["events"][0]["data"], json!({"poll_id": "9", "n": 1}));
    for pod in pods {
        pod.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trip_that_lost_events_is_joined_anew() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let pod = preset("trips", &format!("redis://{host}:{port}"), &[]);
    ready(&pod).await;
    let mut client = open(&pod, "/ws").await;
    client.send(r#"{"type":"subscribe","trip_id":"1"}"#).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    publish(&pod, "trip:1", "comment.created", "1").await;
    assert_eq!(client.json().await["events"][0]["data"], json!(1));
    // A client of the old server knows no gap: it is closed, comes back, and gets the newest.
    block_in_place(|| server.call(&["FLUSHALL"]));
    for n in 0..3 {
        publish(&pod, "trip:1", "comment.created", &n.to_string()).await;
    }
    let code = client.closed().await;
    assert_eq!(code, Some(4010));
    pod.stop();
}

/// A Socket.IO session over a WebSocket, its packets as they are.
struct Session {
    client: Client,
    sid: String,
    pid: String,
}

impl Session {
    /// `auth`: what the session connects with; what came before it was answered.
    async fn begin(pod: &Pod, token: &str, auth: &str) -> (Self, Vec<Value>) {
        let target = format!("/socket.io/?EIO=4&transport=websocket&channel_token={token}");
        let client = open(pod, &target).await;
        let mut session = Self { client, sid: String::new(), pid: String::new() };
        assert!(session.packet().await.starts_with("0{"));
        session.client.send(&format!("40{auth}")).await;
        let mut before = Vec::new();
        loop {
            let packet = session.packet().await;
            if let Some(answer) = packet.strip_prefix("40") {
                let answer: Value = serde_json::from_str(answer).unwrap();
                session.sid = answer["sid"].as_str().unwrap().to_owned();
                session.pid = answer["pid"].as_str().unwrap().to_owned();
                return (session, before);
            }
            before.push(event(&packet));
        }
    }

    async fn packet(&mut self) -> String {
        loop {
            match self.client.next().await {
                Seen::Text(text) => return text,
                Seen::Json(ping) if ping == json!(2) => self.client.send("3").await,
                other => panic!("{other:?} instead of a packet"),
            }
        }
    }

    async fn event(&mut self) -> Value {
        event(&self.packet().await)
    }
}

/// The name, the data and the offset of an event.
fn event(packet: &str) -> Value {
    serde_json::from_str(packet.strip_prefix("42").unwrap_or_else(|| panic!("{packet} is no event"))).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loomio_over_a_cluster() {
    let cluster = block_in_place(|| Cluster::start(3, 0));
    let urls: Vec<_> =
        cluster.addresses().iter().map(|(host, port)| format!("redis-cluster://{host}:{port}")).collect();
    let pods = [preset("loomio", &urls.join(","), &[]), preset("loomio", &urls.join(","), &[])];
    // Keys of tokens lie in whatever slot they fall into.
    let mut links: Vec<_> =
        cluster.addresses().iter().map(|(_, port)| crate::redis::Link::open(*port, None).unwrap()).collect();
    for token in ["one", "two", "three"] {
        let user = r#"{"id":7,"name":"Ann","group_ids":[1,2,3]}"#;
        let set = ["SET", &format!("/current_users/{token}"), user];
        let kept = links.iter_mut().any(|link| block_in_place(|| link.call(&set).unwrap().text() == "OK"));
        assert!(kept, "no node takes the key");
    }
    let mut sessions = Vec::new();
    for (pod, token) in pods.iter().zip(["one", "two"]) {
        ready(pod).await;
        sessions.push(Session::begin(pod, token, "").await.0);
    }
    let began = Instant::now();
    let mut publish = |room: &str, n: usize| {
        let message = json!({"room": room, "records": {"events": [{"id": n}]}}).to_string();
        // Any node will do for a publisher.
        let link = &mut links[n / 20 % 3];
        block_in_place(|| link.call(&["PUBLISH", "/records", &message]).unwrap().ok());
    };
    let rooms = ["group-1", "user-7", "group-2", "group-9", "group-3"];
    // Until somebody takes them in, messages are lost, as `PUBLISH` has it.
    while tokio::time::timeout(Duration::from_millis(300), sessions[0].client.is_quiet()).await != Ok(false) {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody takes messages in");
        publish("group-1", 0);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    for n in 1..60 {
        publish(rooms[n * 3 % 5], n);
        // Over different nodes there is no order without time between.
        tokio::time::sleep(Duration::from_millis(if n % 20 == 19 { 300 } else { 1 })).await;
    }
    let mine: Vec<usize> = (1..60).filter(|n| rooms[n * 3 % 5] != "group-9").collect();
    let id = |event: &Value| event[1]["records"]["events"][0]["id"].as_u64().unwrap() as usize;
    let mut offset = String::new();
    for session in &mut sessions {
        let mut seen = Vec::new();
        while seen.last() != mine.last() {
            let event = session.event().await;
            assert_eq!(event[0], "records", "{event}");
            offset = event[2].as_str().unwrap().to_owned();
            seen.push(id(&event));
        }
        seen.retain(|n| *n > 0);
        assert_eq!(seen, mine);
    }
    // The session of one pod goes on at the other: what it missed first, then the same names.
    let gone = sessions.remove(1);
    drop(gone.client);
    for n in 60..100 {
        publish(rooms[n * 3 % 5], n);
        tokio::time::sleep(Duration::from_millis(if n % 20 == 19 { 300 } else { 1 })).await;
    }
    let missed: Vec<usize> = (60..100).filter(|n| rooms[n * 3 % 5] != "group-9").collect();
    while id(&sessions[0].event().await) != *missed.last().unwrap() {}
    let auth = json!({"pid": gone.pid, "offset": offset}).to_string();
    let (mut back, before) = Session::begin(&pods[0], "two", &auth).await;
    assert_eq!(before.iter().map(id).collect::<Vec<_>>(), missed);
    assert_eq!((&back.sid, &back.pid), (&gone.sid, &gone.pid));
    publish("user-7", 100);
    assert_eq!(id(&back.event().await), 100);
    // Another user's token does not take a session over.
    let other = json!({"pid": back.pid, "offset": offset}).to_string();
    let user = r#"{"id":8,"group_ids":[]}"#;
    for (_, port) in cluster.addresses() {
        let mut link = crate::redis::Link::open(port, None).unwrap();
        // The nodes that do not have its slot say so.
        let _ = block_in_place(|| link.call(&["SET", "/current_users/three", user]).unwrap());
    }
    let (thief, before) = Session::begin(&pods[1], "three", &other).await;
    assert!(before.is_empty() && thief.sid != back.sid);
    for pod in pods {
        pod.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ticketing_speaks_its_documents_messages() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let urls = format!("redis://{host}:{port}");
    let secret = "a-secret-of-thirty-two-bytes-or-more";
    let pods =
        [preset("ticketing", &urls, &[("JWT_SECRET", secret)]), preset("ticketing", &urls, &[("JWT_SECRET", secret)])];
    for pod in &pods {
        ready(pod).await;
        assert_eq!(get(pod, "/health").await.0, 200);
        assert_eq!(get(pod, "/ready").await, (200, "{\"status\":\"ready\"}".to_owned()));
        assert!(get(pod, "/metrics").await.1.contains("roomcast_connections"));
    }
    let payload = json!({"user_id": "u1", "sub": "other"});
    let token = signed(&payload, secret);
    let mut user = open(&pods[0], &format!("/ws?token={token}")).await;
    let connected = user.json().await;
    assert_eq!(connected["type"], "system:connected", "{connected}");
    assert!(connected["payload"]["connection_id"].is_string() && connected["payload"]["server_time"].is_string());
    let mut guest = open(&pods[1], "/ws").await;
    guest.json().await;
    guest.send(r#"{"type":"system:ping"}"#).await;
    assert_eq!(guest.json().await["type"], "system:pong");
    guest.send(r#"{"type":"room:join","payload":{"event_id":"123"}}"#).await;
    user.send(r#"{"type":"room:join","payload":{"room":"event:123"}}"#).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    publish(&pods[0], "event:123", "ticket:availability", r#"{"event_id":"123","left":5}"#).await;
    let expected = json!({"type": "ticket:availability", "payload": {"event_id": "123", "left": 5}});
    assert_eq!((guest.json().await, user.json().await), (expected.clone(), expected));
    // A user's messages reach that user only, on whichever pod.
    publish(&pods[1], "user:u1", "booking:confirmed", r#"{"booking_id":"b"}"#).await;
    assert_eq!(user.json().await, json!({"type": "booking:confirmed", "payload": {"booking_id": "b"}}));
    for (message, code) in [
        (r#"{"type":"room:join","payload":{"room":"user:u1"}}"#, "forbidden"),
        (r#"{"type":"room:join","payload":{"room":"other:1"}}"#, "forbidden"),
        (r#"{"type":"room:join","payload":{}}"#, "bad_request"),
        (r#"{"type":"booking:confirmed","payload":{}}"#, "unknown_command"),
        ("no JSON", "bad_request"),
    ] {
        guest.send(message).await;
        let error = guest.json().await;
        assert_eq!((&error["type"], &error["payload"]["code"]), (&json!("system:error"), &json!(code)), "{message}");
    }
    guest.send(r#"{"type":"room:leave","payload":{"room":"event:123"}}"#).await;
    guest.send(r#"{"type":"system:ping"}"#).await;
    assert_eq!(guest.json().await["type"], "system:pong");
    publish(&pods[1], "event:123", "ticket:availability", "1").await;
    assert_eq!(user.json().await["payload"], json!(1));
    assert!(guest.is_quiet().await);
    // A bad token is refused where none would do.
    let address = pods[0].addresses().plain[0];
    let forged = signed(&payload, "another-secret-of-thirty-two-bytes");
    let refused = Client::open(address, &format!("/ws?token={forged}"), &[], &[], None).await;
    assert_eq!(refused.err(), Some(401));
    // The native protocol is one offer away.
    let native = Client::open(address, "/ws", &["roomcast.v1"], &[], None).await.unwrap().json().await;
    assert_eq!(native["type"], "welcome");
    for pod in pods {
        pod.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ticketing_without_a_secret_or_anonymous_guests_lets_nobody_in() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let urls = format!("redis://{host}:{port}");
    let pod = preset("ticketing", &urls, &[("METRICS_ENABLED", "false"), ("JWT_SECRET", "")]);
    ready(&pod).await;
    let address = pod.addresses().plain[0];
    let token = signed(&json!({"sub": "u"}), "a-secret-of-thirty-two-bytes-or-more");
    let refused = Client::open(address, &format!("/ws?token={token}"), &[], &[], None).await;
    assert_eq!(refused.err(), Some(401));
    assert_eq!(get(&pod, "/metrics").await.0, 404);
    assert_eq!(crate::harness::get(&pod, "/metrics").await.0, 404, "on no port");
    pod.stop();
    let pod = preset("ticketing", &urls, &[("WS_ALLOW_ANONYMOUS", "false"), ("JWT_SECRET", &"x".repeat(32))]);
    ready(&pod).await;
    let refused = Client::open(pod.addresses().plain[0], "/ws", &[], &[], None).await;
    assert_eq!(refused.err(), Some(401), "no message of this dialect could bring a token later");
    pod.stop();
}

/// A client of live-polls that speaks Socket.IO packet by packet.
struct Poller {
    client: Client,
    /// What it was told, oldest first: name and data.
    told: Vec<(String, Value)>,
}

impl Poller {
    async fn open(pod: &Pod, query: &str) -> Self {
        let mut client = open(pod, &format!("/socket.io/?EIO=4&transport=websocket&{query}")).await;
        client.send("40").await;
        Self { client, told: Vec::new() }
    }

    /// The data of the next packet of that name; `None`: it was told to leave.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            let packet = match self.client.next().await {
                Seen::Text(packet) => packet,
                // A packet without data may be a number as well.
                Seen::Json(number) => number.to_string(),
                other => panic!("{other:?}"),
            };
            match packet.get(..2) {
                Some("42") => {
                    let event: (String, Value) =
                        match serde_json::from_str::<Vec<Value>>(&packet[2..]).unwrap().as_slice() {
                            [Value::String(name), data, ..] => (name.clone(), data.clone()),
                            other => panic!("{other:?}"),
                        };
                    self.told.push(event.clone());
                    return Some(event);
                }
                Some("41") => return None,
                Some("40") => {}
                _ if packet.starts_with('0') => {}
                _ => panic!("{packet}"),
            }
        }
    }

    async fn established(&mut self) -> Value {
        match self.next().await {
            Some((name, data)) if name == "connection:established" => data,
            other => panic!("{other:?}"),
        }
    }

    async fn event(&mut self) -> Value {
        match self.next().await {
            Some((name, data)) if name == "event" => data,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_polls_over_a_cluster() {
    let cluster = block_in_place(|| Cluster::start(3, 0));
    let urls: Vec<_> =
        cluster.addresses().iter().map(|(host, port)| format!("redis-cluster://{host}:{port}")).collect();
    let pods = [preset("live-polls", &urls.join(","), &[]), preset("live-polls", &urls.join(","), &[])];
    for pod in &pods {
        ready(pod).await;
    }
    let mut first = Poller::open(&pods[0], "sessionId=abc&participantId=user456").await;
    let established = first.established().await;
    assert_eq!(
        (&established["sessionId"], &established["participantId"], &established["replayed"]),
        (&json!("abc"), &json!("user456"), &json!(false)),
        "{established}"
    );
    assert!(established["connectionId"].is_string() && established["serverTime"].as_str().unwrap().ends_with('Z'));
    // Any node will do for a publisher. What is said twice, because nobody may have heard it at first, is one event.
    let mut links: Vec<_> =
        cluster.addresses().iter().map(|(_, port)| crate::redis::Link::open(*port, None).unwrap()).collect();
    let began = Instant::now();
    let heard = loop {
        for link in &mut links {
            let event = r#"{"eventId":"evt1","eventType":"poll:created","payload":{"pollId":1}}"#;
            block_in_place(|| link.call(&["PUBLISH", "session:abc", event]).unwrap().ok());
        }
        match tokio::time::timeout(Duration::from_millis(400), first.event()).await {
            Ok(event) => break event,
            Err(_) => assert!(began.elapsed() < Duration::from_secs(20), "nobody takes messages in"),
        }
    };
    let expected = json!({"eventId": "evt1", "eventType": "poll:created", "timestamp": heard["timestamp"], "sessionId": "abc",
        "payload": {"pollId": 1}});
    assert_eq!(heard, expected);
    for n in 0..5 {
        publish(&pods[n % 2], "session:abc", "vote:accepted", &format!("{{\"n\":{n}}}")).await;
    }
    let mut events = Vec::new();
    for n in 0..5 {
        let event = first.event().await;
        assert_eq!((&event["eventType"], &event["payload"]["n"]), (&json!("vote:accepted"), &json!(n)), "{event}");
        events.push(event);
    }
    // Who comes back anywhere, by a publisher's id or ours, gets what followed, then what is new.
    for (pod, id, from) in [(0, "evt1", 0), (1, "evt1", 0), (1, events[2]["eventId"].as_str().unwrap(), 3)] {
        let mut again = Poller::open(&pods[pod], &format!("sessionId=abc&fromEventId={id}")).await;
        assert_eq!(again.established().await["replayed"], json!(true));
        for event in &events[from..] {
            assert_eq!(&again.event().await, event);
        }
        assert!(again.client.is_quiet().await);
    }
    // What is older than a day, or beyond the cap, is unknown.
    let mut unknown = Poller::open(&pods[1], "sessionId=abc&fromEventId=evt0").await;
    assert_eq!(unknown.established().await["replayed"], json!(false));
    assert!(unknown.client.is_quiet().await);
    let mut refused = Poller::open(&pods[1], "participantId=1").await;
    let (name, error) = refused.next().await.unwrap();
    assert_eq!((name.as_str(), &error["code"]), ("connection:error", &json!("bad_request")), "{error}");
    assert_eq!(refused.next().await, None, "then it is disconnected");
    for pod in pods {
        pod.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_live_polls_keeps_what_its_document_says() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let pod = preset("live-polls", &format!("redis://{host}:{port}"), &[]);
    ready(&pod).await;
    let policy = pod.services().policy(&roomcast::model::Room::parse("session:abc").unwrap());
    assert_eq!(policy.history_age, Duration::from_secs(24 * 3_600));
    let mut ids = Vec::new();
    for n in 0..1_003 {
        let position = publish(&pod, "session:abc", "vote:accepted", &n.to_string()).await;
        ids.push(format!("{}:{}", position.epoch, position.offset));
    }
    // As many as are kept are replayed; one more, and none is: never a part.
    for (from, replayed) in [(2, true), (1_002, true), (1, false), (0, false)] {
        let mut again = Poller::open(&pod, &format!("sessionId=abc&fromEventId={}", ids[from])).await;
        assert_eq!(again.established().await["replayed"], json!(replayed), "{from}");
        for n in from + 1..if replayed { 1_003 } else { 0 } {
            assert_eq!(again.event().await["payload"], json!(n));
        }
        assert!(again.client.is_quiet().await);
    }
    pod.stop();
}

#[tokio::test]
async fn ticketing_reads_its_documents_variables() {
    let read = |variables: &[(&str, &str)]| {
        merge_over(Preset::named("ticketing"), &Flags::new(), &set(variables), None)
            .map(|merged| config(merged.settings))
    };
    // The document's defaults are the preset's.
    let plain = read(&[]).unwrap();
    let printed = read(&[
        ("HTTP_PORT", "3003"),
        ("HTTP_READ_TIMEOUT", "15s"),
        ("HTTP_WRITE_TIMEOUT", "15s"),
        ("GRPC_PORT", "50057"),
        ("WS_PING_INTERVAL", "30s"),
        ("WS_PONG_TIMEOUT", "60s"),
        ("WS_ALLOW_ANONYMOUS", "true"),
        ("REDIS_HOST", "localhost"),
        ("REDIS_PORT", "6379"),
        ("REDIS_PASSWORD", ""),
        ("REDIS_DB", "0"),
        ("REDIS_POOL_SIZE", "100"),
        ("METRICS_ENABLED", "true"),
        ("METRICS_PORT", "9057"),
        ("LOG_LEVEL", "info"),
        ("LOG_FORMAT", "json"),
    ])
    .unwrap();
    assert_eq!(plain.settings, printed.settings);
    let ports = |config: &Config| {
        [&config.plain_listen, &config.internal_listen, &config.grpc.listen].map(|binds| binds[0].address.port())
    };
    assert_eq!(ports(&plain), [3003, 9057, 50057]);
    let seconds = Duration::from_secs;
    let times = |config: &Config| [config.timeouts.head, config.timeouts.ping, config.timeouts.pong];
    assert_eq!(times(&plain), [seconds(15), seconds(30), seconds(60)]);
    assert!(
        plain.anonymous && plain.public_metrics && plain.internal_metrics && plain.grpc.open && plain.grpc.realtime
    );
    assert_eq!(plain.settings.redis.urls[0].to_string(), "redis://localhost:6379");
    // Each of them counts.
    let other = read(&[
        ("HTTP_PORT", "13003"),
        ("HTTP_READ_TIMEOUT", "5s"),
        ("GRPC_PORT", "15057"),
        ("WS_PING_INTERVAL", "20s"),
        ("WS_PONG_TIMEOUT", "40s"),
        ("WS_ALLOW_ANONYMOUS", "false"),
        ("REDIS_HOST", "redis.example"),
        ("REDIS_PORT", "6380"),
        ("REDIS_PASSWORD", "s3cret"),
        ("REDIS_DB", "3"),
        ("JWT_SECRET", "a-secret-of-thirty-two-bytes-or-more"),
        ("METRICS_ENABLED", "false"),
        ("METRICS_PORT", "19057"),
        ("LOG_LEVEL", "debug"),
        ("LOG_FORMAT", "text"),
    ])
    .unwrap();
    assert_eq!(ports(&other), [13003, 19057, 15057]);
    assert_eq!(times(&other), [seconds(5), seconds(20), seconds(40)]);
    assert!(!other.anonymous && !other.public_metrics && !other.internal_metrics && other.tokens.has_keys());
    let redis = other.redis.unwrap();
    assert_eq!((redis.nodes, redis.database), (vec![("redis.example".to_owned(), 6380)], 3));
    assert_eq!(redis.password.unwrap().reveal(), "s3cret");
    assert_eq!((other.log_level, other.log), (LogLevel::Debug, LogFormat::Text));
    // The secret that the document prints is too short to be one, and that is said without showing it.
    for (name, value, says) in [
        ("JWT_SECRET", "your-jwt-secret", "it has 15 bytes, and HS256 needs at least 32 (RFC 7518 section 3.2)"),
        ("REDIS_DB", "first", "behind the slash there is no number of a database"),
        ("WS_PING_INTERVAL", "30", "it has no unit"),
    ] {
        let error = read(&[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(&format!("it comes from {name}")), "{error}");
        assert!(!error.contains("your-jwt"), "{error}");
    }
}

async fn grpc(pod: &Pod) -> RealtimeServiceClient<Channel> {
    let address = format!("http://{}", pod.addresses().grpc[0]);
    RealtimeServiceClient::new(Channel::from_shared(address).unwrap().connect().await.unwrap())
}

/// The value of a series on the public listener.
async fn value(pod: &Pod, series: &str) -> f64 {
    let (_, text) = get(pod, "/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ticketing_over_a_cluster() {
    let cluster = block_in_place(|| Cluster::start(3, 0));
    let urls: Vec<_> = cluster.addresses().iter().map(|(host, port)| format!("redis://{host}:{port}")).collect();
    let secret = "a-secret-of-thirty-two-bytes-or-more";
    let pods = [(); 2].map(|()| preset("ticketing", &urls.join(","), &[("JWT_SECRET", secret)]));
    for pod in &pods {
        ready(pod).await;
    }
    let token = signed(&json!({"user_id": "u1"}), secret);
    let mut user = open(&pods[0], &format!("/ws?token={token}")).await;
    let mut guest = open(&pods[1], "/ws").await;
    user.json().await;
    guest.json().await;
    guest.send(r#"{"type":"room:join","payload":{"event_id":"123"}}"#).await;
    user.send(r#"{"type":"room:join","payload":{"room":"event:123"}}"#).await;
    // Members are known to the fleet a moment later.
    let mut other = grpc(&pods[1]).await;
    let began = Instant::now();
    loop {
        let stats = other.get_connection_stats(GetConnectionStatsRequest { room: "event:123".into() }).await.unwrap();
        let stats = stats.into_inner();
        if stats.connections_per_room["event:123"] == 2 && stats.authenticated_connections == 1 {
            assert_eq!((stats.total_connections, stats.anonymous_connections), (2, 1));
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{stats:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // A caller of one pod reaches a user of the other.
    let booking = NotifyBookingResultRequest {
        user_id: "u1".into(),
        booking_id: "b1".into(),
        success: true,
        message: "Booking confirmed".into(),
        booking_reference: "BK12345".into(),
        event_id: "e1".into(),
        seat_numbers: vec!["A1".into(), "A2".into()],
        total_amount: "100.00".into(),
        currency: "USD".into(),
    };
    let answer = other.notify_booking_result(booking).await.unwrap().into_inner();
    assert_eq!((answer.delivered, answer.active_connections), (true, 1));
    let expected = json!({"type": "booking:confirmed", "payload": {
        "booking_id": "b1", "booking_reference": "BK12345", "success": true, "message": "Booking confirmed",
        "event_id": "e1", "seat_numbers": ["A1", "A2"], "total_amount": "100.00", "currency": "USD"}});
    assert_eq!(user.json().await, expected);
    let nobody = NotifyBookingResultRequest { user_id: "u2".into(), ..NotifyBookingResultRequest::default() };
    assert!(!other.notify_booking_result(nobody).await.unwrap().into_inner().delivered);
    let payload = r#"{"event_id":"123","left":5}"#.to_owned();
    let (event_type, room) = ("ticket:availability".to_owned(), "event:123".to_owned());
    let event = BroadcastEventRequest { event_type, room, payload, ..BroadcastEventRequest::default() };
    assert_eq!(other.broadcast_event(event).await.unwrap().into_inner().recipients, 2);
    let expected = json!({"type": "ticket:availability", "payload": {"event_id": "123", "left": 5}});
    assert_eq!((guest.json().await, user.json().await), (expected.clone(), expected));
    guest.send(r#"{"type":"system:ping"}"#).await;
    guest.json().await;
    guest.send("rubbish").await;
    guest.json().await;
    let failed = other.broadcast_event(BroadcastEventRequest::default()).await;
    assert!(failed.is_err());

    // The document's metrics, by their names; what others may choose is `other`.
    publish(&pods[1], "event:123", "their:own", "1").await;
    guest.json().await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    for (pod, all, known, anonymous) in [(&pods[0], 1.0, 1.0, 0.0), (&pods[1], 1.0, 0.0, 1.0)] {
        assert_eq!(value(pod, "realtime_websocket_connections_total").await, all);
        assert_eq!(value(pod, "realtime_websocket_connections_authenticated").await, known);
        assert_eq!(value(pod, "realtime_websocket_connections_anonymous").await, anonymous);
        assert_eq!(value(pod, "realtime_websocket_connections_per_room{room=\"event\"}").await, 1.0);
        assert_eq!(value(pod, "realtime_websocket_connections_per_room{room=\"user\"}").await, known);
    }
    let pod = &pods[1];
    for (series, expected) in [
        ("realtime_messages_sent_total{type=\"system:connected\"}", 1.0),
        ("realtime_messages_sent_total{type=\"system:pong\"}", 1.0),
        ("realtime_messages_sent_total{type=\"system:error\"}", 1.0),
        ("realtime_messages_sent_total{type=\"ticket:availability\"}", 1.0),
        ("realtime_messages_sent_total{type=\"other\"}", 1.0),
        ("realtime_messages_received_total{type=\"room:join\"}", 1.0),
        ("realtime_messages_received_total{type=\"system:ping\"}", 1.0),
        ("realtime_messages_received_total{type=\"other\"}", 1.0),
        ("realtime_notifications_delivered_total{type=\"booking:confirmed\"}", 1.0),
        ("realtime_grpc_requests_total{method=\"NotifyBookingResult\"}", 2.0),
        ("realtime_grpc_requests_total{method=\"BroadcastEvent\"}", 2.0),
        ("realtime_grpc_request_duration_seconds_count{method=\"BroadcastEvent\"}", 2.0),
        ("realtime_errors_total{type=\"bad_request\"}", 1.0),
        ("realtime_errors_total{type=\"grpc\"}", 1.0),
        ("realtime_message_broadcast_total", 2.0),
    ] {
        assert_eq!(value(pod, series).await, expected, "{series}");
    }
    assert!(value(pod, "realtime_pubsub_messages_received_total").await >= 2.0);
    assert!(value(pod, "realtime_pubsub_messages_published_total").await >= 3.0);
    let (_, text) = get(pod, "/metrics").await;
    assert_eq!(
        crate::harness::get(pod, "/metrics").await.1.contains("realtime_websocket"),
        text.contains("realtime_websocket")
    );
    for (name, says) in REALTIME_DESCRIPTIONS {
        assert!(text.contains(&format!("# HELP {name} {says}")), "{name}");
    }
    assert!(text.contains("# TYPE realtime_websocket_connections_total gauge"));
    let page = include_str!("../../docs/PRESETS.md");
    for name in
        text.lines().filter_map(|line| line.strip_prefix("# TYPE realtime_")).map(|l| l.split(' ').next().unwrap())
    {
        assert!(page.contains(&format!("`realtime_{name}")), "docs/PRESETS.md does not name realtime_{name}");
    }
    // Leaving is seen as well.
    drop(user);
    let began = Instant::now();
    while value(&pods[0], "realtime_websocket_connections_total").await != 0.0 {
        assert!(began.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(value(&pods[0], "realtime_websocket_connections_per_room{room=\"event\"}").await, 0.0);
    assert_eq!(value(&pods[0], "realtime_websocket_connections_authenticated").await, 0.0);
    for pod in pods {
        pod.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ticketing_without_redis_is_not_ready_and_says_so() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let pod = preset("ticketing", &format!("redis://{host}:{port}"), &[]);
    ready(&pod).await;
    let mut guest = open(&pod, "/ws").await;
    guest.json().await;
    block_in_place(|| server.kill());
    let began = Instant::now();
    while get(&pod, "/ready").await.0 != 503 {
        assert!(began.elapsed() < Duration::from_secs(15));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(get(&pod, "/ready").await.1, "{\"status\":\"degraded\"}");
    assert_eq!(get(&pod, "/health").await.0, 200);
    // Who is here stays, and is answered.
    guest.send(r#"{"type":"system:ping"}"#).await;
    assert_eq!(guest.json().await["type"], "system:pong");
    let booking = NotifyBookingResultRequest { user_id: "u1".into(), ..NotifyBookingResultRequest::default() };
    let refused = grpc(&pod).await.notify_booking_result(booking).await.unwrap_err();
    assert!(matches!(refused.code(), tonic::Code::Unavailable | tonic::Code::DeadlineExceeded), "{refused}");
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fleets_in_two_databases_of_one_server_do_not_hear_each_other() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let port = port.to_string();
    let fleet = |database: &str| {
        let variables = set(&[("REDIS_HOST", &host), ("REDIS_PORT", &port), ("REDIS_DB", database)]);
        start(merge_over(Preset::named("ticketing"), &Flags::new(), &variables, None).unwrap().settings)
    };
    let pods = [fleet("3"), fleet("3"), fleet("0")];
    for pod in &pods {
        ready(pod).await;
    }
    let mut clients = Vec::new();
    for pod in &pods {
        let mut client = open(pod, "/ws").await;
        client.json().await;
        client.send(r#"{"type":"room:join","payload":{"room":"event:1"}}"#).await;
        clients.push(client);
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    publish(&pods[0], "event:1", "ticket:availability", "3").await;
    publish(&pods[2], "event:1", "ticket:availability", "0").await;
    for (client, expected) in clients.iter_mut().zip([3, 3, 0]) {
        assert_eq!(client.json().await["payload"], expected);
        assert!(client.is_quiet().await);
    }
    let keys = block_in_place(|| {
        let mut link = server.link().unwrap();
        [0, 3].map(|database: i32| {
            link.call(&["SELECT", &database.to_string()]).unwrap().ok();
            link.call(&["DBSIZE"]).unwrap().number()
        })
    });
    assert!(keys.iter().all(|keys| *keys > 0), "{keys:?}");
    for pod in pods {
        pod.stop();
    }
    // A cluster has one database: such a pod says so in its log, and is not ready.
    let cluster = block_in_place(|| Cluster::start(3, 0));
    let (host, port) = cluster.addresses()[0].clone();
    let pod = preset("ticketing", &format!("redis://{host}:{port}/3"), &[]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(get(&pod, "/ready").await, (503, "{\"status\":\"starting\"}".to_owned()));
    pod.stop();
}

/// A token (HS256, RFC 7515).
fn signed(claims: &Value, secret: &str) -> String {
    use aws_lc_rs::hmac;
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
    let input = format!("{}.{}", BASE64.encode(r#"{"alg":"HS256"}"#), BASE64.encode(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), input.as_bytes());
    format!("{input}.{}", BASE64.encode(tag))
}
