//! Receipts: which authors are told of what was read, and how.

use roomcast::testing::{
    broker::AckBounds,
    config::RedisUrl,
    model::{Ack, Epoch, Position, Room, Telling},
};
use testkit::redis::Cluster;

use super::*;

/// What the next receipts say: which user has read up to where.
async fn receipts(client: &mut Client) -> Vec<String> {
    loop {
        let message = client.json().await;
        if message["type"] == "receipts" {
            let of = |receipt: &Value| {
                assert!(receipt["epoch"].as_str().is_some_and(|epoch| !epoch.is_empty()), "{message}");
                let text = |name: &str| receipt[name].as_str().unwrap_or_default().to_owned();
                format!("{} {} {}", text("room"), text("user"), receipt["offset"])
            };
            return message["receipts"].as_array().unwrap().iter().map(of).collect();
        }
    }
}

async fn say(client: &mut Client, room: &str) {
    let said = answer(client, json!({"type": "publish", "id": "p", "room": room, "topic": "said", "data": 1})).await;
    assert_eq!(said["type"], "published", "{said}");
}

#[tokio::test]
async fn authors_alone_are_told_what_others_have_read() {
    let pod = start(|_| {});
    let (mut ann, mut bob, mut cem) = (device(&pod, "ann").await, device(&pod, "bob").await, device(&pod, "cem").await);
    // 1 and 3 are ann's, 2 is bob's, 4 the backend's.
    for author in [0, 1, 0] {
        say(if author == 0 { &mut ann } else { &mut bob }, "dm:1").await;
    }
    fill(&pod, "dm:1", 1).await;
    assert_eq!(ack(&mut bob, "dm:1", 2).await["type"], DONE);
    assert_eq!(receipts(&mut ann).await, ["dm:1 bob 1"]);
    assert_eq!(ack(&mut bob, "dm:1", 4).await["type"], DONE);
    assert_eq!(receipts(&mut ann).await, ["dm:1 bob 3"]);
    // Of what is repeated, goes back or is of the reader itself nothing is told, nor under another policy.
    assert_eq!(ack(&mut bob, "dm:1", 3).await["type"], DONE);
    assert_eq!(ack(&mut ann, "dm:1", 1).await["type"], DONE);
    fill(&pod, "chat:1", 1).await;
    assert_eq!(ack(&mut cem, "chat:1", 1).await["type"], DONE);
    // A user that keeps it to itself is counted, and not named.
    let private = signed(&json!({"sub": "eve", "exp": 4_102_444_800_u64, "receipts": false}));
    let mut eve = device_with(&pod, "eve", &private).await;
    assert_eq!(ack(&mut eve, "dm:1", 4).await["type"], DONE);
    assert_eq!(told(&mut eve).await, ["dm:1 4/4 0"]);
    assert_eq!(ack(&mut cem, "dm:1", 4).await["type"], DONE);
    assert_eq!(receipts(&mut ann).await, ["dm:1 cem 3"]);
    assert_eq!(receipts(&mut bob).await, ["dm:1 cem 2"]);
    assert_eq!(unread(&mut ann, &[]).await, ["dm:1 1/4 3"]);
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_pass_from_pod_to_pod_in_batches() {
    let server = block_in_place(Standalone::start);
    let pods = [(); 2].map(|()| {
        start(|settings| {
            over(&server, settings);
            // The first ack is written at once, and those behind it when their pod ends.
            settings.acks.every = Duration::from_secs(600);
        })
    });
    for pod in &pods {
        ready(pod).await;
    }
    let [first, second] = pods;
    let mut ann = device(&first, "ann").await;
    for _ in 0..3 {
        say(&mut ann, "dm:1").await;
    }
    let mut readers = Vec::new();
    for user in 0..6 {
        let mut reader = device(&second, &format!("user{user}")).await;
        assert_eq!(ack(&mut reader, "dm:1", 1 + user % 3).await["type"], DONE);
        readers.push(reader);
    }
    block_in_place(|| second.stop());
    let (mut messages, mut said) = (0, Vec::new());
    while said.len() < 6 {
        said.extend(receipts(&mut ann).await);
        messages += 1;
    }
    said.sort();
    let expected: Vec<String> = (0..6).map(|user| format!("dm:1 user{user} {}", 1 + user % 3)).collect();
    assert_eq!(said, expected);
    assert!(messages <= 2, "{messages} messages");
    assert!(is_settled(&first).await, "a pod that ends leaves nothing to be told");
    block_in_place(|| first.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authors_are_told_what_devices_have_got() {
    let server = block_in_place(Standalone::start);
    let [first, second] = [(); 2].map(|()| start(|settings| over(&server, settings)));
    ready(&first).await;
    ready(&second).await;
    let mut ann = device(&first, "ann").await;
    for _ in 0..3 {
        say(&mut ann, "dm:1").await;
    }
    /// The next receipts that say something of devices.
    async fn delivered(client: &mut Client) -> Vec<String> {
        loop {
            let message = client.json().await;
            if let Some(list) = message["delivered"].as_array() {
                assert_eq!(message["type"], "receipts");
                return list.iter().map(|it| format!("{} {}", it["user"].as_str().unwrap(), it["offset"])).collect();
            }
        }
    }
    let got = |offset: u64, epoch: &Value| json!({"type": "ack", "id": "g", "room": "dm:1", "epoch": epoch, "offset": offset, "delivered": true});
    let mut bob = device(&second, "bob").await;
    // Where it is not in the room, the epoch is needed.
    assert_eq!(answer(&mut bob, got(2, &Value::Null)).await["code"], "bad_position");
    let joined = answer(&mut bob, json!({"type": "subscribe", "id": "s", "room": "dm:1"})).await;
    let epoch = &joined["epoch"];
    assert_eq!(answer(&mut bob, got(2, &Value::Null)).await["type"], DONE);
    assert_eq!(delivered(&mut ann).await, ["bob 2"]);
    // Beyond the end there is nothing to be told of; what was told is not told again; of a user that keeps it to itself nothing is.
    let private = signed(&json!({"sub": "eve", "exp": 4_102_444_800_u64, "receipts": false}));
    let mut eve = device_with(&second, "eve", &private).await;
    assert_eq!(answer(&mut eve, got(3, epoch)).await["type"], DONE);
    assert_eq!(answer(&mut bob, got(1, epoch)).await["type"], DONE);
    assert_eq!(answer(&mut bob, got(99, epoch)).await["type"], DONE);
    assert_eq!(delivered(&mut ann).await, ["bob 3"]);
    assert_eq!(unread(&mut bob, &["dm:1"]).await, ["dm:1 0/3 3"], "nothing is read by it");
    // What one says of a log that never was, or far beyond its end, hides nothing of what others say.
    say(&mut ann, "dm:1").await;
    let mut cem = device(&second, "cem").await;
    let mut dan = device(&second, "dan").await;
    assert_eq!(answer(&mut cem, got(4, epoch)).await["type"], DONE);
    assert_eq!(answer(&mut dan, got(9_007_199_254_740_991, epoch)).await["type"], DONE);
    assert_eq!(answer(&mut bob, got(4, &json!("another"))).await["type"], DONE);
    let mut said = Vec::new();
    while said.len() < 2 {
        said.append(&mut delivered(&mut ann).await);
    }
    said.sort();
    assert_eq!(said, ["cem 4", "dan 4"]);
    // A policy that tells no authors, and a user that may not join.
    let mut other = got(1, epoch);
    other["room"] = json!("chat:1");
    assert_eq!(answer(&mut bob, other.clone()).await["type"], DONE);
    other["delivered"] = json!("yes");
    assert_eq!(answer(&mut bob, other).await["code"], "bad_request");
    block_in_place(|| {
        first.stop();
        second.stop();
    });
}

/// What the next receipts say, however long they take.
async fn late_receipts(client: &mut Client) -> Vec<String> {
    let began = Instant::now();
    loop {
        client.send(r#"{"type":"ping"}"#).await;
        let mut said = Vec::new();
        loop {
            let message = client.json().await;
            for receipt in message["receipts"].as_array().into_iter().flatten() {
                said.push(format!("{} {} {}", receipt["room"], receipt["user"], receipt["offset"]).replace('"', ""));
            }
            if message["type"] == "pong" {
                break;
            }
        }
        if !said.is_empty() {
            return said;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "the author is told nothing");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

const BOUNDS: AckBounds = AckBounds { rooms: 100, age: Duration::from_secs(3_600) };

/// Keeps an ack as a pod does that dies before it has told authors.
async fn leave(pod: &Pod, ack: (&str, &str, u64), epoch: &Value, telling: Telling) {
    let (user, room, offset) = ack;
    let position = Position::new(Epoch::new(epoch.as_str().unwrap()), offset);
    let ack = Ack { user: user.into(), room: Room::parse(room).unwrap(), position, telling };
    pod.services().acks.store.keep(&[ack], BOUNDS).await.remove(0).unwrap();
}

/// Whether it is kept anywhere that authors are to be told.
async fn is_settled(pod: &Pod) -> bool {
    pod.services().acks.store.take_untold(Duration::ZERO, 100).await.unwrap().is_empty()
}

/// Acks that `dying` kept and did not tell are told, by whichever pod is there.
async fn what_a_pod_left_is_told(living: &Pod, dying: &Pod) {
    let mut ann = device(living, "ann").await;
    for _ in 0..3 {
        say(&mut ann, "dm:1").await;
    }
    let epoch = answer(&mut ann, json!({"type": "subscribe", "id": "s", "room": "dm:1"})).await["epoch"].clone();
    leave(dying, ("bob", "dm:1", 2), &epoch, Telling::Due).await;
    // Of one that keeps it to itself by now, and in a room whose policy tells none any more, nothing is told.
    leave(dying, ("eve", "dm:1", 2), &epoch, Telling::Due).await;
    leave(dying, ("eve", "dm:1", 2), &epoch, Telling::Withheld).await;
    say(&mut ann, "chat:1").await;
    leave(dying, ("bob", "chat:1", 1), &epoch, Telling::Due).await;
    assert_eq!(late_receipts(&mut ann).await, ["dm:1 bob 2"]);
    // What follows is told as ever, and once.
    let mut bob = device(living, "bob").await;
    assert_eq!(ack(&mut bob, "dm:1", 3).await["type"], DONE);
    assert_eq!(late_receipts(&mut ann).await, ["dm:1 bob 3"]);
    let began = Instant::now();
    while !is_settled(living).await {
        assert!(began.elapsed() < Duration::from_secs(20), "it is told again and again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_an_edge_left_that_died_is_told_by_its_home() {
    let pod = start(|settings| settings.policies[0].policy.publish = Access::User);
    what_a_pod_left_is_told(&pod, &pod).await;
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_pod_left_that_died_is_told_by_another() {
    let server = block_in_place(Standalone::start);
    let cluster = block_in_place(|| Cluster::start(3, 0));
    let nodes = cluster.addresses();
    let of_cluster = |settings: &mut Settings| {
        let nodes: Vec<String> = nodes.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        settings.redis.urls = vec![RedisUrl::parse(&format!("redis-cluster://{}", nodes.join(","))).unwrap()];
    };
    for is_cluster in [false, true] {
        let [living, dying] = [(); 2].map(|()| {
            start(|settings| {
                settings.policies[0].policy.publish = Access::User;
                if is_cluster { of_cluster(settings) } else { over(&server, settings) }
            })
        });
        ready(&living).await;
        ready(&dying).await;
        what_a_pod_left_is_told(&living, &dying).await;
        block_in_place(|| [living, dying].into_iter().for_each(Pod::stop));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_told_is_told_when_redis_is_back() {
    let server = block_in_place(Standalone::start);
    let pod = start(|settings| over(&server, settings));
    ready(&pod).await;
    let mut ann = device(&pod, "ann").await;
    say(&mut ann, "dm:1").await;
    let epoch = answer(&mut ann, json!({"type": "subscribe", "id": "s", "room": "dm:1"})).await["epoch"].clone();
    // What tells authors publishes, and may not: the pod tries, and what it does not manage stays due.
    block_in_place(|| server.call(&["ACL", "SETUSER", "default", "-publish", "-spublish"]));
    leave(&pod, ("bob", "dm:1", 1), &epoch, Telling::Due).await;
    let began = Instant::now();
    while !get(&pod, "/metrics").await.1.contains("roomcast_receipts_total{outcome=\"later\"} 1") {
        assert!(began.elapsed() < Duration::from_secs(60), "it was not tried");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    block_in_place(|| server.call(&["ACL", "SETUSER", "default", "+publish", "+spublish"]));
    assert_eq!(late_receipts(&mut ann).await, ["dm:1 bob 1"]);
    block_in_place(|| pod.stop());
}
