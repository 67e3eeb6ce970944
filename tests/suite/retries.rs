//! A client's publish that is sent again: one event, whichever connection, transport and pod it comes by.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::harness::{Client, SOON, pod, publication, publish_as, rule};
use crate::webtransport::client::Page;
use roomcast::testing::{
    auth::SigningKey,
    config::{HmacSecret, RedisUrl, Settings},
    model::{Access, Publication},
    pod::Pod,
};
use serde_json::{Value, json};
use testkit::redis::Standalone;
use tokio::{
    task::block_in_place,
    time::{sleep, timeout},
};

const SECRET: &str = "a secret of at least thirty-two bytes";

fn start(change: impl FnOnce(&mut Settings)) -> Pod {
    pod(|settings| {
        settings.tokens.hmac_secrets = vec![HmacSecret::new(SECRET).unwrap()];
        settings.policies = vec![rule("chat:*", |policy| {
            policy.publish = Access::Anyone;
            (policy.publish_per_second, policy.publish_burst) = (1_000, 1_000);
        })];
        change(settings);
    })
}

/// A connection of a user; without one, of nobody.
async fn connect(pod: &Pod, user: Option<&str>) -> Client {
    let Some(user) = user else { return Client::connect(pod.addresses().plain[0]).await };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({"sub": user, "exp": now + 600});
    let token = SigningKey::secret(&HmacSecret::new(SECRET).unwrap()).token(&claims, None).unwrap();
    let target = format!("/ws?token={token}");
    let mut client = Client::open(pod.addresses().plain[0], &target, &["roomcast.v1"], &[], None).await.unwrap();
    assert_eq!(client.json().await["type"], "welcome");
    client
}

/// The command of a publish with a key.
fn said(data: &str, key: &str) -> Value {
    json!({
        "type": "publish", "id": 1, "room": "chat:1", "topic": "said", "data": data, "event_id": key,
        "idempotency_key": key,
    })
}

/// The data and ids of the next events of a client.
async fn events(client: &mut Client, count: usize) -> Vec<(String, Option<String>)> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let message = client.json().await;
        assert_eq!(message["type"], "events", "{message}");
        for event in message["events"].as_array().unwrap() {
            seen.push((event["data"].as_str().unwrap().to_owned(), event["id"].as_str().map(str::to_owned)));
        }
    }
    seen
}

#[tokio::test]
async fn a_publish_that_is_sent_again_is_one_event() {
    let pod = start(|_| {});
    let mut reader = connect(&pod, None).await;
    reader.subscribe("chat:1").await;
    let first = connect(&pod, Some("ann")).await.ask(said("hello", "m-1")).await;
    assert_eq!((&first["type"], &first["offset"]), (&json!("published"), &json!(1)), "{first}");
    // Over another connection, and over another transport.
    let mut ann = connect(&pod, Some("ann")).await;
    assert_eq!(ann.ask(said("hello", "m-1")).await, first);
    // What is not the same.
    let mut id = said("hello", "m-1");
    id["event_id"] = json!("m-2");
    let mut topic = said("hello", "m-1");
    topic["topic"] = json!("shouted");
    let mut key = said("hello", "m-1");
    key["key"] = json!("k");
    let mut bytes = said("hello", "m-1");
    bytes.as_object_mut().unwrap().remove("data");
    bytes["data64"] = json!("aGVsbG8=");
    for other in [said("goodbye", "m-1"), id, topic, key, bytes] {
        let refused = ann.ask(other.clone()).await;
        assert_eq!((&refused["code"], &refused["id"]), (&json!("conflict"), &json!(1)), "{other}: {refused}");
    }
    // Whose key it is.
    let mut bob = connect(&pod, Some("bob")).await;
    let mut nobody = connect(&pod, None).await;
    let offset = async |client: &mut Client, key: &str| client.ask(said("hello", key)).await["offset"].clone();
    assert_eq!(offset(&mut bob, "m-1").await, 2);
    assert_eq!(offset(&mut nobody, "m-1").await, 3);
    let of_backend = Publication { idempotency_key: Some("m-1".into()), ..publication("said", "\"hello\"") };
    assert_eq!(publish_as(&pod, "chat:1", of_backend).await.offset, 4);
    assert_eq!(offset(&mut ann, "m-5").await, 5);
    for (client, offset_then) in [(&mut ann, 1), (&mut bob, 2), (&mut nobody, 3)] {
        assert_eq!(offset(client, "m-1").await, offset_then);
    }
    // Without a key each is an event of its own, whatever its id is.
    let mut plain = said("hello", "m-1");
    plain.as_object_mut().unwrap().remove("idempotency_key");
    assert_eq!(
        (ann.ask(plain.clone()).await["offset"].clone(), ann.ask(plain).await["offset"].clone()),
        (6.into(), 7.into())
    );
    let seen = events(&mut reader, 7).await;
    let ids: Vec<_> = seen.iter().map(|(_, id)| id.as_deref().unwrap_or("none")).collect();
    assert_eq!(ids, ["m-1", "m-1", "m-1", "none", "m-5", "m-1", "m-1"]);
    assert!(seen.iter().all(|(data, _)| data == "hello"), "{seen:?}");
    assert!(reader.is_quiet().await);
    pod.stop();
}

#[tokio::test]
async fn webtransport_has_the_same_keys() {
    let pod = start(|_| {});
    let first = connect(&pod, None).await.ask(said("hello", "m-1")).await;
    assert_eq!(first["type"], "published", "{first}");
    let mut page = Page::connect(pod.addresses().quic[0]).await;
    assert_eq!(page.ask(&said("hello", "m-1")).await, first);
    assert_eq!(page.ask(&said("goodbye", "m-1")).await["code"], "conflict");
    drop(page);
    pod.stop();
}

#[tokio::test]
async fn a_field_that_breaks_a_rule_is_refused() {
    let pod = start(|_| {});
    let mut client = connect(&pod, None).await;
    for name in ["event_id", "idempotency_key"] {
        for (value, code) in
            [(json!("x".repeat(256)), "limit_exceeded"), (json!(7), "bad_request"), (json!(["m"]), "bad_request")]
        {
            let mut command = said("hello", "m-1");
            command[name] = value;
            let refused = client.ask(command).await;
            assert_eq!(refused["code"], code, "{refused}");
            assert!(refused["message"].as_str().unwrap().contains(name), "{refused}");
        }
        let mut longest = said("hello", name);
        longest[name] = json!("x".repeat(255));
        assert_eq!(client.ask(longest).await["type"], "published");
    }
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_may_go_to_another_pod() {
    let server = block_in_place(Standalone::start);
    let member = || {
        start(|settings| {
            let (host, port) = server.address();
            settings.redis.urls = vec![RedisUrl::parse(&format!("redis://{host}:{port}")).unwrap()];
        })
    };
    let (a, b) = (member(), member());
    // A pod answers `unavailable` until it has reached Redis.
    let publish = async |pod: &Pod, user: Option<&str>, command: Value| {
        let mut client = connect(pod, user).await;
        let answered = async {
            loop {
                let answer = client.ask(command.clone()).await;
                if answer["code"] != "unavailable" {
                    return answer;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(SOON, answered).await.expect("a pod that has reached Redis")
    };
    let first = publish(&a, Some("ann"), said("hello", "m-1")).await;
    assert_eq!((&first["type"], &first["offset"]), (&json!("published"), &json!(1)), "{first}");
    assert_eq!(publish(&b, Some("ann"), said("hello", "m-1")).await, first);
    assert_eq!(publish(&b, Some("ann"), said("goodbye", "m-1")).await["code"], "conflict");
    assert_eq!(publish(&b, Some("bob"), said("hello", "m-1")).await["offset"], 2);
    assert_eq!(publish(&a, Some("bob"), said("hello", "m-1")).await["offset"], 2);
    // The pod that took it in may be gone.
    a.stop();
    assert_eq!(publish(&b, Some("ann"), said("hello", "m-1")).await, first);
    assert_eq!(publish(&b, Some("ann"), said("hello", "m-2")).await["offset"], 3);
    b.stop();
}
