//! Clients call the backend: over every way in, what no answer means, what is refused, what a connection's end ends.

use super::dialects::{Polling, chat};
use super::*;

/// A pod whose clients may call the backend, whatever they are.
fn calling(settings: &mut Settings, backend: &Backend) {
    settings.hooks.rpc = Some(backend.url("/rpc"));
    settings.hooks.rpc_access = Access::Anyone;
    settings.hooks.rpc_timeout = Duration::from_millis(500);
}

/// Tells a client what it said.
fn echo(asked: &Asked, _: usize) -> Does {
    match asked.body["method"].as_str().unwrap() {
        "no" => no(),
        "hangs" => Does::Hangs,
        "drops" => Does::Drops,
        "nothing" => yes(),
        "bytes" => Does::Says(json!({"allow": true, "data64": "AQI="})),
        "500" => Does::Answers(500, String::new()),
        "kept" => Does::Says(json!({"allow": true, "data": 1, "cache_for": 1_000})),
        "large" => Does::Says(json!({"allow": true, "data": "x".repeat(300_000)})),
        _ => Does::Says(json!({"allow": true, "data": {"said": asked.body["data"]}})),
    }
}

fn call(id: u64, method: &str) -> Value {
    json!({"type": "rpc", "id": id, "method": method, "data": id})
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    timeout(SOON, async {
        while !holds().await {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("not in time: {what}"));
}

#[tokio::test]
async fn the_documents_call_is_made_and_answered() {
    let backend = Backend::start(|_, _| Does::Says(example("rpc-answer"))).await;
    let pod = pod(|settings| {
        calling(settings, &backend);
        settings.hooks.rpc_access = Access::User;
        settings.hooks.secret = HookSecret::new("0123456789abcdef");
        settings.tokens.hmac_secrets = vec![HmacSecret::new(SECRET).unwrap()];
        settings.tokens.keep_claims = true;
    });
    let signed = token(&json!({"sub": "ann", "exp": 4_102_444_800_u64, "team": "red"}));
    let target = format!("/ws?token={signed}");
    let mut client = Client::open(pod.addresses().plain[0], &target, &["roomcast.v1"], &[], None).await.unwrap();
    let welcome = client.json().await;
    let asks =
        json!({"type": "rpc", "id": 31, "method": "poll.close", "data": {"poll": "42"}, "idempotency_key": "c-7"});
    assert_eq!(client.ask(asks).await, json!({"type": "result", "id": 31, "data": {"votes": 17}}));
    let asked = &backend.asked()[0];
    let mut expected = example("rpc");
    expected["connection"] = welcome["connection"].clone();
    assert_eq!(asked.body, expected);
    assert_eq!(asked.header("authorization"), Some("Bearer 0123456789abcdef"));
    assert!(asked.header("idempotency-key").is_some());
    let mut stranger = Client::connect(pod.addresses().plain[0]).await;
    assert_eq!(stranger.ask(call(1, "poll.close")).await["code"], "forbidden");
    assert_eq!(backend.asked().len(), 1);
    pod.stop();
}

#[tokio::test]
async fn a_client_calls_over_each_way_in() {
    let backend = Backend::start(echo).await;
    let pod = pod(|settings| {
        calling(settings, &backend);
        settings.socketio.enabled = true;
        settings.socketio.namespaces = vec!["/".to_owned(), "/club".to_owned()];
        chat(settings);
        let club = r#"
[[dialect]]
name = "club"
paths = ["/club"]
envelope = "socketio"
command = [{ when = { "/0" = "close" }, does = "rpc", method = "poll.close", data = "/1" }]
message = [{ on = "result", ack = '["{data}"]' }, { on = "error", ack = '[{"failed": "{code}"}]' }]
event = [{ write = '["{topic}", "{data}"]' }]
"#;
        let described = merge(&Flags::new(), &Variables::new(), Some((std::path::Path::new("club"), club))).unwrap();
        settings.dialects.extend(described.settings.dialects);
    });
    let address = pod.addresses().plain[0];
    let result = json!({"type": "result", "id": 7, "data": {"said": 7}});
    assert_eq!(Client::connect(address).await.ask(call(7, "poll.close")).await, result);
    let mut page = Page::connect_to(pod.addresses().quic[0], "/wt").await;
    assert_eq!(page.ask(&call(7, "poll.close")).await, result);
    let commands = json!([call(7, "poll.close"), call(8, "no"), call(9, "nothing"), call(10, "bytes")]);
    let (status, _, body) = http(address, "POST", "/send", &commands.to_string()).await;
    let said: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &said["messages"][0], &said["messages"][1]["code"]), (200, &result, &json!("forbidden")));
    assert_eq!(said["messages"][2], json!({"type": "result", "id": 9}));
    assert_eq!(said["messages"][3], json!({"type": "result", "id": 10, "data64": "AQI="}));
    // Socket.IO: the acknowledgement is the reply, and with a dialect of its own what the backend said.
    for (connect, event, expected) in [
        ("40", r#"427["rpc",{"method":"poll.close","data":[1]}]"#, r#"437[{"type":"result","data":{"said":[1]}}]"#),
        ("40/club,", r#"42/club,5["close",{"poll":42}]"#, r#"43/club,5[{"said":{"poll":42}}]"#),
    ] {
        let client = Polling::open(address, "").await;
        client.send(connect).await;
        client.send(event).await;
        let mut packets = Vec::new();
        while !packets.iter().any(|packet: &String| packet.starts_with("43")) {
            packets.extend(client.get().await);
        }
        assert_eq!(packets.last().map(String::as_str), Some(expected), "{packets:?}");
    }
    let ways: Vec<_> =
        backend.asked().iter().map(|asked| asked.body["transport"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ways, ["websocket", "webtransport", "send", "send", "send", "send", "polling", "polling"]);
    pod.stop();
}

#[tokio::test]
async fn what_is_no_answer_is_told_apart() {
    let backend = Backend::start(echo).await;
    let pod = pod(|settings| calling(settings, &backend));
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    for (id, (method, code)) in [
        ("no", "forbidden"),
        ("hangs", "deadline"),
        ("drops", "failed"),
        ("500", "failed"),
        ("kept", "failed"),
        ("large", "failed"),
        ("", "bad_request"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = client.ask(call(id as u64, method)).await;
        assert_eq!((&answer["code"], &answer["id"]), (&json!(code), &json!(id)), "{method}: {answer}");
    }
    for (result, expected) in [("denied", 1.0), ("timeout", 1.0), ("failed", 2.0), ("bad_answer", 2.0), ("full", 0.0)] {
        assert_eq!(questions(&pod, "rpc", result).await, expected, "{result}");
    }
    assert_eq!(count(&pod, "roomcast_hook_retries_total{hook=\"rpc\"}").await, 0.0, "none had a key");
    let named = json!({"type": "rpc", "method": "drops", "idempotency_key": "k"});
    assert_eq!(client.ask(named).await["code"], "failed");
    assert_eq!(count(&pod, "roomcast_hook_retries_total{hook=\"rpc\"}").await, 2.0);
    pod.stop();
    // Nothing to call.
    let pod = crate::harness::pod(|_| {});
    let answer = Client::connect(pod.addresses().plain[0]).await.ask(call(1, "x")).await;
    assert_eq!(answer["code"], "not_available", "{answer}");
    pod.stop();
}

#[tokio::test]
async fn a_token_names_the_methods_of_its_user() {
    let backend = Backend::start(|asked, before| match &*asked.path {
        "/connect" => Does::Says(json!({"allow": true, "methods": ["given"]})),
        _ => echo(asked, before),
    })
    .await;
    let pod = pod(|settings| {
        calling(settings, &backend);
        settings.hooks.rpc_access = Access::Claim;
        settings.hooks.connect = Some(backend.url("/connect"));
        settings.tokens.hmac_secrets = vec![HmacSecret::new(SECRET).unwrap()];
    });
    let address = pod.addresses().plain[0];
    let open = async |methods: Value| {
        let signed = token(&json!({"sub": "ann", "exp": 4_102_444_800_u64, "methods": methods}));
        Client::open(address, &format!("/ws?token={signed}"), &["roomcast.v1"], &[], None).await
    };
    let mut client = open(json!(["poll.*"])).await.unwrap();
    client.json().await;
    for (method, kind) in [("poll.close", "result"), ("given", "result"), ("user.ban", "error"), ("polls", "error")] {
        let answer = client.ask(call(1, method)).await;
        assert_eq!(answer["type"], kind, "{method}: {answer}");
    }
    for bad in [json!("poll.*"), json!([1]), json!([""]), json!(vec!["x"; 65])] {
        assert!(open(bad.clone()).await.is_err(), "{bad}: a right that was misspelt is not passed over");
    }
    pod.stop();
}

#[tokio::test]
async fn calls_are_bounded_and_end_with_their_connection() {
    let backend = Backend::start(|asked, before| match &*asked.path {
        "/connect" => yes(),
        _ => echo(asked, before),
    })
    .await;
    let pod = pod(|settings| {
        calling(settings, &backend);
        settings.hooks.rpc_timeout = Duration::from_secs(60);
        settings.hooks.rpc_per_connection = 2;
        settings.hooks.rpc_in_flight = 3;
        settings.hooks.connect = Some(backend.url("/connect"));
        settings.hooks.in_flight = 1;
    });
    let address = pod.addresses().plain[0];
    let in_flight = "roomcast_hook_calls_in_flight";
    let mut first = Client::connect(address).await;
    first.send_at_once(&[call(1, "hangs"), call(2, "hangs"), call(3, "hangs"), call(4, "poll.close")]).await;
    assert_eq!(
        (&first.json().await["code"], &first.json().await["code"]),
        (&json!("limit_exceeded"), &json!("limit_exceeded"))
    );
    // What is sent behind a call does not wait for it.
    assert_eq!(first.ask(json!({"type": "ping"})).await["type"], "pong");
    until("two calls are under way", async || count(&pod, in_flight).await == 2.0).await;
    let mut second = Client::connect(address).await;
    second.send_at_once(&[call(1, "hangs"), call(2, "poll.close")]).await;
    let full = second.json().await;
    assert_eq!((&full["id"], &full["code"]), (&json!(2), &json!("unavailable")), "{full}");
    assert_eq!(count(&pod, in_flight).await, 3.0, "and clients connect meanwhile, whatever is called");
    let third = Client::connect(address).await;
    drop(first);
    until("the calls are given up", async || questions(&pod, "rpc", "cancelled").await == 2.0).await;
    assert_eq!(count(&pod, in_flight).await, 1.0);
    assert_eq!(second.ask(call(3, "poll.close")).await["data"]["said"], 3);
    drop((second, third));
    until("the last one is, too", async || count(&pod, in_flight).await == 0.0).await;
    // A request that its client gives up.
    let body = call(1, "hangs").to_string();
    let mut request = TcpStream::connect(address).await.unwrap();
    let head = format!("POST /send HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    request.write_all(head.as_bytes()).await.unwrap();
    until("it is under way", async || count(&pod, in_flight).await == 1.0).await;
    drop(request);
    until("it is given up", async || questions(&pod, "rpc", "cancelled").await == 4.0).await;
    pod.stop();
}

#[tokio::test]
async fn a_flood_of_calls_is_refused_and_then_closed() {
    let backend = Backend::start(echo).await;
    let pod = pod(|settings| {
        calling(settings, &backend);
        settings.hooks.rpc_per_second = 1;
        settings.hooks.rpc_burst = 3;
        settings.limits.commands_per_second = 1;
        settings.limits.command_burst = 1;
    });
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    for id in 1..=3 {
        assert_eq!(client.ask(call(id, "x")).await["type"], "result", "calls do not count among commands");
    }
    assert_eq!(client.ask(call(4, "x")).await["code"], "rate_limited");
    for id in 5..20 {
        client.send(&call(id, "x").to_string()).await;
    }
    assert_eq!(client.closed().await, Some(4029));
    pod.stop();
}
