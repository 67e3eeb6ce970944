//! The preset `ticketing`.

use roomcast_proto::realtime::GetConnectionStatsResponse;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ticketing_speaks_its_documents_messages() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let urls = format!("redis://{host}:{port}");
    let secret = "a-secret-of-thirty-two-bytes-or-more";
    let pods =
        [preset("ticketing", &urls, &[("JWT_SECRET", secret)]), preset("ticketing", &urls, &[("JWT_SECRET", secret)])];
    for pod in &pods {
        ready(pod).await;
        assert_eq!(get(pod, "/health").await.0, 200);
        assert_eq!(get(pod, "/ready").await, (200, "{\"status\":\"ready\"}".to_owned()));
        assert!(get(pod, "/metrics").await.1.contains("roomcast_connections"));
    }
    let payload = json!({"user_id": "u1", "sub": "other"});
    let token = signed(&payload, secret);
    let mut user = open(&pods[0], &format!("/ws?token={token}")).await;
    let connected = user.json().await;
    assert_eq!(connected["type"], "system:connected", "{connected}");
    assert!(connected["payload"]["connection_id"].is_string() && connected["payload"]["server_time"].is_u64());
    let mut guest = open(&pods[1], "/ws").await;
    guest.json().await;
    guest.send(r#"{"type":"system:ping"}"#).await;
    assert_eq!(guest.json().await["type"], "system:pong");
    guest.send(r#"{"type":"room:join","payload":{"event_id":"123"}}"#).await;
    user.send(r#"{"type":"room:join","payload":{"room":"event:123"}}"#).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    publish(&pods[0], "event:123", "ticket:availability", r#"{"event_id":"123","left":5}"#).await;
    let expected = json!({"type": "ticket:availability", "payload": {"event_id": "123", "left": 5}});
    assert_eq!((guest.json().await, user.json().await), (expected.clone(), expected));
    // A user's messages reach that user only, on whichever pod.
    publish(&pods[1], "user:u1", "booking:confirmed", r#"{"booking_id":"b"}"#).await;
    assert_eq!(user.json().await, json!({"type": "booking:confirmed", "payload": {"booking_id": "b"}}));
    for (message, code) in [
        (r#"{"type":"room:join","payload":{"room":"user:u1"}}"#, "forbidden"),
        (r#"{"type":"room:join","payload":{"room":"other:1"}}"#, "forbidden"),
        (r#"{"type":"room:join","payload":{}}"#, "bad_request"),
        ("no JSON", "bad_request"),
    ] {
        guest.send(message).await;
        let error = guest.json().await;
        assert_eq!((&error["type"], &error["payload"]["code"]), (&json!("system:error"), &json!(code)), "{message}");
    }
    // What is as the client wants it already, and what the old server does not know, is no error.
    for message in [
        r#"{"type":"room:join","payload":{"room":"event:123"}}"#,
        r#"{"type":"room:leave","payload":{"room":"event:9"}}"#,
        r#"{"type":"user:subscribe","payload":{"user_id":"u1"}}"#,
        r#"{"type":"booking:confirmed","payload":{}}"#,
        r#"{"type":"room:leave","payload":{"room":"event:123"}}"#,
        r#"{"type":"room:leave","payload":{"room":"event:123"}}"#,
    ] {
        guest.send(message).await;
    }
    guest.send(r#"{"type":"system:ping"}"#).await;
    assert_eq!(guest.json().await["type"], "system:pong");
    publish(&pods[1], "event:123", "ticket:availability", "1").await;
    assert_eq!(user.json().await["payload"], json!(1));
    assert!(guest.is_quiet().await);
    // A bad token is refused where none would do.
    let address = pods[0].addresses().plain[0];
    let forged = signed(&payload, "another-secret-of-thirty-two-bytes");
    let refused = Client::open(address, &format!("/ws?token={forged}"), &[], &[], None).await;
    assert_eq!(refused.err(), Some(401));
    // A page that has no token writes an empty one; a proxy's own header is not the client's token.
    let refused = |target: String, headers: Vec<(&'static str, String)>| async move {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Client::open(address, &target, &[], &headers, None).await.err()
    };
    assert_eq!(refused("/ws?token=".to_owned(), vec![]).await, None);
    assert_eq!(refused(format!("/ws?token={token}"), vec![("Authorization", format!("Bearer {token}"))]).await, None);
    assert_eq!(refused(format!("/ws?token={forged}"), vec![("Authorization", format!("Bearer {token}"))]).await, None);
    assert_eq!(
        refused(format!("/ws?token={token}"), vec![("Authorization", format!("Bearer {forged}"))]).await,
        Some(401),
        "the header comes first"
    );
    // The native protocol is one offer away.
    let native = Client::open(address, "/ws", &["roomcast.v1"], &[], None).await.unwrap().json().await;
    assert_eq!(native["type"], "welcome");
    for pod in pods {
        pod.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ticketing_without_a_secret_knows_nobody_and_without_guests_lets_nobody_in() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let urls = format!("redis://{host}:{port}");
    let pod = preset("ticketing", &urls, &[("METRICS_ENABLED", "false"), ("JWT_SECRET", "")]);
    ready(&pod).await;
    let address = pod.addresses().plain[0];
    // No token is judged, and everybody is let in: one more or less says nothing.
    let token = signed(&json!({"sub": "u"}), "a-secret-of-thirty-two-bytes-or-more");
    let mut guest = Client::open(address, &format!("/ws?token={token}"), &[], &[], None).await.unwrap();
    guest.json().await;
    guest.send(r#"{"type":"room:join","payload":{"room":"user:u"}}"#).await;
    assert_eq!(guest.json().await["payload"]["code"], "forbidden");
    assert_eq!(get(&pod, "/metrics").await.0, 404);
    assert_eq!(crate::harness::get(&pod, "/metrics").await.0, 404, "on no port");
    pod.stop();
    let pod = preset("ticketing", &urls, &[("WS_ALLOW_ANONYMOUS", "false"), ("JWT_SECRET", &"x".repeat(32))]);
    ready(&pod).await;
    for target in ["/ws", "/ws?token=", "/ws?token=abc"] {
        let refused = Client::open(pod.addresses().plain[0], target, &[], &[], None).await;
        assert_eq!(refused.err(), Some(401), "{target}: no message of this dialect could bring a token later");
    }
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn balancers_ask_by_options_as_well() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let pod = preset("ticketing", &format!("redis://{host}:{port}"), &[]);
    ready(&pod).await;
    for address in [pod.addresses().plain[0], pod.addresses().internal[0]] {
        // As `option httpchk` of HAProxy asks.
        for (request, status) in [
            ("OPTIONS /health HTTP/1.0", "200"),
            ("OPTIONS /ready HTTP/1.0", "200"),
            ("OPTIONS /accepting HTTP/1.0", "200"),
            ("OPTIONS /nothing HTTP/1.0", "404"),
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(format!("{request}\r\n\r\n").as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer.split(' ').nth(1), Some(status), "{request}: {answer}");
        }
    }
    pod.stop();
}

async fn grpc(pod: &Pod) -> RealtimeServiceClient<Channel> {
    let address = format!("http://{}", pod.addresses().grpc[0]);
    RealtimeServiceClient::new(Channel::from_shared(address).unwrap().connect().await.unwrap())
}

/// Two pods over this Redis, a user's client at the first and a guest's at the second, in the room of event 123.
async fn user_and_guest(urls: &str) -> ([Pod; 2], Client, Client) {
    let secret = "a-secret-of-thirty-two-bytes-or-more";
    let pods = [(); 2].map(|()| preset("ticketing", urls, &[("JWT_SECRET", secret)]));
    for pod in &pods {
        ready(pod).await;
    }
    let token = signed(&json!({"user_id": "u1"}), secret);
    let mut user = open(&pods[0], &format!("/ws?token={token}")).await;
    let mut guest = open(&pods[1], "/ws").await;
    user.json().await;
    guest.json().await;
    guest.send(r#"{"type":"room:join","payload":{"event_id":"123"}}"#).await;
    (pods, user, guest)
}

/// What a pod says when it knows of so many members of `event:123`, and of the user.
async fn members(pod: &Pod, count: i32) -> GetConnectionStatsResponse {
    let (mut caller, began) = (grpc(pod).await, Instant::now());
    loop {
        let request = GetConnectionStatsRequest { room: "event:123".into() };
        let stats = caller.get_connection_stats(request).await.unwrap().into_inner();
        if stats.connections_per_room.get("event:123") == Some(&count) && stats.authenticated_connections == 1 {
            return stats;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{stats:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The value of a series on the public listener.
async fn value(pod: &Pod, series: &str) -> f64 {
    let (_, text) = get(pod, "/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ticketing_over_a_cluster() {
    let cluster = block_in_place(|| Cluster::start(3, 0));
    let urls: Vec<_> = cluster.addresses().iter().map(|(host, port)| format!("redis://{host}:{port}")).collect();
    let (pods, mut user, mut guest) = user_and_guest(&urls.join(",")).await;
    user.send(r#"{"type":"room:join","payload":{"room":"event:123"}}"#).await;
    // Members are known to the fleet a moment later.
    let stats = members(&pods[1], 2).await;
    assert_eq!((stats.total_connections, stats.authenticated_connections, stats.anonymous_connections), (2, 1, 1));
    let mut other = grpc(&pods[1]).await;
    // A caller of one pod reaches a user of the other.
    let booking = NotifyBookingResultRequest {
        user_id: "u1".into(),
        booking_id: "b1".into(),
        success: true,
        message: "Booking confirmed".into(),
        booking_reference: "BK12345".into(),
        event_id: "e1".into(),
        seat_numbers: vec!["A1".into(), "A2".into()],
        total_amount: "100.00".into(),
        currency: "USD".into(),
    };
    let answer = other.notify_booking_result(booking).await.unwrap().into_inner();
    assert_eq!((answer.delivered, answer.active_connections), (true, 1));
    let expected = json!({"type": "booking:confirmed", "payload": {
        "booking_id": "b1", "booking_reference": "BK12345", "success": true, "message": "Booking confirmed",
        "event_id": "e1", "seat_numbers": ["A1", "A2"], "total_amount": "100.00", "currency": "USD"}});
    assert_eq!(user.json().await, expected);
    let nobody = NotifyBookingResultRequest { user_id: "u2".into(), ..NotifyBookingResultRequest::default() };
    assert!(!other.notify_booking_result(nobody).await.unwrap().into_inner().delivered);
    let payload = r#"{"event_id":"123","left":5}"#.to_owned();
    let (event_type, room) = ("ticket:availability".to_owned(), "event:123".to_owned());
    let event = BroadcastEventRequest { event_type, room, payload, ..BroadcastEventRequest::default() };
    assert_eq!(other.broadcast_event(event.clone()).await.unwrap().into_inner().recipients, 2);
    let expected = json!({"type": "ticket:availability", "payload": {"event_id": "123", "left": 5}});
    assert_eq!((guest.json().await, user.json().await), (expected.clone(), expected.clone()));
    // The sender is not told, and the others' message counts like any.
    let others = BroadcastEventRequest { exclude_sender: true, sender_user_id: "u1".into(), ..event };
    assert_eq!(other.broadcast_event(others).await.unwrap().into_inner().recipients, 1);
    assert_eq!(guest.json().await, expected);
    guest.send(r#"{"type":"system:ping"}"#).await;
    guest.json().await;
    guest.send("rubbish").await;
    guest.json().await;
    let failed = other.broadcast_event(BroadcastEventRequest::default()).await.unwrap_err();
    assert_eq!((failed.code(), failed.message()), (tonic::Code::InvalidArgument, "`event_type` is missing"));

    // The document's metrics, by their names; what others may choose is `other`.
    publish(&pods[1], "event:123", "their:own", "1").await;
    guest.json().await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    for (pod, all, known, anonymous) in [(&pods[0], 1.0, 1.0, 0.0), (&pods[1], 1.0, 0.0, 1.0)] {
        assert_eq!(value(pod, "realtime_websocket_connections_total").await, all);
        assert_eq!(value(pod, "realtime_websocket_connections_authenticated").await, known);
        assert_eq!(value(pod, "realtime_websocket_connections_anonymous").await, anonymous);
        assert_eq!(value(pod, "realtime_websocket_connections_per_room{room=\"event\"}").await, 1.0);
        assert_eq!(value(pod, "realtime_websocket_connections_per_room{room=\"user\"}").await, known);
    }
    let pod = &pods[1];
    for (series, expected) in [
        ("realtime_messages_sent_total{type=\"system:connected\"}", 1.0),
        ("realtime_messages_sent_total{type=\"system:pong\"}", 1.0),
        ("realtime_messages_sent_total{type=\"system:error\"}", 1.0),
        ("realtime_messages_sent_total{type=\"ticket:availability\"}", 2.0),
        ("realtime_messages_sent_total{type=\"other\"}", 1.0),
        ("realtime_messages_received_total{type=\"room:join\"}", 1.0),
        ("realtime_messages_received_total{type=\"system:ping\"}", 1.0),
        ("realtime_messages_received_total{type=\"other\"}", 1.0),
        ("realtime_notifications_delivered_total{type=\"booking:confirmed\"}", 1.0),
        ("realtime_grpc_requests_total{method=\"NotifyBookingResult\"}", 2.0),
        ("realtime_grpc_requests_total{method=\"BroadcastEvent\"}", 3.0),
        ("realtime_grpc_request_duration_seconds_count{method=\"BroadcastEvent\"}", 3.0),
        ("realtime_errors_total{type=\"bad_request\"}", 1.0),
        ("realtime_errors_total{type=\"grpc\"}", 1.0),
        ("realtime_message_broadcast_total", 3.0),
    ] {
        assert_eq!(value(pod, series).await, expected, "{series}");
    }
    assert!(value(pod, "realtime_pubsub_messages_received_total").await >= 2.0);
    assert!(value(pod, "realtime_pubsub_messages_published_total").await >= 3.0);
    let (_, text) = get(pod, "/metrics").await;
    assert_eq!(
        crate::harness::get(pod, "/metrics").await.1.contains("realtime_websocket"),
        text.contains("realtime_websocket")
    );
    for (name, says) in REALTIME_DESCRIPTIONS {
        assert!(text.contains(&format!("# HELP {name} {says}")), "{name}");
    }
    assert!(text.contains("# TYPE realtime_websocket_connections_total gauge"));
    let page = include_str!("../../../docs/PRESETS.md");
    for name in
        text.lines().filter_map(|line| line.strip_prefix("# TYPE realtime_")).map(|l| l.split(' ').next().unwrap())
    {
        assert!(page.contains(&format!("`realtime_{name}")), "docs/PRESETS.md does not name realtime_{name}");
    }
    // Leaving is seen as well.
    drop(user);
    let began = Instant::now();
    while value(&pods[0], "realtime_websocket_connections_total").await != 0.0 {
        assert!(began.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(value(&pods[0], "realtime_websocket_connections_per_room{room=\"event\"}").await, 0.0);
    assert_eq!(value(&pods[0], "realtime_websocket_connections_authenticated").await, 0.0);
    for pod in pods {
        pod.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ticketing_without_redis_is_not_ready_and_says_so() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let pod = preset("ticketing", &format!("redis://{host}:{port}"), &[]);
    ready(&pod).await;
    let mut guest = open(&pod, "/ws").await;
    guest.json().await;
    block_in_place(|| server.kill());
    let began = Instant::now();
    while get(&pod, "/ready").await.0 != 503 {
        assert!(began.elapsed() < Duration::from_secs(15));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let degraded = "{\"status\":\"degraded\",\"reason\":\"redis\"}".to_owned();
    assert_eq!(get(&pod, "/ready").await, (503, degraded.clone()));
    assert_eq!(crate::harness::get(&pod, "/ready").await, (200, degraded), "only on the port of the old server");
    assert_eq!(get(&pod, "/health").await.0, 200);
    // Who is here stays, and is answered.
    guest.send(r#"{"type":"system:ping"}"#).await;
    assert_eq!(guest.json().await["type"], "system:pong");
    let booking = NotifyBookingResultRequest { user_id: "u1".into(), ..NotifyBookingResultRequest::default() };
    let refused = grpc(&pod).await.notify_booking_result(booking).await.unwrap_err();
    assert!(matches!(refused.code(), tonic::Code::Unavailable | tonic::Code::DeadlineExceeded), "{refused}");
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_services_publish_in_redis_reaches_a_user_a_room_or_everyone() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let (pods, mut user, mut guest) = user_and_guest(&format!("redis://{host}:{port}")).await;
    members(&pods[1], 1).await;
    let published = |channel: &str, message: &str| {
        let heard = block_in_place(|| server.link().unwrap().call(&["PUBLISH", channel, message]).unwrap().number());
        assert_eq!(heard, 2, "every pod hears {channel}");
    };
    // The document's three kinds of receivers; a user comes first, and what is empty is not there.
    published("booking:events", r#"{"type":"booking:processing","user_id":"u1","room":"event:123","payload":{"n":1}}"#);
    assert_eq!(user.json().await, json!({"type": "booking:processing", "payload": {"n": 1}}));
    published("ticket:events", r#"{"type":"ticket:availability","room":"event:123","user_id":"","payload":{"n":2}}"#);
    assert_eq!(guest.json().await, json!({"type": "ticket:availability", "payload": {"n": 2}}));
    published("broadcast:all", r#"{"type":"system:notice","payload":{"n":3}}"#);
    let notice = json!({"type": "system:notice", "payload": {"n": 3}});
    assert_eq!((user.json().await, guest.json().await), (notice.clone(), notice));
    // Nobody leaves what it is in unasked, so that what is answered as delivered is. An empty room is none.
    for room in ["user:u1", "everyone"] {
        user.send(&json!({"type": "room:leave", "payload": {"room": room}}).to_string()).await;
    }
    user.send(r#"{"type":"room:join","payload":{"room":"","event_id":"123"}}"#).await;
    let stats = members(&pods[1], 2).await;
    assert_eq!(stats.connections_per_room, [("event:123".to_owned(), 2)].into());
    published("booking:events", r#"{"type":"booking:confirmed","user_id":"u1","payload":"cut \ud83d"}"#);
    assert_eq!(user.json().await, json!({"type": "booking:confirmed", "payload": "cut \u{fffd}"}));
    published("broadcast:all", r#"{"type":"system:notice","payload":4}"#);
    let notice = json!({"type": "system:notice", "payload": 4});
    assert_eq!((user.json().await, guest.json().await), (notice.clone(), notice));
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    for (payload, told) in [(r#""\ud83d""#.to_owned(), r#""\ufffd""#.to_owned()), (deep.clone(), deep)] {
        let (event_type, user_id) = ("booking:confirmed".to_owned(), "u1".to_owned());
        let request = SendToUserRequest { user_id, event_type, payload, require_ack: false };
        assert!(grpc(&pods[1]).await.send_to_user(request).await.unwrap().into_inner().delivered);
        match user.next().await {
            Seen::Text(text) => assert!(text.contains(&told), "{text}"),
            Seen::Json(value) => assert_eq!(value["payload"], serde_json::from_str::<Value>(&told).unwrap()),
            other => panic!("{other:?}"),
        }
    }
    // What is for a user and names none goes to nobody.
    published("payment:events", r#"{"type":"payment:success","user_id":["u1"],"payload":{}}"#);
    assert!(user.is_quiet().await && guest.is_quiet().await);
    for pod in pods {
        pod.stop();
    }
}

/// A token (HS256, RFC 7515).
fn signed(claims: &Value, secret: &str) -> String {
    use aws_lc_rs::hmac;
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
    let input = format!("{}.{}", BASE64.encode(r#"{"alg":"HS256"}"#), BASE64.encode(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), input.as_bytes());
    format!("{input}.{}", BASE64.encode(tag))
}
