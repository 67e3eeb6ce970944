//! Pods that share their rooms in Redis, as clients see them.

use std::time::{Duration, Instant};

use crate::{
    harness::{Client, Seen, get, get_from, pod, publish},
    status::shows,
};
use roomcast::testing::{config::RedisUrl, model::PresenceMode, pod::Pod};
use serde_json::json;
use testkit::redis::Standalone;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::block_in_place,
};

fn member(server: &testkit::redis::Node) -> Pod {
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
        let reason = if word == "degraded" { ",\"reason\":\"redis\"" } else { "" };
        if answer == (status, format!("{{\"status\":\"{word}\"{reason}}}")) {
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
        let list = b.services().presence.list(&roomcast::testing::model::Room::parse("r").unwrap(), 10).await.unwrap();
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
    let room = roomcast::testing::model::Room::parse("r").unwrap();
    let refused = pod.services().broker.publish(&room, crate::harness::publication("t", "2")).await;
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
async fn degraded_is_not_ready_on_the_public_port_where_the_operator_says_so() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let pod = pod(|settings| {
        settings.redis.urls = vec![RedisUrl::parse(&format!("redis://{host}:{port}")).unwrap()];
        settings.redis.unready_when_degraded = true;
        settings.general.public_health = true;
    });
    says(&pod, 200, "ready").await;
    let public = async || get_from(pod.addresses().plain[0], "/ready").await;
    assert_eq!(public().await.0, 200);
    block_in_place(|| server.kill());
    // A kubelet that asked the internal listener would take every pod away at once.
    says(&pod, 200, "degraded").await;
    assert_eq!(public().await, (503, "{\"status\":\"degraded\",\"reason\":\"redis\"}".to_owned()));
    assert_eq!(get(&pod, "/accepting").await.0, 200);
    pod.stop();
}

/// The API's answer to an order.
async fn request(pod: &Pod, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(pod.addresses().internal[0]).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer test-key\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_backend_orders_on_one_pod_is_done_on_all() {
    use roomcast::testing::{
        auth::SigningKey,
        config::HmacSecret,
        hub::Ordered,
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
        let Ordered { connections, pods, silent } = a.services().order(order).await.unwrap();
        assert!(silent.is_empty(), "{silent:?}");
        (connections, pods)
    };
    assert_eq!(tell(order(user(), Act::Subscribe(room.clone()))).await, (Some(2), 2));
    for client in [&mut here, &mut there] {
        assert_eq!(client.json().await["type"], "subscribed");
    }
    let there_alone = |act: Act| order(Target::Connection(name.clone().into()), act);
    assert_eq!(tell(there_alone(Act::Unsubscribe(room))).await, (Some(1), 2), "by the other pod");
    let nobody = order(Target::Connection("00000000000000ff".into()), Act::Refresh(60_000));
    assert_eq!(tell(nobody.clone()).await, (None, 2));
    assert_eq!(there.json().await["code"], "removed");
    let stats = a.services().fleet_stats().await.unwrap();
    assert_eq!(stats.pods.iter().map(|pod| pod.connections).collect::<Vec<_>>(), [1, 1]);
    assert!(stats.silent.is_empty() && stats.pods[0].pod == a.services().control.pod(), "{stats:?}");
    assert_eq!(stats.pods[1].pod, b.services().control.pod());
    assert_eq!(tell(order(user(), Act::Refresh(60_000))).await, (Some(2), 2));
    // A pod that died a moment ago is waited for no longer than a second, and named.
    let leases = "roomcast:{e8a}:leases";
    block_in_place(|| server.call(&["ZADD", leases, "9999999999999", "ghost"]));
    let began = Instant::now();
    let stats = a.services().fleet_stats().await.unwrap();
    assert_eq!((stats.pods.len(), stats.silent), (2, vec!["ghost".to_owned()]));
    let took = began.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(3)).contains(&took), "{took:?}");
    let answer = request(&a, &format!("/api/connections/{}/disconnect", "00000000000000ff")).await;
    assert_eq!(answer.0, 504, "{}", answer.1);
    let began = Instant::now();
    assert_eq!(a.services().order(there_alone(Act::Refresh(60_000))).await.unwrap().connections, Some(1));
    assert!(began.elapsed() < Duration::from_millis(900), "who has the connection has answered");
    block_in_place(|| server.call(&["ZREM", leases, "ghost"]));
    let answer = request(&a, &format!("/api/connections/{}/disconnect", "00000000000000ff")).await;
    assert_eq!(answer.0, 404, "{}", answer.1);
    for client in [&mut here, &mut there] {
        assert_eq!(client.json().await["type"], "refresh");
    }
    assert_eq!(there.json().await["type"], "refresh");
    assert_eq!(tell(order(user(), Act::Disconnect(Disconnect::Disconnected))).await, (Some(2), 2));
    for client in [&mut here, &mut there] {
        assert_eq!(client.next().await, Seen::Close(Some(4003)));
    }
    a.stop();
    b.stop();
}

/// A server that comes back with all its data goes on under another epoch: nobody is told a gap, and who comes back gets
/// exactly what was missed, although the room has members and no new event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_that_lost_nothing_is_no_gap() {
    let server =
        block_in_place(|| Standalone::start_with(testkit::redis::Options { append_only: true, ..Default::default() }));
    let pod = member(&server);
    says(&pod, 200, "ready").await;
    let mut ann = Client::connect(pod.addresses().plain[0]).await;
    let joined = ann.subscribe("r").await;
    for n in 1..=3 {
        publish(&pod, "r", "t", &n.to_string()).await;
    }
    assert_eq!(events(&mut ann, 3).await.len(), 3);
    block_in_place(|| {
        server.kill();
        server.restart();
        server.wait_ready();
    });
    says(&pod, 200, "ready").await;
    let began = Instant::now();
    let mut bob = loop {
        let mut bob = Client::connect(pod.addresses().plain[0]).await;
        let since = json!({"epoch": joined["epoch"], "offset": 1});
        let back = bob.ask(json!({"type":"subscribe","room":"r","since":since})).await;
        if back["recovered"] == true {
            break bob;
        }
        // Until the pod has heard of it, the room's epoch here is still the old one.
        assert!(began.elapsed() < Duration::from_secs(10), "{back}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(events(&mut bob, 2).await, [(2, 2), (3, 3)]);
    let position = publish(&pod, "r", "t", "4").await;
    assert_ne!(json!(position.epoch.as_str()), joined["epoch"], "the server did not begin a new generation");
    assert_eq!(events(&mut ann, 1).await, [(4, 4)]);
    assert_eq!(events(&mut bob, 1).await, [(4, 4)]);
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_the_servers_of_redis_and_all_pods() {
    let server = block_in_place(Standalone::start);
    let (a, b) = (member(&server), member(&server));
    says(&a, 200, "ready").await;
    says(&b, 200, "ready").await;
    let well = |status: &serde_json::Value| {
        let redis = &status["redis"];
        redis["state"] == "well" && redis["masters"][0]["canary_ms"].is_u64()
    };
    let seen = shows(&a, "that Redis is well", well).await;
    let (host, port) = server.address();
    let master = &seen["redis"]["masters"][0];
    assert_eq!(master["address"], format!("{host}:{port}"));
    assert_eq!((&master["subscribed"], &master["commanded"]), (&json!(true), &json!(true)));
    assert_eq!((&master["troubles"], &master["error"]), (&json!([]), &json!(null)));
    let (code, text) = get(&a, "/status.json?scope=fleet").await;
    let fleet: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, fleet["pods"].as_array().unwrap().len(), &fleet["silent"]), (200, 2, &json!([])));
    // The answers are kept for a while: the other pods are not asked by each caller.
    assert_eq!(get(&a, "/status.json?scope=fleet").await.1, text);
    block_in_place(|| server.stop());
    let away = |status: &serde_json::Value| {
        let redis = &status["redis"];
        redis["state"] == "degraded" && redis["masters"][0]["troubles"] == json!(["away"])
    };
    let seen = shows(&a, "that Redis is away", away).await;
    assert_eq!(seen["degraded"], json!(["redis"]));
    assert!(seen["redis"]["masters"][0]["error"].is_string(), "{seen:#}");
    a.stop();
    b.stop();
}
