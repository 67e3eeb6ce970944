//! Rooms end to end over a socket: join, receive, come back, leave.

use std::time::Duration;

use crate::harness::{Client, Seen, pod, publish};
use roomcast::testing::{
    config::{Flags, Variables, merge},
    hub::ConnectionFilter,
    model::{Act, Order, Retain, Room, Target},
    pod::Pod,
};
use roomcast_websocket::Offer;
use serde_json::{Value, json};
use testkit::redis::Standalone;
use tokio::task::block_in_place;

#[tokio::test]
async fn a_room_end_to_end() {
    let pod = pod(|_| ());
    let address = pod.addresses().plain[0];
    let mut plain = Client::connect(address).await;
    let mut deflate = Client::connect_with(address, Some(Offer::default())).await;
    assert!(deflate.deflate);
    let joined = plain.subscribe("trip:1").await;
    assert_eq!((joined["offset"].as_u64(), joined["recovered"].as_bool()), (Some(0), Some(false)));
    deflate.subscribe("trip:1").await;
    let data = format!("{{\"text\": \"{}\"}}", "lorem ipsum ".repeat(100));
    let position = publish(&pod, "trip:1", "moved", &data).await;
    for client in [&mut plain, &mut deflate] {
        let events = client.json().await;
        assert_eq!(events["type"], "events");
        assert_eq!((events["after"].as_u64(), events["offset"].as_u64()), (Some(0), Some(1)));
        assert_eq!(events["epoch"], position.epoch.as_str());
        assert_eq!(events["events"][0]["data"]["text"].as_str().unwrap().len(), 1200);
    }
    // Away for three events, then back with the position.
    drop(plain);
    for n in 2..=4 {
        publish(&pod, "trip:1", "moved", &n.to_string()).await;
    }
    let mut back = Client::connect(address).await;
    let since = json!({"epoch": position.epoch.as_str(), "offset": 1});
    let joined = back.ask(json!({"type": "subscribe", "room": "trip:1", "since": since, "id": 7})).await;
    assert_eq!(joined["type"], "subscribed");
    assert_eq!((&joined["recovered"], &joined["offset"], &joined["id"]), (&json!(true), &json!(1), &json!(7)));
    let mut offset = 1;
    while offset < 4 {
        let events = back.json().await;
        assert_eq!(events["after"], offset, "{events}");
        offset = events["offset"].as_u64().unwrap();
    }
    let left = back.ask(json!({"type": "unsubscribe", "room": "trip:1"})).await;
    assert_eq!(left["type"], "unsubscribed");
    publish(&pod, "trip:1", "moved", "5").await;
    assert!(back.is_quiet().await);
    pod.stop();
}

/// What is said of a room, in short.
fn short(message: &Value) -> (&str, Value, &str) {
    let code = message["code"].as_str().unwrap_or_default();
    (message["type"].as_str().unwrap(), message["id"].clone(), code)
}

#[tokio::test]
async fn who_leaves_before_it_is_in_has_both_answers() {
    // What is retained is read first: nobody is in such a room at once.
    let pod = pod(|settings| settings.default_policy.retain = Retain::Room);
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    publish(&pod, "r", "t", "1").await;
    client
        .send_at_once(&[
            json!({"type": "subscribe", "room": "r", "id": 1}),
            json!({"type": "unsubscribe", "room": "r", "id": 2}),
            json!({"type": "unsubscribe", "room": "r", "id": 3}),
            json!({"type": "subscribe", "room": "r", "id": 4}),
            json!({"type": "subscribe", "room": "r", "id": 5}),
        ])
        .await;
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(client.json().await);
    }
    answers.sort_by_key(|answer| answer["id"].as_u64());
    let answers: Vec<_> = answers.iter().map(short).collect();
    let expected = [
        ("error", json!(1), "not_subscribed"),
        ("unsubscribed", json!(2), ""),
        ("error", json!(3), "not_subscribed"),
        ("subscribed", json!(4), ""),
        ("error", json!(5), "already_subscribed"),
    ];
    assert_eq!(answers, expected);
    assert_eq!(client.json().await["retained"], true);
    // Nobody waits for the answer to what has no `id`.
    publish(&pod, "s", "t", "1").await;
    client
        .send_at_once(&[
            json!({"type": "subscribe", "room": "s"}),
            json!({"type": "unsubscribe", "room": "s", "id": 6}),
        ])
        .await;
    assert_eq!(short(&client.json().await), ("unsubscribed", json!(6), ""));
    publish(&pod, "r", "t", "2").await;
    assert_eq!(client.json().await["events"][0]["data"], 2, "it is in once");
    assert!(client.is_quiet().await);
    pod.stop();
}

/// A pod over a Redis that a test may stop, so that what is read from it waits.
fn over(server: &Standalone, toml: &str) -> Pod {
    let (host, port) = server.address();
    let text = format!("[redis]\nurls = [\"redis://{host}:{port}\"]\n{toml}");
    let file = merge(&Flags::new(), &Variables::new(), Some((std::path::Path::new("rooms.toml"), &text))).unwrap();
    pod(|settings| {
        settings.redis = file.settings.redis;
        settings.redis.command_timeout = Duration::from_secs(8);
        settings.dialects = file.settings.dialects;
        settings.socketio = file.settings.socketio;
        settings.policies = file.settings.policies;
    })
}

async fn order(pod: &Pod, connection: &Value, act: Act) -> Option<usize> {
    let target = Target::Connection(connection.as_str().unwrap().into());
    pod.services().queues.obey(Order { target, act }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_or_is_taken_out_while_the_log_is_read_is_told_at_once() {
    let server = block_in_place(Standalone::start);
    let pod = over(&server, "");
    let address = pod.addresses().plain[0];
    let mut member = Client::connect(address).await;
    let since = member.subscribe("r").await;
    for n in 1..=3 {
        publish(&pod, "r", "t", &n.to_string()).await;
        assert_eq!(member.json().await["offset"], n);
    }
    let mut client = Client::raw(address, None).await;
    let name = client.json().await["connection"].clone();
    block_in_place(|| server.pause());
    let since = json!({"epoch": since["epoch"], "offset": 0});
    let subscribe = |id: u32| json!({"type": "subscribe", "room": "r", "since": since, "id": id});
    client.send(&subscribe(1).to_string()).await;
    assert!(client.is_quiet().await, "the log is being read");
    // By its own will.
    client.send(r#"{"type":"unsubscribe","room":"r","id":2}"#).await;
    let (joined, left) = (client.json().await, client.json().await);
    assert_eq!(short(&joined), ("error", json!(1), "not_subscribed"), "{joined}");
    assert_eq!((&joined["room"], short(&left)), (&json!("r"), ("unsubscribed", json!(2), "")));
    // By the backend's: that is the answer to its command, and the only one.
    client.send(&subscribe(3).to_string()).await;
    assert!(client.is_quiet().await);
    let room = Room::parse("r").unwrap();
    assert_eq!(order(&pod, &name, Act::Unsubscribe(room.clone())).await, Some(1));
    assert_eq!(short(&client.json().await), ("error", json!(3), "removed"));
    // What it was put into unasked, it need not be told that it never was in.
    let other = Room::parse("other").unwrap();
    assert_eq!(order(&pod, &name, Act::Subscribe(other.clone())).await, Some(1));
    assert_eq!(order(&pod, &name, Act::Unsubscribe(other)).await, Some(1));
    assert!(client.is_quiet().await);
    // Who stays has what it came for, and who left nothing of it.
    client.send(&subscribe(4).to_string()).await;
    block_in_place(|| server.resume());
    let joined = client.json().await;
    assert_eq!((short(&joined), &joined["recovered"]), (("subscribed", json!(4), ""), &json!(true)), "{joined}");
    let mut seen = 0;
    while seen < 3 {
        let events = client.json().await;
        assert_eq!(events["after"], seen, "{events}");
        seen = events["offset"].as_u64().unwrap();
    }
    publish(&pod, "r", "t", "4").await;
    assert_eq!((client.json().await["after"].clone(), member.json().await["after"].clone()), (json!(3), json!(3)));
    assert!(client.is_quiet().await);
    pod.stop();
}

/// Sessions whose first room is not there at once, and has others behind it or a greeting in it.
const SESSIONS: &str = r#"
[[policy]]
match = ["first:*"]
history_size = 0

[[dialect]]
name = "chained"
paths = ["/chained"]
rooms = ["first:{query:s}", "second:{query:s}"]
continue_after = "{query:after}"
[[dialect.command]]
when = { "/do" = "leave" }
does = "unsubscribe"
room = "{/room}"
[[dialect.message]]
on = "subscribed"
write = '["in", "{room}"]'
[[dialect.message]]
on = "unsubscribed"
write = '["out", "{room}"]'
[[dialect.message]]
on = "error"
write = '["error", "{code}", "{room?}"]'
[[dialect.event]]
write = '"{data}"'

[[dialect]]
name = "greeted"
paths = ["/greeted"]
rooms = ["first:{query:s}"]
greet = "in_room"
[[dialect.command]]
when = { "/do" = "leave" }
does = "unsubscribe"
room = "{/room}"
[[dialect.message]]
on = "welcome"
write = '["welcome"]'
[[dialect.message]]
on = "refused"
write = '["refused", "{code}"]'
[[dialect.event]]
write = '"{data}"'
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_its_first_room_early_has_the_others_or_is_refused() {
    let server = block_in_place(Standalone::start);
    let pod = over(&server, SESSIONS);
    let address = pod.addresses().plain[0];
    block_in_place(|| server.pause());
    let open = async |target: &str| Client::open(address, target, &[], &[], None).await.unwrap();
    let mut chained = open("/chained?s=a&after=x").await;
    let mut greeted = open("/greeted?s=b").await;
    chained.send(r#"{"do":"leave","room":"first:a"}"#).await;
    greeted.send(r#"{"do":"leave","room":"first:b"}"#).await;
    assert_eq!(chained.json().await, json!(["error", "not_subscribed", "first:a"]));
    assert_eq!(chained.json().await, json!(["out", "first:a"]));
    // A client that is greeted in its room would wait for ever.
    assert_eq!(greeted.json().await, json!(["refused", "not_subscribed"]));
    assert_eq!(greeted.next().await, Seen::Close(Some(1008)));
    block_in_place(|| server.resume());
    assert_eq!(chained.json().await, json!(["in", "second:a"]));
    publish(&pod, "first:a", "t", "1").await;
    publish(&pod, "second:a", "t", "2").await;
    assert_eq!(chained.json().await, json!(2));
    assert!(chained.is_quiet().await);
    pod.stop();
}

/// The next packet of a Socket.IO client.
async fn packet(client: &mut Client) -> String {
    loop {
        match client.next().await {
            Seen::Text(packet) => return packet,
            // A ping.
            Seen::Json(_) => client.send("3").await,
            other => panic!("{other:?} instead of a packet"),
        }
    }
}

fn session(packet: &str) -> Value {
    serde_json::from_str(packet.strip_prefix("40").unwrap_or_else(|| panic!("{packet} is no connect"))).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_taken_out_while_it_comes_back_begins_anew() {
    let server = block_in_place(Standalone::start);
    let pods = [(); 2].map(|()| over(&server, "[socketio]\nenabled = true\n"));
    for pod in &pods {
        while crate::harness::get(pod, "/ready").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let open = async |pod: &Pod| {
        let target = "/socket.io/?EIO=4&transport=websocket";
        let mut client = Client::open(pod.addresses().plain[0], target, &[], &[], None).await.unwrap();
        assert!(packet(&mut client).await.starts_with("0{"));
        client
    };
    let mut first = open(&pods[0]).await;
    first.send("40").await;
    let was = session(&packet(&mut first).await);
    first.send(r#"420["subscribe",{"room":"r"}]"#).await;
    while !packet(&mut first).await.starts_with("430") {}
    publish(&pods[0], "r", "t", "1").await;
    let event: Value = serde_json::from_str(packet(&mut first).await.strip_prefix("42").unwrap()).unwrap();
    let offset = event.as_array().unwrap().last().unwrap().clone();
    // What the session is has to be written down.
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(first);
    // Another pod can read all of it, but for a moment it may not hear the room: the session waits at the door.
    block_in_place(|| server.call(&["ACL", "SETUSER", "default", "-ssubscribe", "-subscribe"]));
    let mut back = open(&pods[1]).await;
    back.send(&format!("40{}", json!({"pid": was["pid"], "offset": offset}))).await;
    assert!(back.is_quiet().await, "it is coming back");
    let everybody = ConnectionFilter { limit: 10, ..ConnectionFilter::default() };
    let all = pods[1].services().queues.ask_all(move |worker| worker.list_connections(&everybody).connections);
    let name = all.await.unwrap().into_iter().flatten().next().expect("a connection").id.to_string();
    assert_eq!(order(&pods[1], &json!(name), Act::Unsubscribe(Room::parse("r").unwrap())).await, Some(1));
    let now = session(&packet(&mut back).await);
    assert!(now["sid"] != was["sid"] && now["pid"] != was["pid"], "{now}");
    block_in_place(|| server.call(&["ACL", "SETUSER", "default", "+ssubscribe", "+subscribe"]));
    // It is a session like any other, and in no room.
    publish(&pods[1], "r", "t", "2").await;
    back.send(r#"420["subscribe",{"room":"r"}]"#).await;
    loop {
        let packet = packet(&mut back).await;
        assert!(!packet.contains("\"events\""), "{packet}");
        if packet.starts_with("430") {
            assert!(packet.contains("subscribed"), "{packet}");
            break;
        }
    }
    for pod in pods {
        pod.stop();
    }
}
