//! A collector that is dead, slow, busy or refuses: publishes do not notice it, and what is lost is counted.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    collector::{Collector, attribute, takes_all},
    publish, traced, traceparent, value,
};
use crate::harness::{SOON, get};
use roomcast::testing::{
    metrics::TRACE_DESCRIPTIONS,
    pod::{Pod, StartError},
};
use roomcast_proto::{
    Message,
    otlp::{ExportTracePartialSuccess, ExportTraceServiceResponse},
};
use tokio::time::{sleep, timeout};

fn outcome(outcome: &str) -> String {
    format!("roomcast_trace_spans_total{{outcome=\"{outcome}\"}}")
}

async fn reaches(pod: &Pod, series: &str, at_least: f64) {
    let wait = async {
        while value(pod, series).await < at_least {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(SOON, wait).await.is_ok(), "{series} is {}, not {at_least}", value(pod, series).await);
}

#[tokio::test]
async fn publishes_go_on_beside_a_collector_that_never_answers() {
    let collector = Collector::start(|_| None).await;
    let pod = traced(&collector, |settings| {
        settings.traces.queue = 100;
        settings.traces.timeout = Duration::from_secs(60);
    });
    publish(&pod, "", "chat:1").await;
    let wait = async {
        while collector.received().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, wait).await.expect("a request that is never answered");
    let began = Instant::now();
    for _ in 0..300 {
        assert_eq!(publish(&pod, "", "chat:1").await.0, 200);
    }
    // Each one would have waited for the collector's 60 s if it did at all.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(value(&pod, &outcome("dropped")).await, 200.0);
    assert_eq!(value(&pod, "roomcast_trace_spans_waiting").await, 100.0);
    let began = Instant::now();
    pod.stop();
    assert!(began.elapsed() < Duration::from_secs(30), "the end of a pod waits for no collector");
}

#[tokio::test]
async fn spans_that_a_busy_collector_sends_back_come_again() {
    let busy = |before: usize| {
        Some(if before < 2 { (503, "retry-after: 0", Vec::new()) } else { (200, "x-a: b", Vec::new()) })
    };
    let collector = Collector::start(busy).await;
    let pod = traced(&collector, |_| ());
    publish(&pod, "", "chat:1").await;
    reaches(&pod, &outcome("sent"), 1.0).await;
    let received = collector.received();
    assert_eq!(received.len(), 3);
    assert!(received.iter().all(|one| one.body == received[0].body), "the same spans each time");
    assert_eq!(value(&pod, &outcome("failed")).await, 0.0);
    pod.stop();
}

#[tokio::test]
async fn spans_that_a_collector_refuses_are_counted_and_not_sent_again() {
    let collector = Collector::start(|_| Some((400, "x-a: b", b"no".to_vec()))).await;
    let pod = traced(&collector, |_| ());
    publish(&pod, "", "chat:1").await;
    reaches(&pod, &outcome("refused"), 1.0).await;
    publish(&pod, "", "chat:1").await;
    reaches(&pod, &outcome("refused"), 2.0).await;
    assert_eq!(collector.received().len(), 2);
    pod.stop();

    let partly = |_: usize| {
        let partial = ExportTracePartialSuccess { rejected_spans: 1, error_message: "too old".to_owned() };
        Some((200, "x-a: b", ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()))
    };
    let collector = Collector::start(partly).await;
    let pod = traced(&collector, |_| ());
    publish(&pod, "", "chat:1").await;
    reaches(&pod, &outcome("refused"), 1.0).await;
    assert_eq!(value(&pod, &outcome("sent")).await, 0.0);
    pod.stop();
}

#[tokio::test]
async fn a_pod_that_ends_sends_what_it_still_has() {
    let collector = Collector::start(takes_all).await;
    let pod = traced(&collector, |settings| settings.traces.every = Duration::from_secs(60));
    publish(&pod, &traceparent("01"), "chat:1").await;
    assert!(collector.received().is_empty());
    tokio::task::spawn_blocking(move || pod.stop()).await.unwrap();
    let spans = collector.spans();
    assert_eq!((spans.len(), &*attribute(&spans[0], "roomcast.offset")), (1, "1"));
}

#[tokio::test]
async fn a_full_batch_does_not_wait_for_others() {
    let collector = Collector::start(takes_all).await;
    let pod = traced(&collector, |settings| settings.traces.every = Duration::from_secs(60));
    let one = r#"{"room":"chat:1","topic":"t","data":1}"#;
    let body = format!(r#"{{"publications":[{}]}}"#, vec![one; 600].join(","));
    assert_eq!(super::call(&pod, "/api/broadcast", &traceparent("01"), &body).await.0, 200);
    assert!(collector.wait_for(512).await.len() >= 512);
    tokio::task::spawn_blocking(move || pod.stop()).await.unwrap();
    // A request that the end cut off comes again, with the same spans.
    let spans: BTreeSet<_> = collector.spans().into_iter().map(|span| span.span_id).collect();
    assert_eq!(spans.len(), 600);
}

#[tokio::test]
async fn the_metrics_are_described_and_in_the_guide() {
    let collector = Collector::start(takes_all).await;
    let pod = traced(&collector, |_| ());
    let (_, text) = get(&pod, "/metrics").await;
    let guide = include_str!("../../../docs/OPERATIONS.md");
    for (name, says) in TRACE_DESCRIPTIONS {
        assert!(text.contains(&format!("# HELP {name} {says}")), "{name}");
        assert!(guide.contains(&format!("`{name}")), "{name}");
    }
    let described = |line: &str| TRACE_DESCRIPTIONS.iter().any(|(name, _)| line.starts_with(name));
    assert!(text.lines().filter(|line| line.starts_with("roomcast_trace")).all(described));
    pod.stop();
}

#[tokio::test]
async fn headers_come_from_a_file_that_may_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("headers");
    std::fs::write(&file, "Authorization: Bearer first\nX-Scope-OrgID: tenant\n").unwrap();
    let collector = Collector::start(takes_all).await;
    let pod = traced(&collector, |settings| settings.traces.headers_file = Some(file.clone()));
    publish(&pod, "", "chat:1").await;
    collector.wait_for(1).await;
    std::fs::write(&file, "Authorization: Bearer second\n").unwrap();
    publish(&pod, "", "chat:1").await;
    collector.wait_for(2).await;
    let heads: Vec<_> = collector.received().into_iter().map(|received| received.head).collect();
    assert!(
        heads[0].contains("authorization: bearer first") && heads[0].contains("x-scope-orgid: tenant"),
        "{heads:?}"
    );
    assert!(heads[1].contains("authorization: bearer second") && !heads[1].contains("tenant"), "{heads:?}");
    pod.stop();

    let settings = crate::harness::settings(|settings| {
        settings.traces.otlp_endpoint = Some(collector.url());
        settings.traces.headers_file = Some(folder.path().join("none"));
    });
    let refused = Pod::start(crate::harness::config(settings)).err();
    assert!(matches!(refused, Some(StartError::Traces(_))), "{refused:?}");
}
