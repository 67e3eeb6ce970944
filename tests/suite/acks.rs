//! What users have read, as clients and backends meet it: what is kept and counted, who is told, what is refused.

use std::time::{Duration, Instant};

use roomcast_proto::roomcast::{GetUnreadRequest, roomcast_client::RoomcastClient};
use serde_json::{Value, json};
use testkit::redis::Standalone;
use tokio::task::block_in_place;
use tonic::Code;

use crate::{
    grpc::{channel, with_key},
    harness::{Client, Seen, get, pod, publish, rule},
    users::{call, connect_as, known, over, ready, signed, token},
};
use roomcast::testing::{
    config::{ListenAddress, PersonalRoom, Settings},
    model::{Access, AckMode},
    pod::Pod,
};

mod bounds;
mod receipts;

/// A pod that keeps what users have read in `chat:*`, and gives each a personal room.
fn start(settle: impl FnOnce(&mut Settings)) -> Pod {
    pod(|settings| {
        known(settings);
        settings.tokens.personal_room = Some(PersonalRoom::parse("user:{user}").unwrap());
        settings.policies = vec![
            rule("chat:*", |policy| policy.acks = AckMode::Keep),
            rule("dm:*", |policy| (policy.acks, policy.publish) = (AckMode::Receipts, Access::User)),
            rule("closed:*", |policy| (policy.acks, policy.join) = (AckMode::Keep, Access::Nobody)),
            rule("user:*", |policy| policy.join = Access::Owner),
        ];
        settings.acks.every = Duration::from_millis(20);
        settle(settings);
    })
}

/// A connection of a user, in its personal room.
async fn device(pod: &Pod, user: &str) -> Client {
    device_with(pod, user, &token(user)).await
}

/// One whose token is this.
async fn device_with(pod: &Pod, user: &str, token: &str) -> Client {
    let mut client = connect_as(pod, token).await;
    let personal = client.json().await;
    assert_eq!((&personal["type"], &personal["room"]), (&json!("subscribed"), &json!(format!("user:{user}"))));
    client
}

/// The answer to a command, whatever comes before it.
async fn answer(client: &mut Client, command: Value) -> Value {
    client.send(&command.to_string()).await;
    loop {
        let message = client.json().await;
        if message["id"] == command["id"] {
            return message;
        }
    }
}

async fn ack(client: &mut Client, room: &str, offset: u64) -> Value {
    answer(client, json!({"type": "ack", "id": "a", "room": room, "offset": offset})).await
}

/// Each room with what was read, its end and what is unread.
fn counts(message: &Value) -> Vec<String> {
    let rooms = message["rooms"].as_array().unwrap_or_else(|| panic!("{message}"));
    let of = |room: &Value| {
        format!("{} {}/{} {}", room["room"].as_str().unwrap(), room["offset"], room["end"], room["unread"])
    };
    rooms.iter().map(of).collect()
}

async fn unread(client: &mut Client, rooms: &[&str]) -> Vec<String> {
    counts(&answer(client, json!({"type": "unread", "id": "u", "rooms": rooms})).await)
}

/// The next message that tells of rooms without being asked.
async fn told(client: &mut Client) -> Vec<String> {
    loop {
        let message = client.json().await;
        if message["type"] == "unread" && message["id"].is_null() {
            return counts(&message);
        }
    }
}

async fn fill(pod: &Pod, room: &str, events: u64) -> String {
    let mut epoch = String::new();
    for _ in 0..events {
        epoch = publish(pod, room, "said", "1").await.epoch.to_string();
    }
    epoch
}

const DONE: &str = "done";

/// What the API says that a user has not read.
async fn api(pod: &Pod, user: &str, rooms: &str) -> (u16, String) {
    let head = format!("GET /api/users/{user}/unread{rooms} HTTP/1.1\r\nAuthorization: Bearer test-key");
    call(pod.addresses().internal[0], &head, "").await
}

#[tokio::test]
async fn what_is_read_on_one_device_is_told_to_the_others_and_counted() {
    let pod = start(|_| {});
    let (mut phone, mut laptop, mut bob) =
        (device(&pod, "ann").await, device(&pod, "ann").await, device(&pod, "bob").await);
    fill(&pod, "chat:1", 5).await;
    fill(&pod, "chat:2", 2).await;
    assert!(unread(&mut laptop, &[]).await.is_empty(), "nothing was acknowledged anywhere");
    // In no room: its log judges.
    assert_eq!(ack(&mut phone, "chat:1", 3).await["type"], DONE);
    assert_eq!(told(&mut laptop).await, ["chat:1 3/5 2"]);
    assert_eq!(told(&mut phone).await, ["chat:1 3/5 2"], "the device itself too");
    // In the room: what was sent is good.
    phone.subscribe("chat:1").await;
    assert_eq!(ack(&mut phone, "chat:1", 5).await["type"], DONE);
    assert_eq!(told(&mut laptop).await, ["chat:1 5/5 0"]);
    // Backwards, and again: nothing changes, and nothing is told.
    for offset in [4, 5, 0] {
        assert_eq!(ack(&mut laptop, "chat:1", offset).await["type"], DONE);
    }
    assert_eq!(ack(&mut laptop, "chat:2", 1).await["type"], DONE);
    assert_eq!(told(&mut phone).await.last().map(String::as_str), Some("chat:1 5/5 0"));
    assert_eq!(told(&mut phone).await, ["chat:2 1/2 1"]);
    fill(&pod, "chat:1", 3).await;
    assert_eq!(unread(&mut laptop, &["chat:9", "chat:1"]).await, ["chat:1 5/8 3", "chat:2 1/2 1", "chat:9 0/0 0"]);
    assert!(unread(&mut bob, &[]).await.is_empty());
    let (status, body) = api(&pod, "ann", "?rooms=chat:3+chat:9").await;
    assert_eq!(status, 200, "{body}");
    let said: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(said["user"], "ann");
    assert_eq!(counts(&said), ["chat:1 5/8 3", "chat:2 1/2 1", "chat:3 0/0 0", "chat:9 0/0 0"]);
    for (rooms, status, code) in
        [("other", 409, "not_available"), ("a%7Bb", 400, "bad_room"), ("chat:1+other", 409, "not_available")]
    {
        let (was, body) = api(&pod, "ann", &format!("?rooms={rooms}")).await;
        assert!(was == status && body.contains(code), "{rooms}: {was} {body}");
    }
    pod.stop();
}

#[tokio::test]
async fn what_the_log_does_not_have_is_refused_and_not_kept() {
    let pod = start(|_| {});
    let mut ann = device(&pod, "ann").await;
    let epoch = fill(&pod, "chat:1", 2).await;
    let mut refused = async |room: &str, epoch: Value, offset: u64| {
        let command = json!({"type": "ack", "id": 7, "room": room, "epoch": epoch, "offset": offset});
        let answer = answer(&mut ann, command).await;
        (answer["code"].clone(), answer["message"].as_str().unwrap_or_default().to_owned())
    };
    for (room, epoch, offset, code, says) in [
        ("chat:1", Value::Null, 3, "bad_position", "3 is beyond it"),
        ("chat:1", json!(epoch), 3, "bad_position", "ends at 2"),
        ("chat:1", json!("another"), 1, "bad_position", "another log by now"),
        ("chat:nothing", Value::Null, 1, "bad_position", "1 is beyond it"),
        ("closed:1", Value::Null, 0, "forbidden", "closed:1"),
        ("chat:1", json!(""), 0, "bad_request", "epoch"),
        ("chat:1", json!(7), 0, "bad_request", "epoch"),
    ] {
        let (was, message) = refused(room, epoch, offset).await;
        assert!(was == code && message.contains(says), "{room} {offset}: {was} {message}");
    }
    for (rooms, code) in [
        (json!(["other"]), "not_available"),
        (json!(["closed:1"]), "forbidden"),
        (json!(["a b"]), "bad_room"),
        (json!("chat:1"), "bad_request"),
        (json!([7]), "bad_request"),
        (json!(vec!["chat:1"; 1_025]), "limit_exceeded"),
    ] {
        let said = answer(&mut ann, json!({"type": "unread", "id": 8, "rooms": rooms})).await;
        assert_eq!(said["code"], code, "{said}");
    }
    assert!(unread(&mut ann, &[]).await.is_empty());
    // Where nothing is kept an ack is nothing.
    assert_eq!(ack(&mut ann, "other", 99).await["type"], DONE);
    let mut nobody = Client::open(pod.addresses().plain[0], "/ws", &["roomcast.v1"], &[], None).await.unwrap();
    assert_eq!(nobody.json().await["type"], "welcome");
    assert_eq!(ack(&mut nobody, "chat:1", 1).await["code"], "unauthorized");
    assert_eq!(answer(&mut nobody, json!({"type": "unread", "id": 1})).await["code"], "unauthorized");
    assert_eq!(ack(&mut nobody, "other", 1).await["type"], DONE);
    pod.stop();
}

#[tokio::test]
async fn acks_have_a_rate_of_their_own() {
    let pod = start(|settings| {
        settings.limits.acks_per_second = 1;
        (settings.limits.commands_per_second, settings.limits.command_burst) = (1, 4);
    });
    fill(&pod, "chat:1", 1).await;
    let mut ann = device(&pod, "ann").await;
    // Far more than the commands that it may send.
    for _ in 0..1_024 {
        assert_eq!(ack(&mut ann, "chat:1", 1).await["type"], DONE);
    }
    let mut codes = Vec::new();
    loop {
        ann.send(r#"{"type":"ack","room":"chat:1","offset":1}"#).await;
        match ann.next().await {
            Seen::Json(message) if message["type"] == "error" => codes.push(message["code"].clone()),
            Seen::Json(_) => {}
            Seen::Close(code) => break assert_eq!(code, Some(4029)),
            other => panic!("{other:?}"),
        }
    }
    assert!(!codes.is_empty() && codes.iter().all(|code| code == "rate_limited"), "{codes:?}");
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_passes_from_pod_to_pod_and_outlives_the_pod() {
    let server = block_in_place(Standalone::start);
    let every = [Duration::from_secs(60), Duration::from_millis(20)];
    let [first, second] = every.map(|every| {
        start(|settings| {
            over(&server, settings);
            settings.acks.every = every;
        })
    });
    for pod in [&first, &second] {
        ready(pod).await;
    }
    let (mut phone, mut laptop) = (device(&first, "ann").await, device(&second, "ann").await);
    fill(&first, "chat:1", 9).await;
    assert_eq!(ack(&mut phone, "chat:1", 2).await["type"], DONE);
    assert_eq!(told(&mut laptop).await, ["chat:1 2/9 7"], "on the other pod");
    assert_eq!(unread(&mut laptop, &[]).await, ["chat:1 2/9 7"]);
    // What waits for its time is seen where it was said, and written when the pod goes.
    assert_eq!(ack(&mut phone, "chat:1", 6).await["type"], DONE);
    assert_eq!(unread(&mut phone, &[]).await, ["chat:1 6/9 3"]);
    assert_eq!(unread(&mut laptop, &[]).await, ["chat:1 2/9 7"]);
    drop(phone);
    block_in_place(|| first.stop());
    assert_eq!(told(&mut laptop).await, ["chat:1 6/9 3"]);
    assert_eq!(unread(&mut laptop, &[]).await, ["chat:1 6/9 3"]);
    let keys = block_in_place(|| server.call(&["KEYS", "*acks*"]));
    assert!(format!("{keys:?}").contains("acks:ann"), "{keys:?}");
    second.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_epoch_is_good_as_far_as_it_is_the_logs_own() {
    let server = block_in_place(Standalone::start);
    let pod = start(|settings| over(&server, settings));
    ready(&pod).await;
    let mut ann = device(&pod, "ann").await;
    let old = fill(&pod, "chat:1", 5).await;
    let read = |offset: u64| json!({"type": "ack", "id": 1, "room": "chat:1", "epoch": old, "offset": offset});
    assert_eq!(answer(&mut ann, read(4)).await["type"], DONE);
    assert_eq!(told(&mut ann).await, ["chat:1 4/5 1"]);
    // As after a failover: the log was another server's up to event 5.
    let record = block_in_place(|| server.call(&["KEYS", "*:room:chat:1"]));
    let record = format!("{record:?}");
    let record = record.split('"').find(|word| word.ends_with(":room:chat:1")).expect("the record").to_owned();
    block_in_place(|| server.call(&["HSET", &record, "chain", "0123456789ab:5"]));
    fill(&pod, "chat:1", 3).await;
    let before = format!("{}.0123456789ab", old.split_once('.').unwrap().0);
    for (epoch, offset, code, read) in [
        (&before, 6, json!("bad_position"), "chat:1 4/8 4"),
        (&before, 5, Value::Null, "chat:1 5/8 3"),
        (&old, 9, json!("bad_position"), "chat:1 5/8 3"),
        (&old, 8, Value::Null, "chat:1 8/8 0"),
    ] {
        let command = json!({"type": "ack", "id": 2, "room": "chat:1", "epoch": epoch, "offset": offset});
        let said = answer(&mut ann, command).await;
        assert_eq!(said["code"], code, "{epoch} {offset}: {said}");
        assert_eq!(unread(&mut ann, &[]).await, [read]);
    }
    pod.stop();
}

/// How often a command was sent to Redis.
async fn calls(pod: &Pod, command: &str) -> u64 {
    let (_, metrics) = get(pod, "/metrics").await;
    let of = |line: &&str| {
        line.starts_with("roomcast_redis_commands_total{") && line.contains(&format!("command=\"{command}\""))
    };
    let counts = metrics.lines().filter(of).filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
    counts.sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_for_each_event_is_no_command_for_each() {
    let server = block_in_place(Standalone::start);
    let every = Duration::from_millis(250);
    let pod = start(|settings| {
        over(&server, settings);
        settings.acks.every = every;
    });
    ready(&pod).await;
    let mut devices = Vec::new();
    for user in 0..10 {
        let mut client = device(&pod, &format!("user{user}")).await;
        client.subscribe("chat:1").await;
        devices.push(client);
    }
    let (before, began) = (calls(&pod, "keep_acks").await, Instant::now());
    for n in 1..=100 {
        fill(&pod, "chat:1", 1).await;
        for client in &mut devices {
            while client.json().await["type"] != "events" {}
            client.send(&json!({"type": "ack", "room": "chat:1", "offset": n}).to_string()).await;
        }
    }
    for client in &mut devices {
        // The last one is told once it is written.
        while told(client).await != ["chat:1 100/100 0"] {}
    }
    let most = began.elapsed().as_millis() / every.as_millis() + 2;
    let sent = calls(&pod, "keep_acks").await - before;
    assert!(sent > 0 && u128::from(sent) <= most, "{sent} calls for 1,000 acks, at most {most}");
    assert!(calls(&pod, "standings").await <= 2 * sent + 2);
    pod.stop();
}

#[tokio::test]
async fn clients_without_a_connection_acknowledge() {
    let pod = start(|_| {});
    fill(&pod, "chat:1", 4).await;
    let commands = json!([
        {"type": "ack", "id": 1, "room": "chat:1", "offset": 3},
        {"type": "ack", "id": 2, "room": "chat:1", "offset": 5},
        {"type": "unread", "id": 3},
    ]);
    let head = format!("POST /send?token={} HTTP/1.1", token("ann"));
    let (status, said) = call(pod.addresses().plain[0], &head, &commands.to_string()).await;
    assert_eq!(status, 200, "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    let messages = said["messages"].as_array().unwrap();
    assert_eq!((&messages[0]["type"], &messages[1]["code"]), (&json!(DONE), &json!("bad_position")), "{said}");
    assert_eq!(counts(&messages[2]), ["chat:1 3/4 1"]);
    pod.stop();
}

#[tokio::test]
async fn what_is_unread_is_told_over_grpc() {
    let pod = start(|settings| settings.grpc.listen = vec![ListenAddress::Ip(([127, 0, 0, 1], 0).into())]);
    let mut ann = device(&pod, "ann").await;
    fill(&pod, "chat:1", 5).await;
    fill(&pod, "chat:2", 2).await;
    assert_eq!(ack(&mut ann, "chat:1", 3).await["type"], DONE);
    assert_eq!(told(&mut ann).await, ["chat:1 3/5 2"]);
    let mut api = RoomcastClient::new(channel(&pod).await);
    let asked = |user: &str, rooms: &[&str]| {
        let rooms = rooms.iter().map(|room| (*room).to_owned()).collect();
        with_key(GetUnreadRequest { user: user.to_owned(), rooms })
    };
    let rooms = api.get_unread(asked("ann", &["chat:2"])).await.unwrap().into_inner().rooms;
    let said: Vec<_> = rooms
        .iter()
        .map(|room| (room.room.as_str(), room.read.as_ref().unwrap().offset, room.end, room.unread))
        .collect();
    assert_eq!(said, [("chat:1", 3, 5, 2), ("chat:2", 0, 2, 2)]);
    for (user, rooms, code) in [
        ("", vec![], Code::InvalidArgument),
        ("ann", vec!["a b"], Code::InvalidArgument),
        ("ann", vec!["news:1"], Code::FailedPrecondition),
        ("ann", vec!["chat:1"; 1_025], Code::InvalidArgument),
    ] {
        assert_eq!(api.get_unread(asked(user, &rooms)).await.unwrap_err().code(), code, "{user} {}", rooms.len());
    }
    pod.stop();
}
