//! Calls that are refused: who may call, what there is to call, how much a message may hold, until when a call may take.

use std::time::{Duration, Instant};

use super::{
    event, publish_to,
    raw::{Caller, encoded, message, stalled},
    start, with_key,
};
use testkit::redis::Standalone;

use crate::harness::{SOON, get, publication};
use flate2::{Compression, write::GzEncoder};
use roomcast::testing::{config::RedisUrl, model::Room, pod::Pod};
use roomcast_proto::{
    Message,
    realtime::{BroadcastEventRequest, SendToUserRequest, realtime_service_client::RealtimeServiceClient},
    roomcast::{Event, GetHistoryRequest, PublishRequest, event::Payload, roomcast_client::RoomcastClient},
};
use tokio::task::block_in_place;
use tonic::{Code, transport::Channel};

const PUBLISH: &str = "/roomcast.v1.Roomcast/Publish";
const KEY: (&str, &str) = ("authorization", "Bearer test-key");

fn publish(room: &str, json: &str) -> PublishRequest {
    PublishRequest { room: room.into(), event: event("t", json) }
}

/// How many events a room has.
async fn end(pod: &Pod, room: &str) -> u64 {
    let mut api = RoomcastClient::new(super::channel(pod).await);
    let request = GetHistoryRequest { room: room.into(), ..GetHistoryRequest::default() };
    api.get_history(with_key(request)).await.unwrap().into_inner().end
}

#[tokio::test]
async fn nobody_calls_anything_without_the_key() {
    let pod = start(|_| ());
    let mut caller = Caller::connect(pod.addresses().grpc[0]).await;
    let paths = [
        PUBLISH,
        "/roomcast.v1.Roomcast/GetStats",
        "/roomcast.v1.Roomcast/Nothing",
        "/realtime.RealtimeService/SendToUser",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/no.such.Service/Call",
    ];
    for path in paths {
        for key in [None, Some("Bearer test-kex"), Some("Bearer test-key-and-more"), Some("test-key")] {
            let metadata: Vec<_> = key.map(|key| ("authorization", key)).into_iter().collect();
            let status = caller.call(path, &metadata, encoded(&publish("r", "1"))).await;
            assert_eq!(status.code(), Code::Unauthenticated, "{path} with {key:?}: {status}");
            assert_eq!(status.message(), "this call needs an API key: `authorization: Bearer <api key>`");
        }
    }
    assert_eq!(end(&pod, "r").await, 0);
    let metrics = get(&pod, "/metrics").await.1;
    let line = "roomcast_grpc_calls_total{method=\"roomcast.v1.Roomcast/Publish\",result=\"failed\"} 4";
    assert!(metrics.contains(line), "{metrics}");
    pod.stop();
}

#[tokio::test]
async fn what_is_not_there_is_unimplemented() {
    let pod = start(|s| s.customers.ticketing.service.realtime = false);
    let mut caller = Caller::connect(pod.addresses().grpc[0]).await;
    for path in [
        "/roomcast.v1.Roomcast/Nothing",
        "/roomcast.v1.Roomcast/",
        "/roomcast.v2.Roomcast/Publish",
        "/realtime.RealtimeService/SendToUser",
        "/grpc.health.v1.Health/Watch",
        "/",
        "/nonsense",
    ] {
        let status = caller.call(path, &[KEY], encoded(&publish("r", "1"))).await;
        assert_eq!(status.code(), Code::Unimplemented, "{path}: {status}");
    }
    // What a caller may name is no label.
    let metrics = get(&pod, "/metrics").await.1;
    assert!(!metrics.contains("nonsense") && !metrics.contains("Roomcast/Nothing"), "{metrics}");
    assert_eq!(caller.call(PUBLISH, &[KEY], encoded(&publish("r", "1"))).await.code(), Code::Ok);
    pod.stop();
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_the_connection_goes_on() {
    let pod = start(|_| ());
    let mut caller = Caller::connect(pod.addresses().grpc[0]).await;
    let zipped = |bytes: &[u8]| {
        let mut zip = GzEncoder::new(Vec::new(), Compression::best());
        std::io::Write::write_all(&mut zip, bytes).unwrap();
        zip.finish().unwrap()
    };
    let gzip = ("grpc-encoding", "gzip");
    for (what, metadata, body, code) in [
        ("no message of protobuf", vec![KEY], message(0, &[0xff; 40]), Code::Internal),
        ("nothing", vec![KEY], message(0, b""), Code::InvalidArgument),
        ("a prefix that says what it is not", vec![KEY], message(7, b"x"), Code::Internal),
        ("no gzip", vec![KEY, gzip], message(1, b"not gzip at all"), Code::Internal),
        ("gzip, cut off", vec![KEY, gzip], message(1, &zipped(&[1; 500])[..12]), Code::Internal),
        ("compressed without saying how", vec![KEY], message(1, b"x"), Code::Internal),
        ("another compression", vec![KEY, ("grpc-encoding", "br")], message(1, b"x"), Code::Unimplemented),
    ] {
        let status = caller.call(PUBLISH, &metadata, body).await;
        assert_eq!(status.code(), code, "{what}: {status}");
        assert!(!status.message().is_empty(), "{what}");
    }
    assert_eq!(caller.call(PUBLISH, &[KEY], encoded(&publish("r", "1"))).await.code(), Code::Ok);
    assert_eq!(end(&pod, "r").await, 1);
    pod.stop();
}

#[tokio::test]
async fn what_is_too_large_is_too_large_compressed_or_not() {
    let pod = start(|s| s.limits.api_body = 64 * 1024);
    let mut caller = Caller::connect(pod.addresses().grpc[0]).await;
    let large = Message::encode_to_vec(&publish("r", &format!("\"{}\"", "x".repeat(80_000))));
    // A thousandth on the wire: 4 MiB of zeroes, a field that a reader of protobuf would skip.
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..4 {
        std::io::Write::write_all(&mut bomb, &[0; 1 << 20]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 80_000);
    let user = SendToUserRequest { payload: format!("\"{}\"", "x".repeat(80_000)), ..SendToUserRequest::default() };
    for (what, path, metadata, body) in [
        ("a message", PUBLISH, vec![KEY], message(0, &large)),
        ("a user's", "/realtime.RealtimeService/SendToUser", vec![KEY], encoded(&user)),
        ("a bomb", PUBLISH, vec![KEY, ("grpc-encoding", "gzip")], message(1, &bomb)),
    ] {
        let began = Instant::now();
        let status = caller.call(path, &metadata, body).await;
        assert_eq!(status.code(), Code::ResourceExhausted, "{what}: {status}");
        assert!(status.message().contains("65536"), "{what}: {status}");
        assert!(began.elapsed() < Duration::from_secs(2), "{what} took {:?}", began.elapsed());
    }
    // What is asked without a key has the name of a service: here one of 2,000 bytes.
    let name = [&[0x0a, 0xd0, 0x0f][..], &[b'x'; 2_000]].concat();
    let status = caller.call("/grpc.health.v1.Health/Check", &[], message(0, &name)).await;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert_eq!(end(&pod, "r").await, 0);
    assert_eq!(caller.call(PUBLISH, &[KEY], encoded(&publish("r", "1"))).await.code(), Code::Ok);
    pod.stop();
}

#[tokio::test]
async fn connections_that_never_call_make_room_for_those_that_do() {
    let pod = start(|_| {});
    let address = pod.addresses().grpc[0];
    let mut known = Caller::connect(address).await;
    assert_eq!(known.call(PUBLISH, &[KEY], encoded(&publish("r", "1"))).await.code(), Code::Ok);
    let mut silent = Vec::new();
    for _ in 0..1_100 {
        silent.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    // One that came a moment ago makes no room yet: each call connects anew until one is let in.
    let mut newcomer = RoomcastClient::new(Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy());
    let began = Instant::now();
    while let Err(status) = newcomer.publish(publish_to("r", event("t", "2"))).await {
        assert!(began.elapsed() < SOON, "a newcomer is kept out: {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(known.call(PUBLISH, &[KEY], encoded(&publish("r", "3"))).await.code(), Code::Ok);
    drop(silent);
    pod.stop();
}

#[tokio::test]
async fn a_shops_call_says_what_for_and_to_whom() {
    let pod = start(|_| ());
    let mut shop = RealtimeServiceClient::new(super::channel(&pod).await);
    let broadcast = |event_type: &str, room: &str| BroadcastEventRequest {
        event_type: event_type.into(),
        room: room.into(),
        sender_user_id: "ann".into(),
        ..BroadcastEventRequest::default()
    };
    for (event_type, room, missing) in [("", "event:1", "`event_type` is missing"), ("t", "", "`room` is missing")] {
        for exclude_sender in [false, true] {
            let call = BroadcastEventRequest { exclude_sender, ..broadcast(event_type, room) };
            let status = shop.broadcast_event(with_key(call)).await.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::InvalidArgument, missing));
        }
    }
    for (user_id, event_type, missing) in [("", "t", "`user_id` is missing"), ("ann", "", "`event_type` is missing")] {
        let call = SendToUserRequest {
            user_id: user_id.into(),
            event_type: event_type.into(),
            ..SendToUserRequest::default()
        };
        let status = shop.send_to_user(with_key(call)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, missing));
    }
    assert!(shop.broadcast_event(with_key(broadcast("t", "event:1"))).await.is_ok());
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_ends_by_its_deadline_whatever_holds_it_up() {
    let server = block_in_place(Standalone::start);
    let pod = start(|settings| {
        let (host, port) = server.address();
        settings.redis.urls = vec![RedisUrl::parse(&format!("redis://{host}:{port}")).unwrap()];
        settings.redis.command_timeout = Duration::from_secs(20);
    });
    let began = Instant::now();
    while get(&pod, "/ready").await.0 != 200 {
        assert!(began.elapsed() < Duration::from_secs(15), "not ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let address = pod.addresses().grpc[0];
    let mut caller = Caller::connect(address).await;
    let within = |text: &'static str| [KEY, ("grpc-timeout", text)];
    assert_eq!(caller.call(PUBLISH, &within("5S"), encoded(&publish("r", "1"))).await.code(), Code::Ok);
    // Over before it began: nothing is done.
    let status = caller.call(PUBLISH, &within("0m"), encoded(&publish("r", "2"))).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert_eq!(end(&pod, "r").await, 1);
    // A caller that begins and does not go on.
    let began = Instant::now();
    let status = caller.call(PUBLISH, &within("200m"), stalled()).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!((200..1_500).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());

    // A log that does not answer.
    block_in_place(|| server.pause());
    let once = PublishRequest {
        room: "r".into(),
        event: Some(Event {
            topic: "t".into(),
            payload: Some(Payload::Json("\"once\"".into())),
            idempotency_key: Some("k".into()),
            ..Event::default()
        }),
    };
    let began = Instant::now();
    let status = caller.call(PUBLISH, &within("300m"), encoded(&once)).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert_eq!(status.message(), "not done within 300ms: it may be done later");
    assert!((300..1_500).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    // More than may be under way at once on one connection: each has its answer, and none takes a place for ever.
    let history = GetHistoryRequest { room: "r".into(), ..GetHistoryRequest::default() };
    let calls = (0..300).map(|_| {
        let (mut caller, body) = (caller.clone(), encoded(&history));
        async move { caller.call("/roomcast.v1.Roomcast/GetHistory", &within("100m"), body).await.code() }
    });
    let codes = futures_util::future::join_all(calls).await;
    assert!(codes.iter().all(|code| *code == Code::DeadlineExceeded), "{codes:?}");
    block_in_place(|| server.resume());
    // What was perhaps done is done once, whoever asks again with the same key.
    let mut api = RoomcastClient::new(super::channel(&pod).await);
    let again = api.publish(with_key(once)).await.unwrap().into_inner().position.unwrap();
    let after = api.publish(publish_to("r", event("t", "3"))).await.unwrap().into_inner().position.unwrap();
    assert_eq!((again.offset, after.offset), (2, 3));
    let room = Room::parse("r").unwrap();
    let last = pod.services().broker.publish(&room, publication("t", "4")).await.unwrap();
    assert_eq!(last.offset, 4);
    pod.stop();
}
