//! WebTransport sessions of a pod, seen by a client of another make.
#![allow(clippy::unwrap_used, missing_docs)]

mod client;
#[path = "../harness/mod.rs"]
mod harness;

use client::{Page, ask, code};
use harness::{pod, publish};
use serde_json::json;

#[tokio::test]
async fn a_session_joins_a_room_and_leaves_it() {
    let pod = pod(|_| {});
    let mut page = Page::connect(pod.addresses().quic[0]).await;
    let mut room = page.subscribe("demo:a").await;
    let at = publish(&pod, "demo:a", "t", "{\"n\":1}").await;
    let events = room.json().await;
    assert_eq!(events["type"], "events");
    assert_eq!(events["offset"], at.offset);
    assert_eq!(events["events"][0]["data"], json!({"n": 1}));
    let answer = page.ask(&json!({"type": "ping", "id": 7})).await;
    assert_eq!(answer, json!({"type": "pong", "id": 7}));
    let stats = page.ask(&json!({"type": "stats"})).await;
    assert_eq!((&stats["transport"], &stats["tls"]), (&"webtransport".into(), &true.into()));
    page.send(&json!({"type": "unsubscribe", "room": "demo:a", "id": "bye"})).await;
    assert_eq!(room.json().await, json!({"type": "unsubscribed", "id": "bye", "room": "demo:a"}));
    assert_eq!(room.next().await, None, "the stream ends behind it");
    drop(page);
    pod.stop();
}

#[tokio::test]
async fn rooms_have_streams_of_their_own_that_are_compressed() {
    let pod = pod(|_| {});
    let mut page = Page::connect_to(pod.addresses().quic[0], "/wt?compression=deflate-raw").await;
    let mut a = page.subscribe("demo:a").await;
    let mut b = page.subscribe("demo:b").await;
    let text = json!("word ".repeat(400)).to_string();
    for n in 0..3 {
        publish(&pod, "demo:a", "t", &text).await;
        publish(&pod, "demo:b", "t", &n.to_string()).await;
        let (in_a, in_b) = (a.json().await, b.json().await);
        assert_eq!((&in_a["room"], in_a["events"][0]["data"].to_string()), (&"demo:a".into(), text.clone()));
        assert_eq!((&in_b["room"], &in_b["events"][0]["data"]), (&"demo:b".into(), &n.into()));
    }
    assert!(a.wire < 1_500, "three times 2 kB are {} bytes", a.wire);
    page.send(&json!({"type": "unsubscribe", "room": "demo:a"})).await;
    assert_eq!(a.json().await["type"], "unsubscribed");
    assert_eq!(a.next().await, None, "a whole deflate stream");
    publish(&pod, "demo:b", "t", "9").await;
    assert_eq!(b.json().await["events"][0]["data"], 9);
    pod.stop();
}

#[tokio::test]
async fn who_asks_wrongly_is_told() {
    let pod = pod(|settings| settings.general.anonymous = Some(false));
    let address = pod.addresses().quic[0];
    let (_endpoint, session) = ask(address, "/wt?token=bad", &[], |_| {}).await.expect("it is accepted to be told");
    let end = tokio::time::timeout(harness::SOON, session.closed()).await.unwrap();
    assert_eq!(code(&end), Some(4001), "{end:?}");
    for (target, origin) in [("/wt", "https://evil.example"), ("/elsewhere", "http://localhost")] {
        let refused = ask(address, target, &[("origin", origin)], |_| {}).await;
        assert!(refused.is_err(), "{target} from {origin}");
    }
    pod.stop();
}
