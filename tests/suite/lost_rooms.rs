//! Rooms that a home has no more, by its own fault or because it was told so, as its edges see it.

use std::time::{Duration, Instant};

use roomcast::testing::{
    broker::HistoryQuery,
    config::{ApiKey, ListenAddress, Settings, UpstreamUrl},
    model::Room,
    pod::Pod,
};
use serde_json::json;
use testkit::redis::Standalone;
use tokio::task::block_in_place;

use crate::{
    harness::{Client, pod, publish},
    users::{call, over, ready},
};

fn takes_edges(settings: &mut Settings, port: u16) {
    settings.relay.listen = vec![ListenAddress::Ip(([127, 0, 0, 1], port).into())];
    settings.relay.tls = false;
    settings.relay.keys = vec![ApiKey::new("any".into())];
}

async fn edge(urls: &[String]) -> Pod {
    let edge = pod(|settings| {
        settings.upstream.urls = urls.iter().map(|url| UpstreamUrl::parse(url).unwrap()).collect();
        settings.upstream.key = Some(ApiKey::new("any".into()));
    });
    ready(&edge).await;
    edge
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_is_erased_at_any_pod_of_the_home_is_gone_from_what_edges_keep() {
    let server = block_in_place(Standalone::start);
    let [first, second, without] = [true, true, false].map(|is_home| {
        pod(|settings| {
            if is_home {
                takes_edges(settings, 0);
            }
            over(&server, settings);
        })
    });
    for pod in [&first, &second, &without] {
        ready(pod).await;
    }
    let edge = edge(&[&first, &second].map(|home| format!("ws://{}", home.addresses().relay[0]))).await;
    let everything = HistoryQuery { since: None, until: None, max_events: 9, max_bytes: 99 };
    let kept = async |room: &Room| edge.services().broker.history(room, everything.clone()).await.unwrap().events.len();
    let mut client = Client::connect(edge.addresses().plain[0]).await;
    for (n, pod) in (0..12).zip([&first, &second, &without].into_iter().cycle()) {
        let room = Room::parse(&format!("room:{n}")).unwrap();
        client.subscribe(room.as_str()).await;
        publish(&edge, room.as_str(), "t", "1").await;
        while client.json().await["type"] != "events" {}
        assert_eq!(kept(&room).await, 1);
        let head = format!("DELETE /api/rooms/{room} HTTP/1.1\r\nAuthorization: Bearer test-key");
        let (status, said) = call(pod.addresses().internal[0], &head, "").await;
        assert_eq!(status, 200, "{said}");
        // Each pod of the home looks by itself only every 30 s.
        let began = Instant::now();
        while kept(&room).await > 0 {
            assert!(began.elapsed() < Duration::from_secs(6), "{room}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // And its members are told, before anything is published anew.
        while client.json().await["type"] != "gap" {}
    }
    block_in_place(|| {
        for pod in [edge, without, second, first] {
            pod.stop();
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_home_that_lost_its_log_clients_hear_a_gap_and_what_follows() {
    let [port] = testkit::ports::free();
    let home = || pod(|settings| takes_edges(settings, port));
    let first = home();
    let edge = edge(&[format!("ws://127.0.0.1:{port}")]).await;
    let mut client = Client::connect(edge.addresses().plain[0]).await;
    client.subscribe("a").await;
    for n in 1..=3 {
        publish(&edge, "a", "t", &n.to_string()).await;
    }
    while client.json().await["events"][0]["offset"] != 3 {}
    block_in_place(|| first.stop());
    let second = home();
    ready(&edge).await;
    while client.json().await["type"] != "gap" {}
    assert_eq!(publish(&second, "a", "t", "4").await.offset, 1);
    let said = client.json().await;
    assert_eq!((&said["events"][0]["offset"], &said["events"][0]["data"]), (&json!(1), &json!(4)), "{said}");
    edge.stop();
    second.stop();
}
