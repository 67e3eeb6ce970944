//! Traces of publishes: what a collector gets of them, and that publishes do not notice it.

mod collector;
mod fleet;
mod outages;
mod secrets;

use std::time::Duration;

use crate::grpc::{channel, with_key};
use crate::harness::{Client, SOON, get, pod, rule};
use collector::{Collector, attribute, hex, takes_all};
use roomcast::testing::{
    config::{ListenAddress, ResourceAttribute, Settings, Share},
    model::{Access, Policy},
    pod::Pod,
};
use roomcast_proto::{
    otlp::{HAS_IS_REMOTE, IS_REMOTE, Span, SpanKind, SpanStatusCode},
    roomcast::{BroadcastRequest, Event, Publication, PublishRequest, event::Payload, roomcast_client::RoomcastClient},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Those of the W3C's recommendation.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn traceparent(flags: &str) -> String {
    format!("traceparent: 00-{TRACE}-{CALLER}-{flags}\r\n")
}

/// A pod whose every publish is traced.
fn traced(collector: &Collector, change: impl FnOnce(&mut Settings)) -> Pod {
    pod(|settings| {
        settings.traces.otlp_endpoint = Some(collector.url());
        settings.traces.sample = Share::parse("100%").unwrap();
        settings.traces.every = Duration::from_millis(100);
        settings.grpc.listen = vec![ListenAddress::Ip(([127, 0, 0, 1], 0).into())];
        settings.default_policy = Policy { publish: Access::Anyone, ..Policy::default() };
        settings.policies = vec![rule("chat:*", |policy| policy.publish = Access::Anyone)];
        change(settings);
    })
}

/// The status of an answer of the API, and its body.
async fn call(pod: &Pod, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(pod.addresses().internal[0]).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer test-key\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.expect("an answer in time").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn publish(pod: &Pod, headers: &str, room: &str) -> (u16, String) {
    call(pod, "/api/publish", headers, &json!({"room": room, "topic": "t", "data": 1}).to_string()).await
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

async fn value(pod: &Pod, series: &str) -> f64 {
    let (_, text) = get(pod, "/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

#[tokio::test]
async fn a_callers_span_is_the_parent_of_its_publish_and_that_of_its_fan_out() {
    let collector = Collector::start(takes_all).await;
    let pod = traced(&collector, |settings| {
        settings.traces.attributes = vec![ResourceAttribute::parse("cloud.region=eu-west-1").unwrap()];
    });
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    client.subscribe("chat:1").await;
    let headers = format!("{}tracestate: rojo=00f067aa0ba902b7\r\n", traceparent("01"));
    let (status, answer) = publish(&pod, &headers, "chat:1").await;
    assert_eq!(status, 200, "{answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let spans = collector.wait_for(2).await;
    let (published, fan_outs) = (named(&spans, "publish chat:*"), named(&spans, "fan_out chat:*"));
    let ([published], [fan_out]) = (&*published, &*fan_outs) else { panic!("{spans:#?}") };

    assert_eq!((hex(&published.trace_id), hex(&published.parent_span_id)), (TRACE.to_owned(), CALLER.to_owned()));
    assert_eq!(published.trace_state, "rojo=00f067aa0ba902b7");
    assert_eq!(published.flags, 1 | HAS_IS_REMOTE | IS_REMOTE);
    assert_eq!((published.kind, published.span_id.len()), (i32::from(SpanKind::Server), 8));
    assert_eq!(published.status, None);
    assert_eq!(published.events[0].name, "accepted");
    for (key, value) in [
        ("messaging.system", "roomcast"),
        ("messaging.operation.name", "publish"),
        ("messaging.operation.type", "send"),
        ("messaging.destination.template", "chat:*"),
        ("messaging.destination.name", ""),
        ("messaging.message.body.size", "1"),
        ("roomcast.source", "api"),
        ("roomcast.epoch", answer["epoch"].as_str().unwrap()),
        ("roomcast.offset", "1"),
    ] {
        assert_eq!(attribute(published, key), value, "{key}");
    }

    assert_eq!((&fan_out.trace_id, &fan_out.parent_span_id), (&published.trace_id, &published.span_id));
    assert_eq!(fan_out.flags, 1 | HAS_IS_REMOTE);
    assert_eq!(fan_out.kind, i32::from(SpanKind::Internal));
    for (key, value) in [
        ("messaging.operation.name", "fan_out"),
        ("messaging.batch.message_count", ""),
        ("roomcast.epoch", answer["epoch"].as_str().unwrap()),
        ("roomcast.offset", "1"),
        ("roomcast.receivers", "1"),
    ] {
        assert_eq!(attribute(fan_out, key), value, "{key}");
    }
    for span in [published, fan_out] {
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
        let age = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
            - u128::from(span.start_time_unix_nano);
        assert!(age < 600_000_000_000, "{span:?}");
    }
    let resource: Vec<_> = collector.resource().attributes.into_iter().map(|attribute| attribute.key).collect();
    assert_eq!(resource, ["service.name", "service.version", "service.instance.id", "cloud.region"]);
    let head = &collector.received()[0].head;
    assert!(head.starts_with("post /v1/traces http/1.1") && head.contains("content-type: application/x-protobuf"));
    assert!(value(&pod, "roomcast_trace_spans_total{outcome=\"sent\"}").await >= 2.0);
    pod.stop();
}

#[tokio::test]
async fn grpc_takes_the_trace_from_the_calls_metadata() {
    let collector = Collector::start(takes_all).await;
    let pod = traced(&collector, |_| ());
    let mut api = RoomcastClient::new(channel(&pod).await);
    let event = || Some(Event { topic: "t".into(), payload: Some(Payload::Json("1".into())), ..Event::default() });
    let parent = format!("00-{TRACE}-{CALLER}-01").parse().unwrap();
    let mut request = with_key(PublishRequest { room: "chat:1".into(), event: event() });
    request.metadata_mut().insert("traceparent", parent);
    api.publish(request).await.unwrap();
    let spans = collector.wait_for(1).await;
    assert_eq!((hex(&spans[0].trace_id), hex(&spans[0].parent_span_id)), (TRACE.to_owned(), CALLER.to_owned()));
    assert_eq!(attribute(&spans[0], "roomcast.source"), "grpc");

    // One span for each publish of a broadcast.
    let publications = vec![Publication { rooms: vec!["chat:1".into(), "chat:2".into()], event: event() }];
    let mut request = with_key(BroadcastRequest { publications });
    request.metadata_mut().insert("traceparent", format!("00-{TRACE}-{CALLER}-01").parse().unwrap());
    api.broadcast(request).await.unwrap();
    let spans = collector.wait_for(3).await;
    assert!(spans.iter().all(|span| hex(&span.parent_span_id) == CALLER), "{spans:#?}");
    assert_eq!(attribute(&spans[1], "roomcast.offset"), "2");
    assert_eq!(attribute(&spans[2], "roomcast.offset"), "1");
    pod.stop();
}

#[tokio::test]
async fn the_caller_decides_and_what_breaks_the_rules_counts_as_not_said() {
    let collector = Collector::start(takes_all).await;
    let pod = traced(&collector, |_| ());
    // A caller that keeps no spans, though all publishes are sampled.
    assert_eq!(publish(&pod, &traceparent("00"), "chat:unsampled").await.0, 200);
    let broken = [
        "traceparent: 00-xyz-00f067aa0ba902b7-01\r\n".to_owned(),
        format!("traceparent: ff-{TRACE}-{CALLER}-01\r\n"),
        format!("{}{}", traceparent("01"), traceparent("01")),
        String::new(),
    ];
    for headers in &broken {
        assert_eq!(publish(&pod, headers, "chat:1").await.0, 200, "{headers}");
    }
    let spans = collector.wait_for(broken.len()).await;
    assert_eq!(spans.len(), broken.len());
    for span in &spans {
        assert!(span.parent_span_id.is_empty() && hex(&span.trace_id) != TRACE && span.trace_id != [0; 16], "{span:?}");
        assert_eq!(span.flags, 3 | HAS_IS_REMOTE);
    }
    pod.stop();

    // A caller that keeps its spans, though nothing is sampled.
    let collector = Collector::start(takes_all).await;
    let pod = traced(&collector, |settings| settings.traces.sample = Share::parse("0%").unwrap());
    assert_eq!(publish(&pod, "", "chat:1").await.0, 200);
    assert_eq!(publish(&pod, &traceparent("01"), "chat:1").await.0, 200);
    let spans = collector.wait_for(1).await;
    assert_eq!((spans.len(), hex(&spans[0].trace_id)), (1, TRACE.to_owned()));
    assert_eq!(attribute(&spans[0], "roomcast.offset"), "2");
    pod.stop();
}

#[tokio::test]
async fn a_clients_publish_begins_a_trace_of_its_own() {
    let collector = Collector::start(takes_all).await;
    let pod = traced(&collector, |_| ());
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let headers = [("traceparent", parent.as_str())];
    let mut client = Client::open(pod.addresses().plain[0], "/ws", &["roomcast.v1"], &headers, None).await.unwrap();
    assert_eq!(client.json().await["type"], "welcome");
    client.subscribe("chat:1").await;
    client
        .send(&json!({"type": "publish", "id": "p", "room": "chat:1", "topic": "t", "data": {"a": 1}}).to_string())
        .await;
    let spans = collector.wait_for(2).await;
    let (published, fan_outs) = (named(&spans, "publish chat:*"), named(&spans, "fan_out chat:*"));
    let ([published], [fan_out]) = (&*published, &*fan_outs) else { panic!("{spans:#?}") };
    assert_eq!(attribute(published, "roomcast.source"), "client");
    assert!(published.parent_span_id.is_empty() && hex(&published.trace_id) != TRACE);
    assert_eq!(fan_out.parent_span_id, published.span_id);
    pod.stop();
}

#[tokio::test]
async fn one_batch_of_several_publishes_is_a_fan_out_of_each() {
    let collector = Collector::start(takes_all).await;
    let pod = traced(&collector, |settings| {
        settings.policies = vec![rule("slow:*", |policy| policy.batch_window = Duration::from_millis(700))];
    });
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = Client::connect(pod.addresses().plain[0]).await;
        client.subscribe("slow:1").await;
        clients.push(client);
    }
    for _ in 0..2 {
        assert_eq!(publish(&pod, "", "slow:1").await.0, 200);
    }
    for client in &mut clients {
        assert_eq!(client.json().await["events"].as_array().unwrap().len(), 2, "the two left as one batch");
    }
    // A batch goes to each worker that has members: one or two.
    let receivers = |spans: &[Span], of: &Span| -> u64 {
        let fan_outs = spans.iter().filter(|span| span.parent_span_id == of.span_id);
        fan_outs.map(|span| attribute(span, "roomcast.receivers").parse::<u64>().unwrap()).sum()
    };
    let all_told = |spans: &[Span]| {
        let published = named(spans, "publish slow:*");
        published.len() == 2 && published.into_iter().all(|of| receivers(spans, of) == 6)
    };
    let wait = async {
        while !all_told(&collector.spans()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = timeout(SOON, wait).await;
    let spans = collector.spans();
    assert!(in_time.is_ok(), "{spans:#?}");
    for span in named(&spans, "fan_out slow:*") {
        assert_eq!(attribute(span, "messaging.batch.message_count"), "2");
    }
    pod.stop();
}

#[tokio::test]
async fn a_publish_that_fails_says_why_in_a_word() {
    let collector = Collector::start(takes_all).await;
    let pod = traced(&collector, |_| ());
    for (data, status) in [(1, 200), (2, 409)] {
        let body = json!({"room": "chat:1", "topic": "t", "data": data, "idempotency_key": "k"}).to_string();
        assert_eq!(call(&pod, "/api/publish", "", &body).await.0, status);
    }
    let spans = collector.wait_for(2).await;
    assert_eq!((attribute(&spans[0], "error.type"), &spans[0].status), (String::new(), &None));
    assert_eq!(attribute(&spans[1], "error.type"), "conflict");
    assert_eq!(spans[1].status.as_ref().unwrap().code, i32::from(SpanStatusCode::Error));
    assert!(spans[1].events.is_empty());
    pod.stop();
}

#[tokio::test]
async fn without_an_address_there_is_nothing() {
    let pod = pod(|_| ());
    assert!(pod.services().traces.is_none());
    assert_eq!(publish(&pod, &traceparent("01"), "chat:1").await.0, 200);
    let (_, metrics) = get(&pod, "/metrics").await;
    assert!(!metrics.contains("roomcast_trace"), "{metrics}");
    pod.stop();
}
