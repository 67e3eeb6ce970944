//! The metrics of a pod: what there is, that it counts, and that no client can add to the list.

use std::collections::BTreeSet;

use crate::{
    harness::{Client, config, get, pod, publish, settings},
    tokens::support::{Pair, file},
};
use roomcast::testing::{
    compat::loomio::CHATBOT_DESCRIPTIONS,
    config::{JwksUrl, Settings},
    metrics::{
        DESCRIPTIONS, Exposition, REDIS_DESCRIPTIONS, RELAY_DESCRIPTIONS, SOCKETIO_DESCRIPTIONS, UPSTREAM_DESCRIPTIONS,
    },
};
use serde_json::json;

async fn scrape(pod: &roomcast::testing::pod::Pod) -> String {
    let (status, text) = get(pod, "/metrics").await;
    assert_eq!(status, 200);
    text
}

/// The series, labels included and values left out.
fn series(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(s, _)| s)
        .collect()
}

fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

/// The name that a histogram's series are of, or the series' own.
fn metric(series: &str) -> &str {
    let name = series.split('{').next().unwrap();
    ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

#[tokio::test]
async fn every_metric_is_described_here_and_in_the_operators_guide() {
    let pod = pod(|_| ());
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    client.subscribe("r").await;
    publish(&pod, "r", "t", "1").await;
    client.json().await;
    // Histograms show after their first sample, certificates' ages after a second.
    tokio::time::sleep(std::time::Duration::from_millis(1_600)).await;
    let text = scrape(&pod).await;
    let described: BTreeSet<&str> =
        DESCRIPTIONS.iter().chain(SOCKETIO_DESCRIPTIONS).chain(CHATBOT_DESCRIPTIONS).map(|(name, _)| *name).collect();
    let shown: BTreeSet<&str> = series(&text).into_iter().map(metric).filter(|n| n.starts_with("roomcast_")).collect();
    assert_eq!(shown, described);
    for (name, says) in DESCRIPTIONS.iter().chain(SOCKETIO_DESCRIPTIONS).chain(CHATBOT_DESCRIPTIONS) {
        assert!(text.contains(&format!("# HELP {name} {says}")), "{name}");
    }
    assert!(text.contains("process_resident_memory_bytes ") && text.contains("process_open_fds "));
    let guide = include_str!("../../docs/OPERATIONS.md");
    let missing: Vec<_> = described.iter().filter(|name| !guide.contains(&format!("`{name}"))).collect();
    assert!(missing.is_empty(), "docs/OPERATIONS.md does not name {missing:?}");
    pod.stop();
}

#[test]
fn with_redis_there_are_more() {
    let (exposition, _metrics) = Exposition::new(1, &["native"]).unwrap();
    let (redis, _) = exposition.redis();
    redis.show(3, 1, Some(std::time::Duration::from_millis(1_500)));
    redis.messages.increment(2);
    let text = exposition.render();
    let described: BTreeSet<&str> = REDIS_DESCRIPTIONS.iter().map(|(name, _)| *name).collect();
    let shown: BTreeSet<&str> = series(&text)
        .into_iter()
        .map(metric)
        .filter(|n| ["_redis_", "_legacy_"].iter().any(|part| n.contains(part)))
        .collect();
    assert_eq!(shown, described);
    for (name, says) in REDIS_DESCRIPTIONS {
        assert!(text.contains(&format!("# HELP {name} {says}")), "{name}");
    }
    assert_eq!(value(&text, "roomcast_redis_subscriptions{state=\"confirmed\"}"), 3.0);
    assert_eq!(value(&text, "roomcast_redis_canary_age_seconds"), 1.5);
    let guide = include_str!("../../docs/OPERATIONS.md");
    let missing: Vec<_> = described.iter().filter(|name| !guide.contains(&format!("`{name}"))).collect();
    assert!(missing.is_empty(), "docs/OPERATIONS.md does not name {missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn homes_and_edges_have_more() {
    let [home, edge] = crate::edges::home_and_edge().await;
    publish(&edge, "r", "t", "1").await;
    let mut client = Client::connect(edge.addresses().plain[0]).await;
    client.subscribe("r").await;
    publish(&home, "r", "t", "2").await;
    client.json().await;
    let guide = include_str!("../../docs/OPERATIONS.md");
    for (pod, part, descriptions) in
        [(&home, "roomcast_relay_", RELAY_DESCRIPTIONS), (&edge, "roomcast_upstream_", UPSTREAM_DESCRIPTIONS)]
    {
        let text = scrape(pod).await;
        let described: BTreeSet<&str> = descriptions.iter().map(|(name, _)| *name).collect();
        let shown: BTreeSet<&str> = series(&text).into_iter().map(metric).filter(|n| n.starts_with(part)).collect();
        assert_eq!(shown, described);
        for (name, says) in descriptions {
            assert!(text.contains(&format!("# HELP {name} {says}")), "{name}");
            assert!(guide.contains(&format!("`{name}")), "docs/OPERATIONS.md does not name {name}");
        }
    }
    assert_eq!(value(&scrape(&edge).await, "roomcast_upstream_calls_total{outcome=\"ok\"}"), 1.0);
    edge.stop();
    home.stop();
}

/// An operator who reads the guide must not meet a word that it does not have. What is free there: figures, names and codes.
#[tokio::test]
async fn the_operators_guide_names_each_value_of_a_label() {
    const FREE: [&str; 9] = ["worker", "code", "version", "allocator", "le", "dialect", "method", "quantile", "hook"];
    let pod = pod(|_| ());
    let text = scrape(&pod).await;
    pod.stop();
    let rows: Vec<&str> =
        include_str!("../../docs/OPERATIONS.md").lines().filter(|line| line.starts_with("| `roomcast_")).collect();
    let (mut missing, mut seen) = (BTreeSet::new(), 0);
    for series in series(&text) {
        let Some((name, labels)) = series.trim_end_matches('}').split_once('{') else { continue };
        let row = rows.iter().find(|row| row.contains(&format!("`{name}{{")));
        for (label, value) in labels.split(',').filter_map(|label| label.split_once('=')) {
            let value = value.trim_matches('"');
            if FREE.contains(&label) {
                continue;
            }
            seen += 1;
            if !row.is_some_and(|row| row.contains(&format!("`{value}`"))) {
                missing.insert(format!("{name}: {label}=\"{value}\""));
            }
        }
    }
    assert!(missing.is_empty(), "docs/OPERATIONS.md does not name {missing:#?}");
    assert!(seen > 100, "{seen} values");
}

#[tokio::test]
async fn unusable_keys_of_tokens_are_shown_until_they_are_mended() {
    let key = Pair::p256().public_pem;
    let file = file(&key);
    let change = |settings: &mut Settings| settings.tokens.public_keys = vec![file.path().to_owned()];
    let pod = pod(change);
    let shown = async || value(&scrape(&pod).await, "roomcast_token_keys_broken");
    assert_eq!(shown().await, 0.0);
    std::fs::write(file.path(), "garbage").unwrap();
    pod.reload(config(settings(change)));
    assert_eq!(shown().await, 1.0);
    std::fs::write(file.path(), &key).unwrap();
    pod.reload(config(settings(change)));
    assert_eq!(shown().await, 0.0);
    pod.stop();
}

#[tokio::test]
async fn a_key_set_that_never_came_is_shown_and_grows_old() {
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = Some(JwksUrl::parse(&format!("http://{nowhere}/keys")).unwrap());
    let without = pod(|settings| settings.tokens.jwks_url.clone_from(&url));
    let shown = async |pod: &roomcast::testing::pod::Pod, series: &str| value(&scrape(pod).await, series);
    let starting = "roomcast_degraded{reason=\"starting\"}";
    assert_eq!((shown(&without, starting).await, get(&without, "/ready").await.0), (1.0, 503));
    tokio::time::sleep(std::time::Duration::from_millis(2_200)).await;
    assert!(shown(&without, "roomcast_jwks_age_seconds").await >= 1.0, "a set that never came is not a new one");
    without.stop();

    // A pod that runs serves the clients that it has, whatever a reload names.
    let running = pod(|_| ());
    assert_eq!((shown(&running, starting).await, get(&running, "/ready").await.0), (0.0, 200));
    running.reload(config(settings(|settings| settings.tokens.jwks_url.clone_from(&url))));
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    assert_eq!((shown(&running, starting).await, get(&running, "/ready").await.0), (1.0, 200));
    running.stop();
}

#[tokio::test]
async fn what_happens_is_counted() {
    let pod = pod(|_| ());
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    client.subscribe("demo:1").await;
    client.json().await;
    for n in 0..3 {
        publish(&pod, "demo:1", "t", &format!("{n}")).await;
        client.json().await;
    }
    client.send(&json!({"type":"publish","room":"demo:1","topic":"t","data":1}).to_string()).await;
    client.json().await;
    client.json().await;
    client.send("nonsense").await;
    client.json().await;
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    let text = scrape(&pod).await;
    for (series, expected) in [
        ("roomcast_connections{transport=\"websocket\",dialect=\"native\"}", 1.0),
        ("roomcast_rooms", 1.0),
        ("roomcast_deliveries_total", 4.0),
        ("roomcast_events_in_total{source=\"client\"}", 1.0),
        ("roomcast_messages_in_total", 3.0),
        ("roomcast_handshakes_total{stage=\"upgrade\",result=\"ok\"}", 1.0),
        ("roomcast_handshakes_total{stage=\"accept\",result=\"ok\"}", 1.0),
        ("roomcast_batch_events_count", 4.0),
        ("roomcast_publish_to_write_seconds_count", 4.0),
        ("roomcast_held_bytes", 0.0),
        ("roomcast_owed_bytes", 0.0),
    ] {
        assert_eq!(value(&text, series), expected, "{series}\n{text}");
    }
    let workers: f64 = (0..2).map(|n| value(&text, &format!("roomcast_worker_connections{{worker=\"{n}\"}}"))).sum();
    assert_eq!(workers, 1.0);
    let plain = value(&text, "roomcast_sent_bytes_total{stage=\"plain\"}");
    assert!(plain > 400.0 && value(&text, "roomcast_sent_bytes_total{stage=\"framed\"}") > plain, "{text}");
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_rooms_add_no_series_and_are_given_up_when_their_clients_are_gone() {
    let pod = pod(|settings| settings.limits.max_rooms = 10_000);
    let address = pod.addresses().plain[0];
    let mut first = Client::connect(address).await;
    first.subscribe("first").await;
    publish(&pod, "first", "t", "1").await;
    first.json().await;
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    let before = scrape(&pod).await;
    let mut clients = Vec::new();
    for c in 0..10 {
        let mut client = Client::connect(address).await;
        for block in 0..2 {
            let rooms: Vec<_> = (0..1_000).map(|n| json!({ "room": format!("room:{c}:{block}:{n}") })).collect();
            client.send(&json!({"type":"subscribe","rooms":rooms}).to_string()).await;
            for _ in 0..1_000 {
                assert_eq!(client.json().await["type"], "subscribed");
            }
            publish(&pod, &format!("room:{c}:{block}:0"), &format!("topic{block}"), "1").await;
            assert_eq!(client.json().await["type"], "events");
        }
        clients.push(client);
    }
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    let after = scrape(&pod).await;
    assert_eq!(value(&after, "roomcast_rooms"), 20_001.0);
    assert_eq!(series(&before), series(&after));
    drop(clients);
    // All of them linger out in one moment.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while value(&scrape(&pod).await, "roomcast_rooms") > 1.0 {
        assert!(std::time::Instant::now() < deadline, "rooms stay");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    pod.stop();
}
