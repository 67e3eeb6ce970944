//! WebTransport sessions of a pod, seen by a client of another make.

mod admission;
pub mod client;
mod handshake;
mod moves;
mod pressure;
mod way;

use std::sync::Arc;

use crate::harness::{Client, SOON, pod, publish, rule};
use client::{Page, ask, code};
use roomcast::testing::model::{Access, Delivery, Policy};
use serde_json::json;

#[tokio::test]
async fn a_session_joins_a_room_and_leaves_it() {
    let pod = pod(|_| {});
    let mut page = Page::connect(pod.addresses().quic[0]).await;
    let mut room = page.subscribe("plain:a").await;
    let at = publish(&pod, "plain:a", "t", "{\"n\":1}").await;
    let events = room.json().await;
    assert_eq!(events["type"], "events");
    assert_eq!(events["offset"], at.offset);
    assert_eq!(events["events"][0]["data"], json!({"n": 1}));
    let answer = page.ask(&json!({"type": "ping", "id": 7})).await;
    assert_eq!(answer, json!({"type": "pong", "id": 7}));
    let stats = page.ask(&json!({"type": "stats"})).await;
    assert_eq!((&stats["transport"], &stats["tls"]), (&"webtransport".into(), &true.into()));
    page.send(&json!({"type": "unsubscribe", "room": "plain:a", "id": "bye"})).await;
    assert_eq!(room.json().await, json!({"type": "unsubscribed", "id": "bye", "room": "plain:a"}));
    assert_eq!(room.next().await, None, "the stream ends behind it");
    drop(page);
    pod.stop();
}

#[tokio::test]
async fn rooms_have_streams_of_their_own_that_are_compressed() {
    let pod = pod(|_| {});
    let mut page = Page::connect_to(pod.addresses().quic[0], "/wt?compression=deflate-raw").await;
    let mut a = page.subscribe("plain:a").await;
    let mut b = page.subscribe("plain:b").await;
    let text = json!("word ".repeat(400)).to_string();
    for n in 0..3 {
        publish(&pod, "plain:a", "t", &text).await;
        publish(&pod, "plain:b", "t", &n.to_string()).await;
        let (in_a, in_b) = (a.json().await, b.json().await);
        assert_eq!((&in_a["room"], in_a["events"][0]["data"].to_string()), (&"plain:a".into(), text.clone()));
        assert_eq!((&in_b["room"], &in_b["events"][0]["data"]), (&"plain:b".into(), &n.into()));
    }
    assert!(a.wire < 1_500, "three times 2 kB are {} bytes", a.wire);
    page.send(&json!({"type": "unsubscribe", "room": "plain:a"})).await;
    assert_eq!(a.json().await["type"], "unsubscribed");
    assert_eq!(a.next().await, None, "a whole deflate stream");
    publish(&pod, "plain:b", "t", "9").await;
    assert_eq!(b.json().await["events"][0]["data"], 9);
    pod.stop();
}

#[tokio::test]
async fn who_asks_wrongly_is_told() {
    let pod = pod(|settings| settings.general.anonymous = Some(false));
    let address = pod.addresses().quic[0];
    let (_endpoint, session) = ask(address, "/wt?token=bad", &[], |_| {}).await.expect("it is accepted to be told");
    let end = tokio::time::timeout(crate::harness::SOON, session.closed()).await.unwrap();
    assert_eq!(code(&end), Some(4001), "{end:?}");
    for (target, origin) in [("/wt", "https://evil.example"), ("/elsewhere", "http://localhost")] {
        let refused = ask(address, target, &[("origin", origin)], |_| {}).await;
        assert!(refused.is_err(), "{target} from {origin}");
    }
    pod.stop();
}

#[tokio::test]
async fn rooms_share_a_stream_where_the_client_allows_no_more() {
    let pod = pod(|_| {});
    let address = pod.addresses().quic[0];
    // One for HTTP/3, two for rooms.
    let limit = |transport: &mut quinn::TransportConfig| {
        transport.max_concurrent_uni_streams(quinn::VarInt::from_u32(3));
    };
    let mut page = Page::connect_with(address, "/wt?compression=deflate-raw", limit).await;
    let mut a = page.subscribe("plain:a").await;
    let mut b = page.subscribe("plain:b").await;
    page.send(&json!({"type": "subscribe", "room": "plain:c"})).await;
    assert_eq!(b.json().await["room"], "plain:c");
    for room in ["plain:a", "plain:b", "plain:c"] {
        publish(&pod, room, "t", "1").await;
    }
    assert_eq!(a.json().await["room"], "plain:a");
    let mut shared = [b.json().await["room"].clone(), b.json().await["room"].clone()];
    shared.sort_by_key(ToString::to_string);
    assert_eq!(shared, ["plain:b", "plain:c"]);
    page.send(&json!({"type": "unsubscribe", "room": "plain:b"})).await;
    assert_eq!(b.json().await["type"], "unsubscribed");
    publish(&pod, "plain:c", "t", "2").await;
    assert_eq!(b.json().await["events"][0]["data"], 2, "the other room still has it");
    pod.stop();
}

#[tokio::test]
async fn a_client_that_allows_no_streams_is_told() {
    let pod = pod(|_| {});
    let limit = |transport: &mut quinn::TransportConfig| {
        transport.max_concurrent_uni_streams(quinn::VarInt::from_u32(1));
    };
    let mut page = Page::connect_with(pod.addresses().quic[0], "/wt", limit).await;
    let answer = page.ask(&json!({"type": "subscribe", "room": "plain:a", "id": 1})).await;
    assert_eq!((&answer["code"], &answer["id"]), (&"limit_exceeded".into(), &1.into()), "{answer}");
    pod.stop();
}

#[tokio::test]
async fn only_the_latest_matters_in_datagrams() {
    use roomcast::testing::config::{RoomPattern, Rule};
    let pod = pod(|settings| {
        let policy = Policy { delivery: Delivery::Latest, ..Policy::default() };
        settings.policies.push(Rule { patterns: vec![RoomPattern::parse("latest:*").unwrap()], policy });
    });
    let mut page = Page::connect(pod.addresses().quic[0]).await;
    let mut room = page.subscribe("latest:a").await;
    // Any one of them may be lost.
    for n in 0..20 {
        publish(&pod, "latest:a", "t", &n.to_string()).await;
    }
    let datagram = tokio::time::timeout(SOON, page.session.read_datagram()).await.expect("one in time").unwrap();
    let length = u32::from_be_bytes(*datagram.first_chunk().unwrap()) as usize;
    assert_eq!(datagram.len(), 4 + length);
    let events: serde_json::Value = serde_json::from_slice(&datagram[4..]).unwrap();
    assert_eq!((&events["type"], &events["room"]), (&"events".into(), &"latest:a".into()));
    let large = json!("x".repeat(5_000));
    publish(&pod, "latest:a", "t", &large.to_string()).await;
    // Small ones that share a frame may have been too large together.
    while room.json().await["events"].as_array().unwrap().last().unwrap()["data"] != large {}
    pod.stop();
}

#[tokio::test]
async fn signals_come_as_datagrams_and_their_ends_on_the_stream() {
    let pod = pod(|settings| settings.policies.push(rule("r", |policy| policy.signal = Access::Anyone)));
    let mut page = Page::connect(pod.addresses().quic[0]).await;
    let mut room = page.subscribe("r").await;
    let mut other = Client::connect(pod.addresses().plain[0]).await;
    other.subscribe("r").await;
    other.send(r#"{"type":"signal","room":"r","topic":"typing"}"#).await;
    let datagram = tokio::time::timeout(SOON, page.session.read_datagram()).await.expect("one in time").unwrap();
    let signal: serde_json::Value = serde_json::from_slice(&datagram[4..]).unwrap();
    assert_eq!((&signal["type"], &signal["ttl"]), (&"signal".into(), &5_000.into()), "{signal}");
    other.send(r#"{"type":"signal","room":"r","topic":"typing","ttl":0}"#).await;
    let end = room.json().await;
    assert_eq!((&end["type"], &end["ttl"]), (&"signal".into(), &0.into()), "{end}");
    // And from such a client to others.
    page.send(&json!({"type": "signal", "room": "r", "topic": "typing", "ttl": 60_000})).await;
    assert_eq!(other.json().await["ttl"], 60_000);
    drop(page);
    assert_eq!(other.json().await["ttl"], 0, "it is gone");
    pod.stop();
}

#[tokio::test]
async fn who_does_not_read_is_bounded_and_told_of_the_gap() {
    let pod = pod(|settings| {
        settings.limits.send_queue = 256 * 1024;
        settings.webtransport.send_window = 64 * 1024;
    });
    // The client lets 32 KiB come on a stream that it does not read.
    let small = |transport: &mut quinn::TransportConfig| {
        transport.stream_receive_window(quinn::VarInt::from_u32(32 * 1024));
    };
    let mut page = Page::connect_with(pod.addresses().quic[0], "/wt", small).await;
    let mut stuck = page.subscribe("plain:stuck").await;
    let mut read = page.subscribe("plain:read").await;
    let data = json!("y".repeat(4_000)).to_string();
    let mut last = 0;
    for _ in 0..400 {
        last = publish(&pod, "plain:stuck", "t", &data).await.offset;
        let held = pod.services().budget.queued_bytes();
        // A frame is judged when it is in the queue, and holds up to 64 KiB of events.
        assert!(held <= (256 + 68) * 1024, "{held} bytes are owed to one session");
    }
    publish(&pod, "plain:read", "t", "1").await;
    assert_eq!(read.json().await["events"][0]["data"], 1, "another room is not held up");
    let (mut at, mut gaps) = (0, 0);
    while at < last {
        let message = stuck.json().await;
        assert_eq!(message["after"], at, "no hole: {}", message["type"]);
        at = message["offset"].as_u64().unwrap();
        gaps += usize::from(message["type"] == "gap");
    }
    // One, unless an acknowledgement comes late and lets it leave before the last event was published.
    assert!((1..=3).contains(&gaps), "{gaps} gaps for what was dropped of 400 events");
    pod.stop();
}

#[tokio::test]
async fn a_command_that_is_too_long_or_no_text_closes_the_session() {
    let pod = pod(|_| {});
    for (bytes, expected) in [(&[0xff, 0, 0, 0][..], 1009), (&[0, 0, 0, 2, 0xc3, 0x28], 1007)] {
        let mut page = Page::connect(pod.addresses().quic[0]).await;
        page.send_bytes(bytes).await;
        assert_eq!(page.closed().await, Some(expected));
    }
    pod.stop();
}

#[tokio::test]
async fn a_client_that_moves_stays() {
    let pod = pod(|_| {});
    let mut page = Page::connect(pod.addresses().quic[0]).await;
    let mut room = page.subscribe("plain:a").await;
    for n in 0..3 {
        let before = page.endpoint.local_addr().unwrap();
        page.endpoint.rebind(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        assert_ne!(page.endpoint.local_addr().unwrap(), before);
        // The client's own packet tells the pod where it is now.
        assert_eq!(page.ask(&json!({"type": "ping"})).await["type"], "pong");
        publish(&pod, "plain:a", "t", &n.to_string()).await;
        assert_eq!(room.json().await["events"][0]["data"], n);
    }
    pod.stop();
}

#[tokio::test]
async fn a_drain_says_when_to_come_back_and_closes() {
    let pod = pod(|_| {});
    let mut page = Page::connect(pod.addresses().quic[0]).await;
    let _room = page.subscribe("plain:a").await;
    let window = std::time::Duration::from_millis(300);
    let drained = tokio::spawn(pod.drain(std::time::Duration::ZERO, window));
    let reconnect = page.reply().await;
    assert_eq!(reconnect["type"], "reconnect", "{reconnect}");
    assert_eq!(page.closed().await, Some(1012));
    let began = std::time::Instant::now();
    drained.await.unwrap();
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "the ends are waited for, and no longer");
}

#[tokio::test]
async fn a_reconnecting_client_recovers() {
    let pod = pod(|_| {});
    let address = pod.addresses().quic[0];
    let mut page = Page::connect(address).await;
    page.send(&json!({"type": "subscribe", "room": "plain:a"})).await;
    let subscribed = page.stream().await.json().await;
    // The network is cut: no word of an end reaches the pod.
    page.endpoint.rebind(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    drop(page);
    for n in 0..5 {
        publish(&pod, "plain:a", "t", &n.to_string()).await;
    }
    let mut page = Page::connect(address).await;
    let since = json!({"epoch": subscribed["epoch"], "offset": subscribed["offset"]});
    page.send(&json!({"type": "subscribe", "room": "plain:a", "since": since})).await;
    let mut room = page.stream().await;
    assert_eq!(room.json().await["recovered"], true);
    let mut seen = Vec::new();
    while seen.len() < 5 {
        seen.extend(room.json().await["events"].as_array().unwrap().iter().map(|event| event["data"].clone()));
    }
    assert_eq!(seen, [0, 1, 2, 3, 4]);
    pod.stop();
}

/// A packet that begins a handshake, as the client of `quinn` sends it.
async fn first_packet() -> Vec<u8> {
    let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (endpoint, config) = client::endpoint(|_| {});
    let connecting = endpoint.connect_with(config, server.local_addr().unwrap(), "localhost").unwrap();
    let mut packet = vec![0; 2_000];
    let (length, _) = tokio::time::timeout(SOON, server.recv_from(&mut packet)).await.unwrap().unwrap();
    drop(connecting);
    packet.truncate(length);
    packet
}

#[tokio::test]
async fn an_address_that_is_not_proved_gets_at_most_three_times_what_it_sent() {
    let pod = pod(|_| {});
    let packet = first_packet().await;
    assert!(packet.len() >= 1_200, "{}", packet.len());
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&packet, pod.addresses().quic[0]).await.unwrap();
    let (mut answer, mut got) = (vec![0; 65_536], Vec::new());
    // Long enough for several of the pod's retransmissions, which begin after at most a second.
    let patience = std::time::Duration::from_secs(5);
    let end = tokio::time::Instant::now() + patience;
    while let Ok(Ok(length)) = tokio::time::timeout_at(end, socket.recv(&mut answer)).await {
        got.push((length, answer[0]));
    }
    let sum: usize = got.iter().map(|(length, _)| length).sum();
    assert!(sum > 0, "the pod answers");
    assert!(sum <= 3 * packet.len(), "{got:?} bytes for {}", packet.len());
    pod.stop();
}

#[tokio::test]
async fn a_flood_of_first_packets_stops_nobody() {
    let pod = pod(|settings| settings.webtransport.retry_above = 16);
    let address = pod.addresses().quic[0];
    // Real beginnings of handshakes, each with an ID of its own.
    let mut packets = Vec::new();
    for _ in 0..300 {
        packets.push(first_packet().await);
    }
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flooding = Arc::clone(&over);
    let flood = std::thread::spawn(move || {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut sent = 0_u64;
        while !flooding.load(std::sync::atomic::Ordering::Relaxed) {
            for packet in &packets {
                let _ = socket.send_to(packet, address);
                sent += 1;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        sent
    });
    let mut slowest = std::time::Duration::ZERO;
    for n in 0..20 {
        let began = std::time::Instant::now();
        let mut client = Client::connect(pod.addresses().plain[0]).await;
        let room = format!("plain:flood-{n}");
        client.subscribe(&room).await;
        publish(&pod, &room, "t", &n.to_string()).await;
        assert_eq!(client.json().await["events"][0]["data"], n);
        slowest = slowest.max(began.elapsed());
    }
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    let sent = flood.join().unwrap();
    assert!(sent > 1_000, "{sent} packets are no flood");
    assert!(slowest < std::time::Duration::from_secs(5), "a WebSocket took {slowest:?}");
    let (_, metrics) = crate::harness::get(&pod, "/metrics").await;
    let retried = metrics.lines().find(|line| line.contains("stage=\"quic\",result=\"retried\"")).unwrap();
    assert!(!retried.ends_with(" 0"), "{retried}");
    // And who is a real client gets in as well, with a Retry or without.
    let mut page = Page::connect(address).await;
    page.subscribe("plain:a").await;
    pod.stop();
}

#[tokio::test]
async fn the_hashes_that_a_page_pins_are_those_of_the_certificate() {
    let pod = pod(|_| {});
    let (status, body) = crate::harness::get(&pod, "/certificate-hashes").await;
    let told: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &told["port"]), (200, &pod.addresses().quic[0].port().into()));
    let (_endpoint, session) = ask(pod.addresses().quic[0], "/wt", &[], |_| {}).await.unwrap();
    let identity = session.peer_identity().unwrap();
    let chain = identity.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &chain[0]);
    let expected = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, digest);
    assert_eq!(told["hashes"], json!([{"algorithm": "sha-256", "value": expected}]));
    pod.stop();
}
