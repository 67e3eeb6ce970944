//! Commands over `POST /send`: the same replies as over a WebSocket, and rates that do not begin anew with each request.

use super::*;
use http_body_util::Full;

const SECRET: &str = "a secret of at least thirty-two bytes";

fn start(change: impl FnOnce(&mut roomcast::testing::config::Settings)) -> Pod {
    pod(|settings| {
        settings.tokens.hmac_secrets = vec![HmacSecret::new(SECRET).unwrap()];
        settings.policies = vec![
            rule("chat:*", |policy| {
                policy.publish = Access::Anyone;
                (policy.presence, policy.signal) = (PresenceMode::List, Access::Anyone);
                (policy.publish_per_second, policy.publish_burst) = (1_000, 1_000);
            }),
            rule("slow:*", |policy| {
                policy.publish = Access::Anyone;
                (policy.publish_per_second, policy.publish_burst) = (1, 2);
            }),
        ];
        change(settings);
    })
}

fn token(user: &str) -> String {
    let claims = json!({"sub": user, "exp": 4_102_444_800_u64});
    SigningKey::secret(&HmacSecret::new(SECRET).unwrap()).token(&claims, None).unwrap()
}

/// The status, the head and the JSON of an answer to commands.
pub(super) async fn post(
    pod: &Pod,
    target: &str,
    headers: &[(&str, &str)],
    body: String,
) -> (u16, http::HeaderMap, Value) {
    let http: HttpClient<HttpConnector, Full<Bytes>> = HttpClient::builder(TokioExecutor::new()).build_http();
    let mut request = Request::post(format!("http://{}{target}", pod.addresses().plain[0]));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::from(body)).unwrap();
    let (parts, body) = timeout(SOON, http.request(request)).await.expect("an answer in time").unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let json = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {body:?}"));
    (parts.status.as_u16(), parts.headers, json)
}

/// The replies to commands.
async fn replies(pod: &Pod, target: &str, commands: &Value) -> Vec<Value> {
    let (status, _, answer) = post(pod, target, &[], commands.to_string()).await;
    assert_eq!(status, 200, "{answer}");
    answer["messages"].as_array().unwrap().clone()
}

fn said(n: u64) -> Value {
    json!({"type": "publish", "id": n, "room": "chat:1", "topic": "said", "data": n})
}

#[tokio::test]
async fn a_client_that_polls_publishes_and_asks() {
    let pod = start(|_| {});
    let first = poll(&pod, "/poll?room=chat:1").await;
    let one = replies(&pod, "/send", &said(1)).await;
    assert_eq!(
        (one.len(), &one[0]["type"], &one[0]["id"], &one[0]["offset"]),
        (1, &json!("published"), &json!(1), &json!(1))
    );
    // As its user, and several in their order.
    let target = format!("/send?token={}", token("ann"));
    let commands: Vec<_> = (2..20).map(said).chain([json!({"type": "ping", "id": "p"})]).collect();
    let many = replies(&pod, &target, &json!(commands)).await;
    let offsets_then: Vec<_> = many.iter().filter_map(|reply| reply["offset"].as_u64()).collect();
    assert!(offsets_then.iter().copied().eq(2..20), "{many:?}");
    assert_eq!(many.last(), Some(&json!({"type": "pong", "id": "p"})));
    // A poll is answered as soon as there is something.
    let (mut seen, mut cursor) = (Vec::new(), first["cursor"].clone());
    while seen.len() < 19 {
        let news = poll(&pod, &format!("/poll?room=chat:1&cursor={}", encoded(&cursor))).await;
        seen.extend(offsets(&news));
        cursor = news["cursor"].clone();
    }
    assert!(seen.iter().copied().eq(1..20), "{seen:?}");
    let asked = json!([
        {"type": "history", "id": 1, "room": "chat:1", "limit": 2},
        {"type": "presence", "id": 2, "room": "chat:1"},
        {"type": "ack", "id": 3, "room": "chat:1", "offset": 19},
        {"type": "subscribe", "id": 4, "room": "chat:1"},
        {"type": "unsubscribe", "id": 5, "room": "chat:1"},
        {"type": "refresh", "id": 6, "token": "x"},
        {"type": "stats", "id": 7},
        {"type": "dance", "id": 8},
        {"type": "publish", "id": 9, "room": "closed", "topic": "t", "data": 1},
        {"type": "signal", "id": 10, "room": "chat:1", "topic": "typing"},
        5,
    ]);
    let answers = replies(&pod, &target, &asked).await;
    let told: Vec<_> = answers.iter().map(|reply| reply["code"].as_str().or(reply["type"].as_str()).unwrap()).collect();
    let bad = "bad_request";
    assert_eq!(told, ["history", "presence", "done", bad, bad, bad, bad, "unknown_command", "forbidden", "done", bad]);
    assert_eq!(answers[0]["events"][1]["user"], "ann", "{}", answers[0]);
    assert!(answers.iter().zip(1..11).all(|(reply, id)| reply["id"] == id), "{answers:?}");
    assert_eq!(answers[1]["total"], 0, "a request is in no room");
    pod.stop();
}

#[tokio::test]
async fn a_client_that_polls_shows_that_it_types() {
    let pod = start(|_| {});
    let socket = format!("/ws?token={}", token("bob"));
    let mut bob = Client::open(pod.addresses().plain[0], &socket, &["roomcast.v1"], &[], None).await.unwrap();
    assert_eq!(bob.json().await["type"], "welcome");
    bob.subscribe("chat:1").await;
    let target = format!("/send?token={}", token("ann"));
    let typing = |ttl: Value| json!({"type": "signal", "room": "chat:1", "topic": "typing", "ttl": ttl});
    for _ in 0..3 {
        assert_eq!(replies(&pod, &target, &typing(json!(5_000))).await[0]["type"], "done");
    }
    assert_eq!(replies(&pod, &target, &typing(json!(0))).await[0]["type"], "done");
    let (shown, over) = (bob.json().await, bob.json().await);
    assert_eq!(
        (&shown["type"], &shown["user"], &shown["ttl"]),
        (&json!("signal"), &json!("ann"), &json!(5_000)),
        "{shown}"
    );
    assert_eq!((&over["type"], &over["ttl"]), (&json!("signal"), &json!(0)), "the others were thinned: {over}");
    assert!(bob.is_quiet().await);
    // A user's own polls do not hear it, and without a user nothing is shown.
    assert_eq!(replies(&pod, "/send", &typing(json!(5_000))).await[0]["code"], "unauthorized");
    pod.stop();
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_one_event() {
    let pod = start(|_| {});
    let mut command = said(1);
    command["idempotency_key"] = json!("m-1");
    let target = format!("/send?token={}", token("ann"));
    let first = replies(&pod, &target, &command).await;
    assert_eq!(first[0]["type"], "published", "{first:?}");
    assert_eq!(replies(&pod, &target, &command).await, first);
    // The same user's WebSocket has the same keys.
    let socket = format!("/ws?token={}", token("ann"));
    let mut client = Client::open(pod.addresses().plain[0], &socket, &["roomcast.v1"], &[], None).await.unwrap();
    assert_eq!(client.json().await["type"], "welcome");
    assert_eq!(client.ask(command.clone()).await, first[0]);
    command["data"] = json!(2);
    assert_eq!(replies(&pod, &target, &command).await[0]["code"], "conflict");
    pod.stop();
}

#[tokio::test]
async fn rates_do_not_begin_anew_with_each_request() {
    let pod = start(|settings| (settings.limits.commands_per_second, settings.limits.command_burst) = (1, 20));
    let (ann, bob) = (format!("/send?token={}", token("ann")), format!("/send?token={}", token("bob")));
    // A whole burst in one request: how long the requests take counts for little.
    let pings = json!(vec![json!({"type": "ping"}); 20]);
    let pongs = async |target: &str| {
        let replies = replies(&pod, target, &pings).await;
        assert!(replies.iter().all(|reply| reply["type"] == "pong" || reply["code"] == "rate_limited"), "{replies:?}");
        replies.iter().filter(|reply| reply["type"] == "pong").count()
    };
    assert_eq!(pongs(&ann).await, 20);
    assert!(pongs(&ann).await < 20);
    assert_eq!(pongs(&bob).await, 20, "another user's rate is another");
    let publish = json!({"type": "publish", "room": "slow:1", "topic": "t", "data": 1});
    let target = format!("/send?token={}", token("eve"));
    let published = replies(&pod, &target, &json!(vec![publish; 10])).await;
    assert_eq!(published.iter().filter(|reply| reply["code"] == "rate_limited").count(), 8, "{published:?}");
    // What would close a connection refuses the request.
    let pings = json!(vec![json!({"type": "ping"}); 60]).to_string();
    let (status, head, refused) = post(&pod, &ann, &[], pings).await;
    assert_eq!((status, &refused["error"]["code"]), (429, &json!("rate_limited")), "{refused}");
    assert!(head.contains_key("retry-after"));
    pod.stop();
}

#[tokio::test]
async fn what_is_no_command_is_refused_as_a_whole() {
    let pod =
        start(|settings| settings.general.origins = vec![OriginPattern::parse("https://app.example.com").unwrap()]);
    let many = json!(vec![said(1); 65]).to_string();
    let long = json!({"type": "ping", "id": "x".repeat(70_000)}).to_string();
    for (target, headers, body, status, code) in [
        ("/send", &[][..], "", 400, "bad_request"),
        ("/send", &[], "7", 400, "bad_request"),
        ("/send", &[], "[]", 400, "bad_request"),
        ("/send", &[], "[{\"type\":\"ping\"}", 400, "bad_request"),
        ("/send?room=chat:1", &[], "{}", 400, "bad_request"),
        ("/send?token=bad", &[], "{}", 401, "unauthorized"),
        ("/send", &[("Origin", "https://evil.example.com")], "{}", 403, "forbidden"),
        ("/send", &[("Content-Encoding", "gzip")], "{}", 415, "unsupported_encoding"),
        ("/send", &[], &many, 413, "limit_exceeded"),
        ("/send", &[], &long, 413, "limit_exceeded"),
    ] {
        let (answered, _, refused) = post(&pod, target, headers, body.to_owned()).await;
        assert_eq!((answered, &refused["error"]["code"]), (status, &json!(code)), "{target}: {refused}");
    }
    let response = send(pod.addresses().plain[0], Method::GET, "/send", &[]).await;
    assert_eq!((response.status().as_u16(), response.headers()["allow"].to_str().unwrap()), (405, "POST, OPTIONS"));
    // A page of an allowed origin.
    let origin = [("Origin", "https://app.example.com")];
    let response = send(pod.addresses().plain[0], Method::OPTIONS, "/send", &origin).await;
    assert_eq!(response.status(), 204);
    assert_eq!(response.headers()["access-control-allow-methods"], "POST");
    assert!(response.headers()["access-control-allow-headers"].to_str().unwrap().contains("content-type"));
    let (status, head, _) = post(&pod, "/send", &origin, json!({"type": "ping"}).to_string()).await;
    assert_eq!((status, &head["access-control-allow-origin"]), (200, &"https://app.example.com".parse().unwrap()));
    assert_eq!(head["cache-control"], "no-store");
    pod.stop();
}
