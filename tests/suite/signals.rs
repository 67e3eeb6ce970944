//! Signals, as clients meet them: to whom they go, how they end, what is dropped without a word.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testkit::redis::Standalone;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::block_in_place,
};

use crate::harness::{Client, Seen, get, pod, publish, rule};
use roomcast::testing::{
    auth::SigningKey,
    config::{HmacSecret, RedisUrl, Settings},
    model::{Access, Policy},
    pod::Pod,
};

const SECRET: &str = "a secret of at least thirty-two bytes";

/// A pod whose rooms take signals, each shown for so long that it does not end by itself, unless a test changes that.
fn start(change: impl FnOnce(&mut Policy), settle: impl FnOnce(&mut Settings)) -> Pod {
    pod(|settings| {
        settings.tokens.hmac_secrets = vec![HmacSecret::new(SECRET).unwrap()];
        settings.policies = vec![rule("chat:*", |policy| {
            (policy.signal, policy.signal_ttl) = (Access::Anyone, Duration::from_secs(60));
            change(policy);
        })];
        settle(settings);
    })
}

fn bearer(user: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let key = SigningKey::secret(&HmacSecret::new(SECRET).unwrap());
    format!("Bearer {}", key.token(&json!({"sub": user, "exp": now + 600}), None).unwrap())
}

/// A command of a user that has no connection.
async fn sends_by_request(pod: &Pod, user: &str, command: Value) {
    let (bearer, body) = (bearer(user), command.to_string());
    let head = format!("POST /send HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\nContent-Length: {}", body.len());
    let mut stream = TcpStream::connect(pod.addresses().plain[0]).await.unwrap();
    stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("\"done\""), "{answer}");
}

/// A connection of a user, in `chat:1`.
async fn member(pod: &Pod, user: &str) -> Client {
    let bearer = bearer(user);
    let headers = [("Authorization", bearer.as_str())];
    let address = pod.addresses().plain[0];
    let mut client = Client::open(address, "/ws", &["roomcast.v1"], &headers, None).await.unwrap();
    assert_eq!(client.json().await["type"], "welcome");
    client.subscribe("chat:1").await;
    client
}

/// A connection without a user, in `chat:1`, and its name.
async fn nameless(pod: &Pod) -> (Client, Value) {
    let address = pod.addresses().plain[0];
    let mut client = Client::open(address, "/ws", &["roomcast.v1"], &[], None).await.unwrap();
    let name = client.json().await["connection"].clone();
    client.subscribe("chat:1").await;
    (client, name)
}

fn typing(ttl: Value) -> Value {
    json!({"type": "signal", "id": 1, "room": "chat:1", "topic": "typing", "ttl": ttl})
}

async fn sends(client: &mut Client, signal: Value) {
    assert_eq!(client.ask(signal).await, json!({"type": "done", "id": 1}));
}

/// The next message is a signal: its sender, and how long it is shown.
async fn signalled(client: &mut Client) -> (Value, u64) {
    let signal = client.json().await;
    assert_eq!((&signal["type"], &signal["room"]), (&json!("signal"), &json!("chat:1")), "{signal}");
    assert!(signal["user"].is_null() != signal["connection"].is_null() && signal["offset"].is_null(), "{signal}");
    let sender = if signal["user"].is_null() { &signal["connection"] } else { &signal["user"] };
    (sender.clone(), signal["ttl"].as_u64().unwrap())
}

/// The next message is an event: nothing came before it.
async fn sees_event(client: &mut Client) {
    let message = client.json().await;
    assert_eq!(message["type"], "events", "{message}");
}

#[tokio::test]
async fn a_signal_reaches_the_others_and_moves_nothing() {
    let pod = start(|_| {}, |_| {});
    let (mut ann, mut ann_too, mut bob) =
        (member(&pod, "ann").await, member(&pod, "ann").await, member(&pod, "bob").await);
    let (mut nobody, name) = nameless(&pod).await;
    let data = json!({"in": ["thread", 3]});
    sends(&mut ann, json!({"type": "signal", "id": 1, "room": "chat:1", "topic": "typing", "data": data})).await;
    let signal = bob.json().await;
    let expected = json!({
        "type": "signal", "room": "chat:1", "topic": "typing", "user": "ann", "data": data, "ttl": 60_000,
        "time": signal["time"],
    });
    assert_eq!(signal, expected);
    assert_eq!(signalled(&mut nobody).await, (json!("ann"), 60_000));
    // Without an `id` nothing is answered.
    ann.send(r#"{"type":"signal","room":"chat:1","topic":"typing","ttl":0}"#).await;
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 0));
    assert_eq!(signalled(&mut nobody).await, (json!("ann"), 0));
    sends(&mut nobody, typing(json!(7_000))).await;
    for client in [&mut ann, &mut ann_too, &mut bob] {
        assert_eq!(signalled(client).await, (name.clone(), 7_000));
    }
    // The log has nothing of it, and no device of its sender saw it.
    assert_eq!(publish(&pod, "chat:1", "t", "1").await.offset, 1);
    for client in [&mut ann, &mut ann_too, &mut bob, &mut nobody] {
        sees_event(client).await;
    }
    assert_eq!(ann.ask(json!({"type": "history", "room": "chat:1"})).await["events"].as_array().unwrap().len(), 1);
    pod.stop();
}

#[tokio::test]
async fn it_ends_by_itself_and_with_its_sender() {
    let pod = start(|policy| policy.signal_every = Duration::ZERO, |_| {});
    let (mut ann, mut bob) = (member(&pod, "ann").await, member(&pod, "bob").await);
    sends(&mut ann, typing(json!(50))).await;
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 50));
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 0), "by itself");
    sends(&mut ann, typing(Value::Null)).await;
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 60_000));
    ann.ask(json!({"type": "unsubscribe", "room": "chat:1"})).await;
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 0), "ann left the room");
    ann.subscribe("chat:1").await;
    sends(&mut ann, typing(Value::Null)).await;
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 60_000));
    drop(ann);
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 0), "the connection ended");
    pod.stop();
}

#[tokio::test]
async fn the_device_that_leaves_does_not_end_what_another_shows() {
    let pod = start(|policy| policy.signal_every = Duration::ZERO, |_| {});
    let (mut phone, mut laptop, mut bob) =
        (member(&pod, "ann").await, member(&pod, "ann").await, member(&pod, "bob").await);
    sends(&mut phone, typing(json!(50_000))).await;
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 50_000));
    sends(&mut laptop, typing(json!(40_000))).await;
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 40_000));
    phone.ask(json!({"type": "unsubscribe", "room": "chat:1"})).await;
    drop(laptop);
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 0));
    publish(&pod, "chat:1", "t", "1").await;
    sees_event(&mut bob).await;
    pod.stop();
}

#[tokio::test]
async fn what_comes_too_soon_is_dropped_without_a_word_and_a_stop_never() {
    let pod = start(|policy| policy.signal_every = Duration::from_secs(60), |_| {});
    let (mut ann, mut bob) = (member(&pod, "ann").await, member(&pod, "bob").await);
    for _ in 0..10 {
        sends(&mut ann, typing(json!(9_000))).await;
    }
    // Another topic is another signal.
    sends(&mut ann, json!({"type": "signal", "id": 1, "room": "chat:1", "topic": "recording"})).await;
    let mut topics = Vec::new();
    for _ in 0..2 {
        topics.push(bob.json().await["topic"].as_str().unwrap().to_owned());
    }
    topics.sort();
    assert_eq!(topics, ["recording", "typing"]);
    for _ in 0..3 {
        sends(&mut ann, typing(json!(0))).await;
        sends(&mut ann, typing(json!(9_000))).await;
    }
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 0), "once");
    publish(&pod, "chat:1", "t", "1").await;
    sees_event(&mut bob).await;
    let metrics = get(&pod, "/metrics").await.1;
    assert!(metrics.contains("roomcast_signals_total{outcome=\"thinned\"} 14"), "{metrics}");
    pod.stop();
}

#[tokio::test]
async fn a_flood_closes_nothing() {
    let slow = |policy: &mut Policy| policy.signal_every = Duration::from_secs(60);
    let pod = start(slow, |settings| (settings.limits.commands_per_second, settings.limits.command_burst) = (1, 5));
    let (mut ann, mut bob) = (member(&pod, "ann").await, member(&pod, "bob").await);
    let mut flood: Vec<Value> = (0..300).map(|_| typing(Value::Null)).collect();
    flood.iter_mut().for_each(|signal| drop(signal.as_object_mut().unwrap().remove("id")));
    flood.push(json!({"type": "ping", "id": 2}));
    ann.send_at_once(&flood).await;
    assert_eq!(ann.json().await, json!({"type": "pong", "id": 2}));
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 60_000));
    // What comes behind it is read later, and read.
    sends(&mut ann, typing(json!(0))).await;
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 0));
    pod.stop();
}

#[tokio::test]
async fn what_is_wrong_is_told() {
    let pod = start(
        |_| {},
        |settings| {
            settings.policies.push(rule("user:*", |policy| policy.signal = Access::User));
        },
    );
    let (mut nobody, _) = nameless(&pod).await;
    for room in ["user:1", "plain"] {
        nobody.subscribe(room).await;
    }
    let signal = |room: &str| json!({"type": "signal", "room": room, "topic": "t"});
    let with = |name: &str, value: Value| {
        let mut signal = signal("chat:1");
        signal[name] = value;
        signal
    };
    for (message, code) in [
        (signal("plain"), "not_available"),
        (signal("user:1"), "forbidden"),
        (signal("chat:2"), "not_subscribed"),
        (with("ttl", json!(60_001)), "bad_request"),
        (with("ttl", json!(-1)), "bad_request"),
        (with("topic", json!("")), "bad_request"),
        (with("data64", json!("AAAA")), "bad_request"),
        (with("data", json!("x".repeat(1_100))), "limit_exceeded"),
        (with("room", json!("no room")), "bad_room"),
    ] {
        let answer = nobody.ask(message.clone()).await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)), "{message}: {answer}");
    }
    pod.stop();
}

#[tokio::test]
async fn more_topics_than_a_connection_may_show_are_refused() {
    let pod = start(|policy| policy.signals_per_second = 1_000, |settings| settings.limits.signals_per_second = 1_000);
    let (mut ann, mut bob) = (member(&pod, "ann").await, member(&pod, "bob").await);
    let signal = |n: usize| json!({"type": "signal", "id": 1, "room": "chat:1", "topic": n.to_string()});
    for n in 0..16 {
        sends(&mut ann, signal(n)).await;
    }
    assert_eq!(ann.ask(signal(16)).await["code"], "limit_exceeded");
    for _ in 0..16 {
        assert_eq!(signalled(&mut bob).await, (json!("ann"), 60_000));
    }
    // All of them end with it.
    drop(ann);
    for _ in 0..16 {
        assert_eq!(signalled(&mut bob).await, (json!("ann"), 0));
    }
    pod.stop();
}

#[tokio::test]
async fn a_stream_without_a_socket_hears_signals() {
    let pod = start(|_| {}, |_| {});
    let mut ann = member(&pod, "ann").await;
    let poll = tokio::spawn({
        let address = pod.addresses().plain[0];
        async move {
            // The first answer says where the room stands; the next one waits for news.
            let (_, first) = crate::harness::get_from(address, "/poll?room=chat:1").await;
            let cursor = first.rsplit_once("\"cursor\":\"").unwrap().1.split('"').next().unwrap().replace('%', "%25");
            loop {
                let (status, news) =
                    crate::harness::get_from(address, &format!("/poll?room=chat:1&cursor={cursor}")).await;
                assert_eq!(status, 200, "{news}");
                if news.contains("\"signal\"") {
                    return news;
                }
            }
        }
    });
    // A poll that comes too late hears of the next one.
    while !poll.is_finished() {
        for ttl in [60_000, 0] {
            sends(&mut ann, typing(json!(ttl))).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let news = poll.await.unwrap();
    assert!(news.contains("\"topic\":\"typing\",\"user\":\"ann\""), "{news}");
    pod.stop();
}

/// The next packet of a Socket.IO client that is no ping.
async fn packet(client: &mut Client) -> String {
    loop {
        match client.next().await {
            Seen::Text(packet) => return packet,
            Seen::Json(_) => client.send("3").await,
            other => panic!("{other:?} instead of a packet"),
        }
    }
}

#[tokio::test]
async fn socketio_clients_send_and_hear_signals() {
    let pod = start(|_| {}, |settings| settings.socketio.enabled = true);
    let mut bob = member(&pod, "bob").await;
    let target = "/socket.io/?EIO=4&transport=websocket";
    let mut client = Client::open(pod.addresses().plain[0], target, &[], &[], None).await.unwrap();
    assert!(packet(&mut client).await.starts_with("0{"));
    client.send("40").await;
    assert!(packet(&mut client).await.starts_with("40{"));
    client.send(r#"420["subscribe",{"room":"chat:1"}]"#).await;
    while !packet(&mut client).await.starts_with("430") {}
    // Without an acknowledgement there is no answer, with one there is.
    client.send(r#"42["signal",{"room":"chat:1","topic":"typing","ttl":9000}]"#).await;
    assert_eq!(signalled(&mut bob).await.1, 9_000);
    client.send(r#"421["signal",{"room":"chat:1","topic":"typing","ttl":0}]"#).await;
    assert_eq!(packet(&mut client).await, r#"431[{"type":"done"}]"#);
    assert_eq!(signalled(&mut bob).await.1, 0);
    sends(&mut bob, typing(json!(8_000))).await;
    let signal = packet(&mut client).await;
    assert!(
        signal.starts_with(r#"42["signal",{"type":"signal","room":"chat:1","topic":"typing","user":"bob","ttl":8000"#),
        "{signal}"
    );
    drop(bob);
    assert!(packet(&mut client).await.contains(r#""ttl":0"#));
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_pass_from_pod_to_pod_over_redis_and_leave_nothing_there() {
    let server = block_in_place(Standalone::start);
    let pods = [(); 2].map(|()| {
        start(
            |policy| policy.signal_every = Duration::ZERO,
            |settings| {
                let (host, port) = server.address();
                settings.redis.urls = vec![RedisUrl::parse(&format!("redis://{host}:{port}")).unwrap()];
            },
        )
    });
    for pod in &pods {
        while get(pod, "/ready").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let (mut phone, mut laptop, mut bob) =
        (member(&pods[0], "ann").await, member(&pods[1], "ann").await, member(&pods[1], "bob").await);
    sends(&mut phone, typing(json!(50_000))).await;
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 50_000));
    sends(&mut phone, typing(json!(0))).await;
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 0));
    sends(&mut phone, typing(json!(100))).await;
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 100));
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 0), "by itself, on the pod of the receiver");
    // Whichever of them shows it, each takes it back, and so does a request.
    sends(&mut phone, typing(json!(45_000))).await;
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 45_000));
    sends(&mut laptop, typing(json!(0))).await;
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 0));
    sends_by_request(&pods[0], "ann", typing(json!(35_000))).await;
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 35_000));
    sends_by_request(&pods[1], "ann", typing(json!(0))).await;
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 0));
    // Both devices, on two pods, are one sender.
    sends(&mut phone, typing(json!(40_000))).await;
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 40_000));
    sends(&mut laptop, typing(json!(30_000))).await;
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 30_000));
    drop(phone);
    sends(&mut bob, typing(json!(20_000))).await;
    assert_eq!(signalled(&mut laptop).await, (json!("bob"), 20_000));
    drop(laptop);
    assert_eq!(signalled(&mut bob).await, (json!("ann"), 0));
    let keys = block_in_place(|| server.call(&["KEYS", "*"]));
    let keys = format!("{keys:?}");
    assert!(!keys.contains("typing") && !keys.contains("log:chat:1"), "{keys}");
    pods.into_iter().for_each(Pod::stop);
}
