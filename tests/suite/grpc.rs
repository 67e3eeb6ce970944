//! The API over gRPC: a Rust client and the real `grpcurl` against a pod.

mod acknowledged;
mod raw;
mod refusals;
mod tls;

use std::{
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::harness::{Client, get, pod, rule};
use roomcast::testing::{
    auth::SigningKey,
    config::{HmacSecret, ListenAddress, PersonalRoom, Settings},
    model::{PresenceMode, Room, SlowReceiver},
    pod::Pod,
};
use roomcast_proto::{
    realtime::{
        BroadcastEventRequest, GetConnectionStatsRequest, NotifyBookingResultRequest, NotifyPaymentStatusRequest,
        NotifyQueuePositionRequest, SendToUserRequest, realtime_service_client::RealtimeServiceClient,
    },
    roomcast::{
        BroadcastRequest, DisconnectRequest, Event, GetHistoryRequest, GetPresenceRequest, GetStatsRequest, Position,
        Publication, PublishRequest, disconnect_request::Target, event::Payload, outcome, past_event,
        roomcast_client::RoomcastClient,
    },
};
use serde_json::{Value, json};
use tonic::{Code, Request, Status, codec::CompressionEncoding, transport::Channel};

const SECRET: &str = "a secret of at least thirty-two bytes";

fn start(change: impl FnOnce(&mut Settings)) -> Pod {
    pod(|settings| {
        settings.grpc.listen = vec![ListenAddress::Ip(([127, 0, 0, 1], 0).into())];
        settings.customers.ticketing.service.realtime = true;
        settings.default_policy.presence = PresenceMode::List;
        settings.tokens.hmac_secrets = vec![HmacSecret::new(SECRET).unwrap()];
        settings.tokens.personal_room = Some(PersonalRoom::parse("user:{user}").unwrap());
        change(settings);
    })
}

pub async fn channel(pod: &Pod) -> Channel {
    Channel::from_shared(format!("http://{}", pod.addresses().grpc[0])).unwrap().connect().await.unwrap()
}

pub fn with_key<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", "Bearer test-key".parse().unwrap());
    request
}

fn event(topic: &str, json: &str) -> Option<Event> {
    Some(Event { topic: topic.into(), payload: Some(Payload::Json(json.into())), ..Event::default() })
}

fn publish_to(room: &str, event: Option<Event>) -> Request<PublishRequest> {
    with_key(PublishRequest { room: room.into(), event })
}

async fn ann(pod: &Pod) -> Client {
    let exp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 60;
    let claims = json!({"sub": "ann", "exp": exp});
    let token = SigningKey::secret(&HmacSecret::new(SECRET).unwrap()).token(&claims, None).unwrap();
    let target = format!("/ws?token={token}");
    let mut client = Client::open(pod.addresses().plain[0], &target, &["roomcast.v1"], &[], None).await.unwrap();
    assert_eq!(client.json().await["type"], "welcome");
    assert_eq!(client.json().await["room"], "user:ann");
    client
}

#[tokio::test]
async fn the_api_over_grpc() {
    let pod = start(|_| ());
    let mut api = RoomcastClient::new(channel(&pod).await).accept_compressed(CompressionEncoding::Gzip);
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    client.subscribe("r").await;
    let first = api.publish(publish_to("r", event("t", "{\"a\": 1}"))).await.unwrap().into_inner().position.unwrap();
    assert_eq!(first.offset, 1);
    let events = client.json().await;
    assert_eq!((&events["epoch"], &events["events"][0]["data"]), (&json!(first.epoch), &json!({"a": 1})));
    // The same idempotency key is the same event.
    let again = Event { idempotency_key: Some("k".into()), ..event("t", "2").unwrap() };
    let one = api.publish(publish_to("r", Some(again.clone()))).await.unwrap().into_inner();
    assert_eq!(api.publish(publish_to("r", Some(again.clone()))).await.unwrap().into_inner(), one);
    let other = Event { topic: "u".into(), ..again };
    let refused = api.publish(publish_to("r", Some(other))).await.unwrap_err();
    let word = refused.metadata().get("roomcast-code").unwrap().to_str().unwrap();
    assert_eq!((refused.code(), word), (Code::AlreadyExists, "conflict"));
    // Many; one room of them is full of nothing wrong.
    let publications = vec![
        Publication { rooms: vec!["r".into(), "s".into()], event: event("u", "3") },
        Publication {
            rooms: vec!["r".into()],
            event: Some(Event { payload: Some(Payload::Binary(vec![0, 255])), ..event("b", "").unwrap() }),
        },
    ];
    let results = api.broadcast(with_key(BroadcastRequest { publications })).await.unwrap().into_inner().results;
    let offsets: Vec<_> = results
        .into_iter()
        .map(|result| match result.outcome.unwrap() {
            outcome::Outcome::Position(position) => position.offset,
            outcome::Outcome::Error(error) => panic!("{error:?}"),
        })
        .collect();
    assert_eq!(offsets, [3, 1, 4]);
    let since = Some(Position { epoch: String::new(), offset: 2 });
    let history = api.get_history(with_key(GetHistoryRequest { room: "r".into(), since, limit: None })).await.unwrap();
    let history = history.into_inner();
    assert_eq!((history.after, history.end, history.complete), (2, 4, true));
    assert_eq!(history.events[1].payload, Some(past_event::Payload::Binary(vec![0, 255])));
    let list = api.get_presence(with_key(GetPresenceRequest { room: "r".into(), limit: None })).await.unwrap();
    assert_eq!((list.get_ref().total, list.get_ref().members.len()), (1, 1));
    let stats = api.get_stats(with_key(GetStatsRequest { fleet: true })).await.unwrap().into_inner();
    assert_eq!((stats.scope.as_str(), stats.pods[0].readiness.as_str(), stats.connections), ("fleet", "ready", 1));
    let own = api.get_stats(with_key(GetStatsRequest { fleet: false })).await.unwrap().into_inner();
    assert_eq!((own.scope.as_str(), own.pods.len()), ("pod", 1));
    let known = pod.services().stats().await.unwrap();
    for stats in [&stats.pods[0], &own.pods[0]] {
        let limit = (stats.memory_limit_bytes, &stats.memory_limit_from);
        assert_eq!(limit, (known.memory.limit_bytes as u64, &known.memory.from));
        assert!((1 << 20..stats.memory_limit_bytes).contains(&stats.memory_used_bytes), "{stats:?}");
    }
    let target = Some(Target::Connection(list.get_ref().members[0].connection.clone()));
    let done = api.disconnect(with_key(DisconnectRequest { target, code: Some(1012) })).await.unwrap().into_inner();
    assert_eq!(done.connections, 1);
    assert_eq!(client.closed().await, Some(1012));
    let metrics = get(&pod, "/metrics").await.1;
    let line = "roomcast_grpc_calls_total{method=\"roomcast.v1.Roomcast/Publish\",result=\"ok\"} 3";
    assert!(metrics.contains(line), "{metrics}");
    pod.stop();
}

#[tokio::test]
async fn what_is_wrong_has_a_code_and_a_sentence() {
    let pod = start(|_| ());
    let channel = channel(&pod).await;
    let mut api = RoomcastClient::new(channel.clone());
    let refused = |result: Result<_, Status>| result.map(|_: tonic::Response<_>| ()).unwrap_err();
    let none = refused(api.publish(Request::new(PublishRequest { room: "r".into(), event: event("t", "1") })).await);
    assert_eq!(none.code(), Code::Unauthenticated, "{none:?}");
    for key in ["Bearer test-kez", "Bearer ", "test-key", "Basic test-key"] {
        let mut request = Request::new(PublishRequest { room: "r".into(), event: event("t", "1") });
        request.metadata_mut().insert("authorization", key.parse().unwrap());
        assert_eq!(refused(api.publish(request).await).code(), Code::Unauthenticated, "{key}");
    }
    for (room, event, code, word, sentence) in [
        ("a b", event("t", "1"), Code::InvalidArgument, "bad_room", "room name"),
        ("r", None, Code::InvalidArgument, "bad_request", "`event` is missing"),
        ("r", event("", "1"), Code::InvalidArgument, "bad_request", "topic"),
        ("r", event("t", "{"), Code::InvalidArgument, "bad_request", "`json` is not JSON"),
        ("r", event("t", "[1e999]"), Code::InvalidArgument, "bad_request", "data holds"),
        ("r", event(&"t".repeat(256), "1"), Code::InvalidArgument, "limit_exceeded", "topic"),
    ] {
        let status = refused(api.publish(publish_to(room, event)).await);
        let given = status.metadata().get("roomcast-code").map(|code| code.to_str().unwrap().to_owned());
        assert_eq!((status.code(), given.as_deref()), (code, Some(word)), "{status:?}");
        assert!(status.message().contains(sentence), "{status:?}");
    }
    // Nothing of a broadcast is done if a part of it is wrong.
    let publications = vec![
        Publication { rooms: vec!["r".into()], event: event("t", "1") },
        Publication { rooms: vec![], event: event("t", "1") },
    ];
    let status = api.broadcast(with_key(BroadcastRequest { publications })).await.unwrap_err();
    assert!(status.message().starts_with("publications[1]: `rooms` must not be empty"), "{status:?}");
    let history = api.get_history(with_key(GetHistoryRequest { room: "r".into(), ..Default::default() })).await;
    assert_eq!(history.unwrap().into_inner().end, 0);
    let target = Some(Target::Connection("0123456789abcdef".into()));
    let gone = api.disconnect(with_key(DisconnectRequest { target, code: None })).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    let nobody = api.disconnect(with_key(DisconnectRequest { target: None, code: None })).await.unwrap_err();
    assert_eq!(nobody.code(), Code::InvalidArgument);
    // Compressed messages are taken.
    let mut packed = RoomcastClient::new(channel).send_compressed(CompressionEncoding::Gzip);
    let small = format!("\"{}\"", "x".repeat(30_000));
    packed.publish(publish_to("r", event("t", &small))).await.unwrap();
    pod.stop();
}

#[tokio::test]
async fn a_deadline_that_is_none_is_refused() {
    let pod = start(|_| ());
    let mut api = RoomcastClient::new(channel(&pod).await);
    let mut request = publish_to("r", event("t", "1"));
    request.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
    assert_eq!(api.publish(request).await.unwrap_err().code(), Code::InvalidArgument);
    pod.stop();
}

#[tokio::test]
async fn a_ticket_shop_tells_its_users() {
    let pod = start(|_| ());
    let mut shop = RealtimeServiceClient::new(channel(&pod).await);
    let booking = NotifyBookingResultRequest {
        user_id: "ann".into(),
        booking_id: "b-1".into(),
        success: true,
        message: "Booked".into(),
        booking_reference: "REF".into(),
        seat_numbers: vec!["A1".into(), "A2".into()],
        ..Default::default()
    };
    let nobody = shop.notify_booking_result(with_key(booking.clone())).await.unwrap().into_inner();
    assert_eq!((nobody.delivered, nobody.active_connections), (false, 0));
    let mut client = ann(&pod).await;
    let told = shop.notify_booking_result(with_key(booking.clone())).await.unwrap().into_inner();
    assert_eq!((told.delivered, told.active_connections), (true, 1));
    let message = client.json().await;
    assert_eq!(message["events"][0]["topic"], "booking:confirmed");
    let data = json!({"booking_id": "b-1", "booking_reference": "REF", "success": true, "message": "Booked", "seat_numbers": ["A1", "A2"]});
    assert_eq!(message["events"][0]["data"], data);
    let failed = NotifyBookingResultRequest { success: false, ..booking };
    shop.notify_booking_result(with_key(failed)).await.unwrap();
    assert_eq!(client.json().await["events"][0]["topic"], "booking:failed");
    let queue = NotifyQueuePositionRequest {
        user_id: "ann".into(),
        event_id: "e".into(),
        position: 3,
        estimated_wait_seconds: 40,
        total_in_queue: 90,
    };
    assert!(shop.notify_queue_position(with_key(queue)).await.unwrap().into_inner().delivered);
    let queued = json!({"position": 3, "estimated_wait": 40, "event_id": "e", "total_in_queue": 90});
    assert_eq!(client.json().await["events"][0]["data"], queued);
    // Three types, as its clients know them; what has none of its own says so in its status.
    for (status, word) in (0..).zip(["unknown", "processing", "success", "failed", "refunded"]) {
        let (user_id, topic) = ("ann".into(), if matches!(status, 2 | 3) { word } else { "processing" });
        let payment = NotifyPaymentStatusRequest { user_id, status, ..Default::default() };
        assert!(shop.notify_payment_status(with_key(payment)).await.unwrap().into_inner().delivered);
        let event = client.json().await["events"][0].clone();
        assert_eq!((&event["topic"], &event["data"]["status"]), (&json!(format!("payment:{topic}")), &json!(word)));
    }
    let bare = SendToUserRequest { user_id: "ann".into(), event_type: "bare".into(), ..Default::default() };
    shop.send_to_user(with_key(bare)).await.unwrap();
    assert_eq!(client.json().await["events"][0]["data"], Value::Null);
    let (event_type, payload) = ("ticket:issued".into(), "{\"n\":1}".into());
    let own = SendToUserRequest { user_id: "ann".into(), event_type, payload, require_ack: false };
    assert_eq!(shop.send_to_user(with_key(own)).await.unwrap().into_inner().connections_notified, 1);
    assert_eq!(client.json().await["events"][0]["topic"], "ticket:issued");
    client.subscribe("event:e").await;
    let everybody = BroadcastEventRequest {
        event_type: "ticket:availability".into(),
        room: "event:e".into(),
        payload: "{}".into(),
        ..Default::default()
    };
    assert_eq!(shop.broadcast_event(with_key(everybody.clone())).await.unwrap().into_inner().recipients, 1);
    assert_eq!(client.json().await["events"][0]["topic"], "ticket:availability");
    let stats = shop.get_connection_stats(with_key(GetConnectionStatsRequest::default())).await.unwrap().into_inner();
    assert_eq!((stats.total_connections, stats.authenticated_connections, stats.anonymous_connections), (1, 1, 0));
    assert_eq!(stats.connections_per_room["event:e"], 1);
    assert!(stats.messages_sent_total > 0 && stats.messages_received_total > 0, "{stats:?}");
    pod.stop();
}

/// What `ann` did is told to the others, between what is told to everybody: to each connection of hers nothing comes, and
/// nobody misses anything else.
#[tokio::test]
async fn an_event_for_all_but_its_sender() {
    let pod = start(|s| {
        s.default_policy.batch_window = std::time::Duration::from_millis(50);
        s.policies = vec![rule("part:*", |policy| {
            (policy.log, policy.slow) = (Some(Room::parse("whole").unwrap()), SlowReceiver::Close);
        })];
    });
    let mut shop = RealtimeServiceClient::new(channel(&pod).await);
    let (mut first, mut second, mut other) =
        (ann(&pod).await, ann(&pod).await, Client::connect(pod.addresses().plain[0]).await);
    for client in [&mut first, &mut second, &mut other] {
        client.subscribe("event:e").await;
    }
    let told = |payload: &str, sender: Option<&str>| BroadcastEventRequest {
        event_type: "seat".into(),
        room: "event:e".into(),
        payload: payload.into(),
        exclude_sender: sender.is_some(),
        sender_user_id: sender.unwrap_or("ann").into(),
    };
    for (payload, sender, reached) in
        [("1", None, 3), ("2", Some("ann"), 1), ("3", Some("nobody"), 3), ("4", Some(""), 3)]
    {
        let answer = shop.broadcast_event(with_key(told(payload, sender))).await.unwrap().into_inner();
        assert_eq!(answer.recipients, reached, "{payload}");
    }
    for (client, expected) in
        [(&mut first, vec![1, 3, 4]), (&mut second, vec![1, 3, 4]), (&mut other, vec![1, 2, 3, 4])]
    {
        let mut seen = Vec::new();
        while seen.len() < expected.len() {
            seen.extend(client.json().await["events"].as_array().unwrap().iter().map(|e| e["data"].as_i64().unwrap()));
        }
        assert_eq!(seen, expected);
    }
    // Nor does she find it in the log, which has only what was for everybody.
    first.send(r#"{"type":"history","room":"event:e"}"#).await;
    let log = first.json().await;
    let kept: Vec<_> = log["events"].as_array().unwrap().iter().map(|e| e["data"].as_i64().unwrap()).collect();
    assert_eq!(kept, [1, 4]);
    let part = BroadcastEventRequest { room: "part:a".into(), ..told("5", Some("ann")) };
    let status = shop.broadcast_event(with_key(part)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("part:a shares its log"), "{status:?}");
    pod.stop();
}

/// The real `grpcurl`: where tests/run put it, or on the PATH.
fn grpcurl() -> Option<PathBuf> {
    let named = std::env::var_os("GRPCURL").map(PathBuf::from);
    let found = std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join("grpcurl")).find(|p| p.is_file());
    let found = named.or(found);
    if found.is_none() {
        // Not `eprintln`, which a test that passes keeps to itself.
        let _ = std::io::stderr().write_all(b"\nSKIPPED: there is no grpcurl; tests/run installs it where Go is\n");
    }
    found
}

fn ask(tool: &PathBuf, address: SocketAddr, args: &[&str], input: Option<&str>) -> (bool, String) {
    ask_over(tool, address, &["-plaintext"], args, input)
}

/// Whether a call succeeded, and what the tool said. `transport`: its flags about TLS.
fn ask_over(
    tool: &PathBuf,
    address: SocketAddr,
    transport: &[&str],
    args: &[&str],
    input: Option<&str>,
) -> (bool, String) {
    let mut command = Command::new(tool);
    let (flags, rest): (Vec<&str>, Vec<&str>) = args.iter().partition(|arg| arg.starts_with('-'));
    command.args(["-max-time", "10"]).args(transport).args(&flags);
    if input.is_some() {
        command.args(["-d", "@"]);
    }
    command.arg(address.to_string()).args(rest);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.unwrap_or("").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpcurl_calls_as_the_ticket_shops_document_prints() {
    let Some(tool) = grpcurl() else { return };
    // Without a key, as the document's calls are.
    let open = start(|s| {
        s.general.dev = Some(false);
        s.general.listen = Some(Vec::new());
        s.general.anonymous = Some(true);
        s.general.api_keys = None;
        s.grpc.without_key = true;
    });
    let address = open.addresses().grpc[0];
    let mut client = ann(&open).await;
    let (good, said) = ask(&tool, address, &["list"], None);
    assert!(good && said.contains("realtime.RealtimeService") && said.contains("roomcast.v1.Roomcast"), "{said}");
    let booking = r#"{"user_id": "ann", "booking_id": "booking-456", "success": true, "message": "Booking confirmed!", "booking_reference": "BK-123456"}"#;
    let (good, said) = ask(&tool, address, &["realtime.RealtimeService/NotifyBookingResult"], Some(booking));
    let answer: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
    assert!(good && answer == json!({"delivered": true, "activeConnections": 1}), "{said}");
    assert_eq!(client.json().await["events"][0]["topic"], "booking:confirmed");
    let (good, said) = ask(&tool, address, &["realtime.RealtimeService/GetConnectionStats"], None);
    assert!(good && said.contains("\"totalConnections\": 1"), "{said}");
    let (good, said) = ask(&tool, address, &["grpc.health.v1.Health/Check"], None);
    assert!(good && said.contains("SERVING"), "{said}");
    open.stop();

    // With a key: not without it, reflection included; health always.
    let closed = start(|_| ());
    let address = closed.addresses().grpc[0];
    let (good, said) = ask(&tool, address, &["list"], None);
    assert!(!good && said.contains("API key"), "{said}");
    let (good, said) =
        ask(&tool, address, &["-H=authorization: Bearer test-key", "describe", "roomcast.v1.Roomcast"], None);
    assert!(good && said.contains("rpc Publish"), "{said}");
    let publish = r#"{"room": "news:1", "event": {"topic": "headline", "json": "{\"text\":\"hello\"}"}}"#;
    let (good, said) =
        ask(&tool, address, &["-H=authorization: Bearer test-key", "roomcast.v1.Roomcast/Publish"], Some(publish));
    assert!(good && said.contains("\"offset\": \"1\""), "{said}");
    let protos = concat!("-import-path=", env!("CARGO_MANIFEST_DIR"), "/proto/proto");
    let (good, said) = ask(
        &tool,
        address,
        &[protos, "-proto=roomcast/v1/roomcast.proto", "roomcast.v1.Roomcast/Publish"],
        Some(publish),
    );
    assert!(!good && said.contains("Unauthenticated"), "{said}");
    closed.stop();
}
