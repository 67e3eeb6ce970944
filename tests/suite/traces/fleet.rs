//! A trace over the pods of a fleet: one publishes, and another one's fan-outs are in the trace as well.

use std::time::Duration;

use super::collector::{Collector, attribute, hex, takes_all};
use super::{CALLER, TRACE, named, publish, traced, traceparent};
use crate::harness::{Client, get};
use roomcast::testing::config::{RedisUrl, Settings};
use roomcast_proto::otlp::{HAS_IS_REMOTE, IS_REMOTE};
use testkit::redis::Standalone;
use tokio::task::block_in_place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fan_outs_of_other_pods_are_below_the_publish() {
    let server = block_in_place(Standalone::start);
    let (host, port) = server.address();
    let in_fleet = |settings: &mut Settings| {
        settings.redis.urls = vec![RedisUrl::parse(&format!("redis://{host}:{port}")).unwrap()];
    };
    // Each pod has a collector of its own, so that it is seen which spans are whose.
    let (at_first, at_second) = (Collector::start(takes_all).await, Collector::start(takes_all).await);
    let (first, second) = (traced(&at_first, in_fleet), traced(&at_second, in_fleet));
    for pod in [&first, &second] {
        while get(pod, "/ready").await != (200, r#"{"status":"ready"}"#.to_owned()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let mut clients = Vec::new();
    for pod in [&first, &second, &second] {
        let mut client = Client::connect(pod.addresses().plain[0]).await;
        client.subscribe("chat:1").await;
        clients.push(client);
    }
    let (status, answer) = publish(&first, &traceparent("01"), "chat:1").await;
    assert_eq!(status, 200, "{answer}");
    let spans = at_first.wait_for(2).await;
    let (published, own) = (named(&spans, "publish chat:*")[0], named(&spans, "fan_out chat:*")[0]);
    assert_eq!((hex(&published.trace_id), hex(&published.parent_span_id)), (TRACE.to_owned(), CALLER.to_owned()));
    assert_eq!((&own.parent_span_id, own.flags), (&published.span_id, 1 | HAS_IS_REMOTE));

    // One for each worker with members: the two are on one, or on both.
    let mut receivers = 0;
    let mut awaited = 1;
    while receivers < 2 {
        let there = at_second.wait_for(awaited).await;
        receivers = 0;
        for fan_out in &there {
            assert_eq!(fan_out.name, "fan_out chat:*", "it published nothing");
            assert_eq!((&fan_out.trace_id, &fan_out.parent_span_id), (&published.trace_id, &published.span_id));
            assert_eq!(fan_out.flags, 1 | HAS_IS_REMOTE | IS_REMOTE);
            assert_eq!(attribute(fan_out, "roomcast.offset"), attribute(published, "roomcast.offset"));
            receivers += attribute(fan_out, "roomcast.receivers").parse::<usize>().unwrap();
        }
        awaited = there.len() + 1;
    }
    assert_eq!(receivers, 2);
    assert_ne!(at_first.resource().attributes[2], at_second.resource().attributes[2], "pods have names of their own");
    first.stop();
    second.stop();
}
