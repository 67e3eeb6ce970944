//! Who a connection is: where its token comes from, what it allows, how it is replaced, and how it ends.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::harness::{Client, Seen, pod, publish, rule};
use roomcast::testing::{
    auth::SigningKey,
    config::{HmacSecret, Settings},
    model::{Access, Act, Order, PresenceMode, Target},
    pod::Pod,
};
use serde_json::{Value, json};

const SECRET: &str = "a secret of at least thirty-two bytes";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A token of a user that lasts for so many seconds, with more claims.
fn token(user: &str, seconds: i64, more: Value) -> String {
    let mut claims = json!({ "sub": user, "exp": now().saturating_add_signed(seconds) });
    claims.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    SigningKey::secret(&HmacSecret::new(SECRET).unwrap()).token(&claims, None).unwrap()
}

/// A pod that knows the secret.
fn start(change: impl FnOnce(&mut Settings)) -> Pod {
    pod(|settings| {
        settings.tokens.hmac_secrets = vec![HmacSecret::new(SECRET).unwrap()];
        settings.tokens.leeway = Duration::ZERO;
        change(settings);
    })
}

async fn connect(pod: &Pod, token: &str) -> Client {
    let bearer = format!("Bearer {token}");
    let address = pod.addresses().plain[0];
    let mut client = Client::open(address, "/ws", &["roomcast.v1"], &[("Authorization", &bearer)], None).await.unwrap();
    assert_eq!(client.json().await["type"], "welcome");
    client
}

#[tokio::test]
async fn a_token_comes_with_the_request_in_one_of_three_places() {
    let pod = start(|s| s.policies = vec![rule("*", |p| p.presence = PresenceMode::List)]);
    let address = pod.addresses().plain[0];
    let ann = token("ann", 60, json!({}));
    let (bearer, query, offer) = (format!("Bearer {ann}"), format!("/ws?token={ann}"), format!("roomcast.token.{ann}"));
    for (target, protocols, headers) in [
        ("/ws", vec!["roomcast.v1"], vec![("Authorization", bearer.as_str())]),
        (query.as_str(), vec!["roomcast.v1"], vec![]),
        ("/ws", vec!["roomcast.v1", offer.as_str()], vec![]),
        // The token's subprotocol alone is no protocol: none is answered, and the connection speaks the native one.
        ("/ws", vec![offer.as_str()], vec![]),
    ] {
        let mut client = Client::open(address, target, &protocols, &headers, None).await.unwrap();
        assert_eq!(client.json().await["type"], "welcome");
        client.subscribe("r").await;
        let present = client.ask(json!({"type":"presence","room":"r"})).await;
        assert_eq!(present["members"][0]["user"], "ann", "{target} {protocols:?}: {present}");
        let mut left = client;
        left.send(&json!({"type":"unsubscribe","room":"r"}).to_string()).await;
        left.json().await;
    }
    // A bad one is refused, although anonymous clients are let in; two that differ are one too many.
    let bad = format!("{bearer}x");
    let open = async |target: &str, headers: &[(&str, &str)]| {
        Client::open(address, target, &["roomcast.v1"], headers, None).await.err()
    };
    assert_eq!(open("/ws", &[]).await, None);
    assert_eq!(open("/ws", &[("Authorization", &bad)]).await, Some(401));
    assert_eq!(open("/ws?token=", &[]).await, None, "an empty one is none");
    assert_eq!(open("/ws", &[("Authorization", &format!("Bearer {}", token("ann", -5, json!({}))))]).await, Some(401));
    assert_eq!(open(&query, &[("Authorization", &bearer)]).await, None, "the same twice is one");
    assert_eq!(open(&query, &[("Authorization", &bad)]).await, Some(400));
    assert_eq!(open("/ws", &[("Authorization", "Bearer")]).await, Some(400));
    assert_eq!(open("/ws", &[("Authorization", "Basic YTpi")]).await, None, "the affair of a proxy before the pod");
    pod.stop();
}

#[tokio::test]
async fn a_pod_without_keys_takes_no_token_for_good() {
    let pod = pod(|_| ());
    let refused = Client::open(pod.addresses().plain[0], "/ws?token=x", &["roomcast.v1"], &[], None).await.err();
    assert_eq!(refused, Some(401));
    pod.stop();
}

#[tokio::test]
async fn where_a_token_is_needed_it_comes_first() {
    let pod = start(|s| {
        s.general.anonymous = Some(false);
        s.timeouts.connect = Duration::from_millis(800);
    });
    let address = pod.addresses().plain[0];
    let mut client = Client::connect(address).await;
    assert_eq!(client.ask(json!({"type":"subscribe","id":1,"room":"r"})).await["code"], "unauthorized");
    assert_eq!(client.ask(json!({"type":"connect"})).await["code"], "unauthorized");
    assert_eq!(client.ask(json!({"type":"ping"})).await["type"], "pong");
    // What is sent behind the token is taken up after it.
    let ann = token("ann", 60, json!({}));
    client.send(&json!({"type":"connect","id":2,"token":ann}).to_string()).await;
    client.send(&json!({"type":"subscribe","id":3,"room":"r"}).to_string()).await;
    let done = client.json().await;
    assert_eq!((done["type"].as_str(), done["id"].as_u64()), (Some("done"), Some(2)));
    assert!(done["expires_at"].as_u64().unwrap() > now() * 1000);
    assert_eq!(client.json().await["type"], "subscribed");

    let mut wrong = Client::connect(address).await;
    let answer = wrong.ask(json!({"type":"connect","id":1,"token":"nonsense"})).await;
    assert_eq!((answer["type"].as_str(), answer["code"].as_str()), (Some("error"), Some("unauthorized")));
    assert_eq!(wrong.next().await, Seen::Close(Some(4001)));

    let mut silent = Client::connect(address).await;
    let began = Instant::now();
    assert_eq!(silent.next().await, Seen::Close(Some(4001)), "nobody waits for ever");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(client.ask(json!({"type":"ping"})).await["type"] == "pong", "who has one stays");
    pod.stop();
}

#[tokio::test]
async fn a_token_that_expires_closes_and_one_that_is_refreshed_does_not() {
    let pod = start(|_| ());
    let mut short = connect(&pod, &token("ann", 2, json!({}))).await;
    let mut refreshed = connect(&pod, &token("ann", 2, json!({}))).await;
    let done = refreshed.ask(json!({"type":"refresh","id":1,"token":token("ann", 3600, json!({}))})).await;
    assert_eq!(done["type"], "done", "{done}");
    let mut kept = connect(&pod, &token("bob", 2, json!({}))).await;
    let refused = kept.ask(json!({"type":"refresh","id":1,"token":token("bob", -1, json!({}))})).await;
    assert_eq!(refused["code"], "unauthorized");
    assert!(refused["message"].as_str().unwrap().contains("expired"), "{refused}");
    assert_eq!(kept.ask(json!({"type":"ping"})).await["type"], "pong", "the old token holds until it expires");
    assert_eq!(short.next().await, Seen::Close(Some(4002)));
    assert_eq!(kept.next().await, Seen::Close(Some(4002)));
    assert_eq!(refreshed.ask(json!({"type":"ping"})).await["type"], "pong");
    // A shorter one counts as well: it is the newest.
    let done = refreshed.ask(json!({"type":"refresh","token":token("ann", 1, json!({}))})).await;
    assert_eq!(done["type"], "done");
    assert_eq!(refreshed.next().await, Seen::Close(Some(4002)));
    pod.stop();
}

#[tokio::test]
async fn a_backend_can_ask_for_a_newer_token() {
    let pod = start(|_| ());
    let mut ann = connect(&pod, &token("ann", 3600, json!({}))).await;
    let mut other = connect(&pod, &token("ann", 3600, json!({}))).await;
    let mut nobody = Client::connect(pod.addresses().plain[0]).await;
    let order = |within_ms| Order { target: Target::User("ann".into()), act: Act::Refresh(within_ms) };
    let asked = std::time::SystemTime::now();
    assert_eq!(pod.services().queues.obey(order(1_500)).await.unwrap(), Some(2));
    for client in [&mut ann, &mut other] {
        let message = client.json().await;
        assert_eq!(message["type"], "refresh");
        let at = UNIX_EPOCH + Duration::from_millis(message["expires_at"].as_u64().unwrap());
        let given = at.duration_since(asked).unwrap();
        assert!(given > Duration::from_millis(1_000) && given < Duration::from_secs(10), "{given:?}");
    }
    assert_eq!(ann.ask(json!({"type":"refresh","token":token("ann", 3600, json!({}))})).await["type"], "done");
    assert_eq!(other.next().await, Seen::Close(Some(4002)), "who does not is closed");
    assert_eq!(ann.ask(json!({"type":"ping"})).await["type"], "pong");
    assert_eq!(nobody.ask(json!({"type":"ping"})).await["type"], "pong");
    pod.stop();
}

#[tokio::test]
async fn a_refresh_looks_again_at_the_rooms() {
    let pod = start(|s| {
        s.policies = vec![rule("claimed:*", |p| {
            p.join = Access::Claim;
            p.publish = Access::Claim;
        })];
    });
    let rights = |rooms: Value| json!({ "rooms": rooms });
    let both = rights(json!(["claimed:1", {"room": "claimed:2", "rights": ["join", "publish"]}]));
    let mut client = connect(&pod, &token("ann", 60, both)).await;
    client.subscribe("claimed:1").await;
    client.subscribe("claimed:2").await;
    client.subscribe("open").await;
    assert_eq!(client.ask(json!({"type":"subscribe","room":"claimed:3"})).await["code"], "forbidden");
    let publish = |room: &str| json!({"type":"publish","room":room,"topic":"t","data":1});
    assert_eq!(client.ask(publish("claimed:1")).await["code"], "forbidden", "joining is not publishing");
    client.send(&publish("claimed:2").to_string()).await;
    let mut kinds = [client.json().await, client.json().await].map(|m| m["type"].as_str().unwrap().to_owned());
    kinds.sort();
    assert_eq!(kinds, ["events", "published"]);

    let fewer = token("ann", 60, rights(json!(["claimed:2"])));
    assert_eq!(client.ask(json!({"type":"refresh","token":fewer})).await["type"], "done");
    let left = client.json().await;
    assert_eq!(left, json!({"type":"unsubscribed","room":"claimed:1","code":"forbidden"}));
    assert_eq!(client.ask(publish("claimed:2")).await["code"], "forbidden", "so is publishing");
    let other = client.ask(json!({"type":"refresh","token":token("bob", 60, json!({}))})).await;
    assert_eq!(other["code"], "unauthorized");
    assert!(other["message"].as_str().unwrap().contains("another user's"), "{other}");
    crate::harness::publish(&pod, "claimed:1", "t", "1").await;
    crate::harness::publish(&pod, "claimed:2", "t", "1").await;
    assert_eq!(client.json().await["room"], "claimed:2", "what was left is left");
    pod.stop();
}

#[tokio::test]
async fn an_anonymous_client_becomes_somebody() {
    let pod = start(|s| s.policies = vec![rule("*", |p| p.presence = PresenceMode::List)]);
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    client.subscribe("r").await;
    let members = |answer: Value| answer["members"].as_array().unwrap().clone();
    let before = members(client.ask(json!({"type":"presence","room":"r"})).await);
    assert!(before.len() == 1 && before[0]["user"].is_null());
    client.ask(json!({"type":"connect","token":token("ann", 60, json!({}))})).await;
    let after = members(client.ask(json!({"type":"presence","room":"r"})).await);
    assert!(after.len() == 1 && after[0]["user"] == "ann", "{after:?}");
    pod.stop();
}

#[tokio::test]
async fn a_personal_room_is_its_users_own() {
    let pod = start(|s| {
        s.tokens.personal_room = roomcast::testing::config::PersonalRoom::parse("user:{user}").ok();
        s.policies = vec![rule("user:*", |p| p.join = Access::Owner)];
    });
    let mut ann = connect(&pod, &token("ann", 60, json!({}))).await;
    let joined = ann.json().await;
    assert_eq!((joined["type"].as_str(), joined["room"].as_str()), (Some("subscribed"), Some("user:ann")));
    assert!(joined.get("id").is_none(), "nobody asked for it");
    publish(&pod, "user:ann", "t", "1").await;
    let first = ann.json().await;
    assert_eq!(first["offset"], 1);
    drop(ann);
    publish(&pod, "user:ann", "t", "2").await;

    // Back with a position: the room is joined already, and what the client says counts instead.
    let mut ann = connect(&pod, &token("ann", 60, json!({}))).await;
    let joined = ann.json().await;
    assert_eq!((joined["type"].as_str(), joined["room"].as_str()), (Some("subscribed"), Some("user:ann")));
    let since = json!({"epoch": first["epoch"], "offset": 1});
    ann.send(&json!({"type":"subscribe","id":1,"room":"user:ann","since":since}).to_string()).await;
    let mut again = ann.json().await;
    while again.get("id").is_none() {
        // It joined ahead of the second event, which came before the answer: superseded.
        again = ann.json().await;
    }
    assert_eq!((again["type"].as_str(), again["recovered"].as_bool()), (Some("subscribed"), Some(true)));
    assert_eq!(ann.json().await["events"][0]["data"], 2);
    assert_eq!(ann.ask(json!({"type":"subscribe","room":"user:ann"})).await["code"], "already_subscribed");

    let mut bob = connect(&pod, &token("bob", 60, json!({}))).await;
    assert_eq!(bob.json().await["room"], "user:bob");
    assert_eq!(bob.ask(json!({"type":"subscribe","room":"user:ann"})).await["code"], "forbidden");
    let mut nobody = Client::connect(pod.addresses().plain[0]).await;
    assert_eq!(nobody.ask(json!({"type":"subscribe","room":"user:ann"})).await["code"], "forbidden");
    pod.stop();
}

#[tokio::test]
async fn a_client_publishes_at_the_policys_rate_and_under_its_own_name() {
    let pod = start(|s| {
        s.policies = vec![rule("chat", |p| {
            p.publish = Access::User;
            (p.publish_per_second, p.publish_burst) = (1, 3);
        })];
    });
    let mut nobody = Client::connect(pod.addresses().plain[0]).await;
    let publish = json!({"type":"publish","room":"chat","topic":"t","data":1,"user":"eve"});
    assert_eq!(nobody.ask(publish.clone()).await["code"], "forbidden");
    nobody.subscribe("chat").await;
    let mut ann = connect(&pod, &token("ann", 60, json!({}))).await;
    for _ in 0..3 {
        assert_eq!(ann.ask(publish.clone()).await["type"], "published");
        assert_eq!(nobody.json().await["events"][0]["user"], "ann", "the token's user, whatever the body says");
    }
    let limited = ann.ask(publish.clone()).await;
    assert_eq!((limited["code"].as_str(), limited["room"].as_str()), (Some("rate_limited"), Some("chat")));
    assert_eq!(ann.ask(json!({"type":"ping"})).await["type"], "pong", "other commands are not meant");
    for _ in 0..20 {
        let answer = ann.ask(publish.clone()).await;
        assert!(answer["code"] == "rate_limited" || answer["type"] == "published", "{answer}");
    }
    assert_eq!(ann.ask(json!({"type":"ping"})).await["type"], "pong", "it is refused, and not sent away");
    pod.stop();
}

#[tokio::test]
async fn stats_are_this_connections() {
    let pod = start(|_| ());
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    client.subscribe("r").await;
    publish(&pod, "r", "t", "\"0123456789\"").await;
    client.json().await;
    let stats = client.ask(json!({"type":"stats","id":1})).await;
    assert_eq!((stats["transport"].as_str(), stats["dialect"].as_str()), (Some("websocket"), Some("native")));
    assert_eq!((stats["tls"].as_bool(), stats["rooms"].as_u64()), (Some(false), Some(1)));
    assert_eq!((stats["messages_in"].as_u64(), stats["frames_out"].as_u64()), (Some(2), Some(3)));
    assert!(stats.get("compression").is_none(), "{stats}");
    let bytes = |name: &str| stats[name].as_u64().unwrap();
    assert!(bytes("bytes_in") > 40 && bytes("bytes_out") > 200, "{stats}");
    pod.stop();
}
