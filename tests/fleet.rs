//! Pods that share their rooms in Redis, as clients see them.
#![allow(clippy::unwrap_used)]

mod harness;
mod redis;

use std::time::{Duration, Instant};

use harness::{Client, Seen, get, pod, publish};
use redis::Standalone;
use roomcast::{config::RedisUrl, model::PresenceMode, pod::Pod};
use serde_json::json;
use tokio::task::block_in_place;

fn member(server: &redis::Node) -> Pod {
    pod(|settings| {
        let (host, port) = server.address();
        settings.redis.urls = vec![RedisUrl::parse(&format!("redis://{host}:{port}")).unwrap()];
        settings.redis.command_timeout = Duration::from_secs(2);
        settings.default_policy.presence = PresenceMode::Events;
    })
}

async fn says(pod: &Pod, status: u16, word: &str) {
    let began = Instant::now();
    loop {
        let answer = get(pod, "/ready").await;
        if answer == (status, format!("{{\"status\":\"{word}\"}}")) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(15), "{answer:?} instead of {status} {word}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The next events of a client, whatever else comes between.
async fn events(client: &mut Client, count: usize) -> Vec<(u64, u64)> {
    let mut offsets = Vec::new();
    while offsets.len() < count {
        match client.next().await {
            Seen::Json(message) if message["type"] == "events" => {
                for event in message["events"].as_array().unwrap() {
                    offsets.push((event["offset"].as_u64().unwrap(), event["data"].as_u64().unwrap()));
                }
            }
            Seen::Json(message) if message["type"] == "gap" => panic!("{message}"),
            Seen::Json(_) => {}
            other => panic!("{other:?}"),
        }
    }
    offsets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_on_one_pod_reaches_the_clients_of_another() {
    let server = block_in_place(Standalone::start);
    let (a, b) = (member(&server), member(&server));
    says(&a, 200, "ready").await;
    says(&b, 200, "ready").await;
    let (mut ann, mut bob) =
        (Client::connect(a.addresses().plain[0]).await, Client::connect(b.addresses().plain[0]).await);
    let joined = ann.subscribe("r").await;
    assert_eq!((&joined["type"], &joined["offset"]), (&json!("subscribed"), &json!(0)));
    assert_eq!(bob.subscribe("r").await["epoch"], joined["epoch"]);
    for n in 1..=3 {
        assert_eq!(publish(if n == 2 { &b } else { &a }, "r", "t", &n.to_string()).await.offset, n);
    }
    for client in [&mut ann, &mut bob] {
        assert_eq!(events(client, 3).await, [(1, 1), (2, 2), (3, 3)]);
    }
    // Who went to another pod gets exactly what was missed.
    drop(ann);
    publish(&a, "r", "t", "4").await;
    let mut ann = Client::connect(b.addresses().plain[0]).await;
    let since = json!({"epoch": joined["epoch"], "offset": 3});
    let back = ann.ask(json!({"type":"subscribe","room":"r","since":since})).await;
    assert_eq!(back["recovered"], true, "{back}");
    assert_eq!(events(&mut ann, 1).await, [(4, 4)]);
    let began = Instant::now();
    loop {
        let list = b.services().presence.list(&roomcast::model::Room::parse("r").unwrap(), 10).await.unwrap();
        if list.total == 2 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{list:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    a.stop();
    b.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_redis_is_degraded_and_over_by_itself() {
    let server = block_in_place(Standalone::start);
    block_in_place(|| server.kill());
    let pod = member(&server);
    says(&pod, 503, "starting").await;
    block_in_place(|| {
        server.restart();
        server.wait_ready();
    });
    says(&pod, 200, "ready").await;
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    let joined = client.subscribe("r").await;
    publish(&pod, "r", "t", "1").await;
    events(&mut client, 1).await;
    block_in_place(|| server.stop());
    says(&pod, 200, "degraded").await;
    assert!(get(&pod, "/metrics").await.1.contains("roomcast_redis_degraded 1"));
    let room = roomcast::model::Room::parse("r").unwrap();
    let refused = pod.services().broker.publish(&room, harness::publication("t", "2")).await;
    assert!(refused.is_err(), "{refused:?}");
    block_in_place(|| {
        server.restart();
        server.wait_ready();
    });
    says(&pod, 200, "ready").await;
    // The client stayed, and nothing was missing: SIGTERM saves what a server has, or the room begins anew with a gap.
    let position = publish(&pod, "r", "t", "3").await;
    assert_ne!(json!(position.epoch.as_str()), joined["epoch"]);
    loop {
        let Seen::Json(message) = client.next().await else { panic!("the client was cut off") };
        if message["type"] == "events" {
            assert_eq!(message["epoch"], json!(position.epoch.as_str()));
            break;
        }
    }
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn degraded_is_not_ready_where_the_operator_says_so() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let pod = pod(|settings| {
        settings.redis.urls = vec![RedisUrl::parse(&format!("redis://{host}:{port}")).unwrap()];
        settings.redis.unready_when_degraded = true;
    });
    says(&pod, 200, "ready").await;
    block_in_place(|| server.kill());
    says(&pod, 503, "degraded").await;
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_backend_orders_on_one_pod_is_done_on_all() {
    use roomcast::{
        auth::SigningKey,
        config::HmacSecret,
        model::{Act, Disconnect, Order, Room, Target},
    };
    let server = block_in_place(Standalone::start);
    let secret = || HmacSecret::new("a secret of at least thirty-two bytes").unwrap();
    let member = || {
        pod(|settings| {
            let (host, port) = server.address();
            settings.redis.urls = vec![RedisUrl::parse(&format!("redis://{host}:{port}")).unwrap()];
            settings.tokens.hmac_secrets = vec![secret()];
        })
    };
    let (a, b) = (member(), member());
    says(&a, 200, "ready").await;
    says(&b, 200, "ready").await;
    let token = SigningKey::secret(&secret()).token(&json!({"sub": "ann", "exp": 4_000_000_000_u64}), None).unwrap();
    let connect = async |pod: &Pod| {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str())];
        let client = Client::open(pod.addresses().plain[0], "/ws", &["roomcast.v1"], &headers, None).await;
        let mut client = client.unwrap();
        let welcome = client.json().await;
        (client, welcome["connection"].as_str().unwrap().to_owned())
    };
    let ((mut here, _), (mut there, name)) = (connect(&a).await, connect(&b).await);
    let room = Room::parse("r").unwrap();
    let order = |target: Target, act: Act| Order { target, act };
    let user = || Target::User("ann".into());
    let tell = async |order: Order| {
        let done = a.services().links.obey(order.clone()).await.unwrap();
        assert!(a.services().control.tell_others(&order).await.unwrap(), "there are others");
        done
    };
    assert_eq!(tell(order(user(), Act::Subscribe(room.clone()))).await, Some(1));
    for client in [&mut here, &mut there] {
        assert_eq!(client.json().await["type"], "subscribed");
    }
    assert_eq!(tell(order(Target::Connection(name.into()), Act::Unsubscribe(room))).await, None, "not on this pod");
    assert_eq!(there.json().await["code"], "removed");
    tell(order(user(), Act::Refresh(60_000))).await;
    for client in [&mut here, &mut there] {
        assert_eq!(client.json().await["type"], "refresh");
    }
    tell(order(user(), Act::Disconnect(Disconnect::Disconnected))).await;
    for client in [&mut here, &mut there] {
        assert_eq!(client.next().await, Seen::Close(Some(4003)));
    }
    a.stop();
    b.stop();
}
