//! What no span may hold: tokens, keys, payloads, users, topics, addresses; and names of rooms, unless the operator says so.

use super::{
    call,
    collector::{Collector, attribute, takes_all},
    traced, traceparent,
};
use crate::harness::Client;
use roomcast::testing::{
    auth::SigningKey,
    config::{HmacSecret, PersonalRoom, Settings},
    pod::Pod,
};
use serde_json::json;

const SECRET: &str = "a secret of at least thirty-two bytes";

fn with_users(settings: &mut Settings) {
    settings.tokens.hmac_secrets = vec![HmacSecret::new(SECRET).unwrap()];
    settings.tokens.personal_room = Some(PersonalRoom::parse("user:{user}").unwrap());
}

/// A client and a backend publish to the client's personal room, and one of the publishes fails.
async fn publishes(pod: &Pod) -> String {
    let exp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 60;
    let claims = json!({"sub": "ann-of-green-gables", "exp": exp});
    let token = SigningKey::secret(&HmacSecret::new(SECRET).unwrap()).token(&claims, None).unwrap();
    let target = format!("/ws?token={token}");
    let mut client = Client::open(pod.addresses().plain[0], &target, &["roomcast.v1"], &[], None).await.unwrap();
    assert_eq!(client.json().await["type"], "welcome");
    assert_eq!(client.json().await["room"], "user:ann-of-green-gables");
    let event = |data: &str| {
        json!({
            "room": "user:ann-of-green-gables", "topic": "raspberry-cordial", "data": {"text": data},
            "key": "kindred-spirits", "idempotency_key": "puffed-sleeves",
        })
    };
    let mut command = event("carrots");
    command["type"] = json!("publish");
    command["id"] = json!("command-id");
    command["event_id"] = json!("amethyst-brooch");
    client.send(&command.to_string()).await;
    let headers =
        format!("{}baggage: user=ann-of-green-gables\r\nX-Forwarded-For: 203.0.113.77\r\n", traceparent("01"));
    let answered = [("slate", 200), ("slates", 409)];
    for (data, status) in answered {
        assert_eq!(call(pod, "/api/publish", &headers, &event(data).to_string()).await.0, status);
    }
    token
}

#[tokio::test]
async fn no_span_has_a_token_a_payload_or_a_user() {
    let collector = Collector::start(takes_all).await;
    let pod = traced(&collector, with_users);
    let token = publishes(&pod).await;
    // Two publishes that were taken, each with its fan-out, and one that was not.
    let spans = collector.wait_for(5).await;
    assert_eq!(spans.len(), 5, "{spans:#?}");
    let bytes: Vec<u8> = collector.received().into_iter().flat_map(|received| received.body).collect();
    let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("default_policy") && has("messaging.system"), "the search finds what is there");
    let signature = token.rsplit('.').next().unwrap();
    for secret in [
        token.as_str(),
        signature,
        "test-key",
        "Bearer",
        "ann-of-green-gables",
        "user:",
        "raspberry-cordial",
        "carrots",
        "slate",
        "kindred-spirits",
        "puffed-sleeves",
        "amethyst-brooch",
        "command-id",
        "203.0.113.77",
        "127.0.0.1",
    ] {
        assert!(!has(secret), "{secret} is in a span");
    }
    pod.stop();
}

#[tokio::test]
async fn rooms_are_named_where_the_operator_says_so() {
    let collector = Collector::start(takes_all).await;
    let pod = traced(&collector, |settings| {
        with_users(settings);
        settings.traces.room_names = true;
    });
    publishes(&pod).await;
    for span in collector.wait_for(5).await {
        assert_eq!(attribute(&span, "messaging.destination.name"), "user:ann-of-green-gables");
        assert!(!span.name.contains("ann"), "a span's name is one of few");
    }
    pod.stop();
}
