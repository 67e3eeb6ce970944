//! Receivers that do not keep up: each policy's answer, and that nobody else notices.
use std::time::Duration;

use crate::harness::{Client, SOON, Seen, pod, publish, settings};
use roomcast::testing::{
    config::{RoomPattern, Rule, Settings},
    hub::ConnectionFilter,
    model::{Policy, SlowReceiver},
    pod::Pod,
};
use serde_json::json;
use tokio::time::timeout;

/// A pod whose room `slow:*` answers slowness in one way, with small buffers so that slowness shows early.
fn with_policy(slow: SlowReceiver, change: impl FnOnce(&mut Policy)) -> Pod {
    pod(|settings: &mut Settings| {
        let mut policy = Policy { slow, compress_from: None, history_size: 10_000, ..Policy::default() };
        policy.history_bytes = 64 << 20;
        change(&mut policy);
        settings.policies = vec![Rule { patterns: vec![RoomPattern::parse("slow:*").unwrap()], policy }];
        settings.limits.send_queue = 256 * 1024;
        settings.socket.send_buffer = Some(16 * 1024);
    })
}

/// Publishes until the slow client's queue has certainly run over: kernel buffers on both sides hold 300 KiB at most.
async fn flood(pod: &Pod, quick: &mut Client, events: u64, bytes: usize) -> u64 {
    let data = format!("\"{}\"", "x".repeat(bytes));
    let mut seen = 0;
    for n in 1..=events {
        publish(pod, "slow:1", "t", &data).await;
        while seen < n {
            let events = quick.json().await;
            assert_eq!(events["after"].as_u64(), Some(seen), "the quick one misses nothing");
            seen = events["offset"].as_u64().unwrap();
        }
    }
    seen
}

#[tokio::test]
async fn a_gap_names_exactly_what_was_dropped() {
    let pod = with_policy(SlowReceiver::Gap, |_| ());
    let address = pod.addresses().plain[0];
    let (mut slow, mut quick) = (Client::connect(address).await, Client::connect(address).await);
    slow.subscribe("slow:1").await;
    quick.subscribe("slow:1").await;
    let last = flood(&pod, &mut quick, 256, 64 * 1024).await;
    let (mut position, mut gaps) = (0, 0);
    while position < last {
        let message = slow.json().await;
        assert_eq!(message["after"].as_u64(), Some(position), "no silent gap: {}", message["type"]);
        gaps += u64::from(message["type"] == "gap");
        position = message["offset"].as_u64().unwrap();
    }
    assert!(gaps > 0, "the queue ran over");
    publish(&pod, "slow:1", "t", "1").await;
    assert_eq!(slow.json().await["after"].as_u64(), Some(last), "it is back in the live stream");
    assert_eq!(pod.services().budget.held(), 0, "everything booked was given back");
    pod.stop();
}

#[tokio::test]
async fn close_says_4008() {
    let pod = with_policy(SlowReceiver::Close, |_| ());
    let address = pod.addresses().plain[0];
    let (mut slow, mut quick) = (Client::connect(address).await, Client::connect(address).await);
    slow.subscribe("slow:1").await;
    quick.subscribe("slow:1").await;
    // No more than what runs the queue over: a client that has not read the close in time finds its socket gone.
    flood(&pod, &mut quick, 32, 64 * 1024).await;
    assert_eq!(slow.closed().await, Some(4008));
    pod.stop();
}

#[tokio::test]
async fn a_conflating_room_brings_it_back_in_one_frame() {
    let pod = with_policy(SlowReceiver::Conflate, |policy| policy.conflate = roomcast::testing::model::Conflate::Topic);
    let address = pod.addresses().plain[0];
    let (mut slow, mut quick) = (Client::connect(address).await, Client::connect(address).await);
    slow.subscribe("slow:1").await;
    quick.subscribe("slow:1").await;
    // All of it together is no more than one recovery brings.
    let last = flood(&pod, &mut quick, 300, 3 * 1024).await;
    let (mut position, mut widest) = (0, 0);
    while position < last {
        let message = slow.json().await;
        assert_eq!(message["after"].as_u64(), Some(position), "no silent gap: {}", message["type"]);
        let offset = message["offset"].as_u64().unwrap();
        if message["type"] == "events" {
            widest = widest.max(offset - position);
        }
        position = offset;
    }
    assert!(widest > 1, "what was missed came conflated");
    publish(&pod, "slow:1", "t", "1").await;
    assert_eq!(slow.json().await["after"].as_u64(), Some(last));
    pod.stop();
}

#[tokio::test]
async fn a_room_whose_only_member_has_fallen_behind_stays() {
    let pod = with_policy(SlowReceiver::Conflate, |policy| policy.conflate = roomcast::testing::model::Conflate::Topic);
    let mut slow = Client::connect(pod.addresses().plain[0]).await;
    slow.subscribe("slow:1").await;
    let data = format!("\"{}\"", "x".repeat(64 * 1024));
    let mut last = 0;
    for _ in 0..256 {
        last = publish(&pod, "slow:1", "t", &data).await.offset;
    }
    // Longer than an empty room lingers: real time, because the kernel's buffers are part of this.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let mut position = 0;
    while position < last {
        let message = slow.json().await;
        assert_eq!(message["room"], "slow:1");
        assert_eq!(message["after"].as_u64(), Some(position), "no silent gap: {}", message["type"]);
        position = message["offset"].as_u64().unwrap();
    }
    publish(&pod, "slow:1", "t", "1").await;
    assert_eq!(slow.json().await["after"].as_u64(), Some(last), "it is back in the live stream");
    pod.stop();
}

#[tokio::test]
async fn everybody_stopped_at_once_stays_within_the_budget() {
    let budget = 8 << 20;
    let pod = Pod::start(crate::harness::config(settings(|settings| {
        settings.general.memory_budget = Some(budget);
        settings.socket.send_buffer = Some(16 * 1024);
        settings.default_policy.compress_from = None;
        // Each owes little, all together more than the pod may hold.
        settings.limits.send_queue = 64 << 20;
    })))
    .unwrap();
    let address = pod.addresses().plain[0];
    let mut stopped = Vec::new();
    for n in 0..8 {
        let mut client = Client::connect(address).await;
        client.subscribe(&format!("stopped:{n}")).await;
        stopped.push(client);
    }
    let mut quick = Client::connect(address).await;
    quick.subscribe("quick:1").await;
    let data = format!("\"{}\"", "x".repeat(32 * 1024));
    let mut most = 0;
    for round in 0..300 {
        for n in 0..8 {
            publish(&pod, &format!("stopped:{n}"), "t", &data).await;
        }
        publish(&pod, "quick:1", "t", "1").await;
        assert_eq!(quick.json().await["offset"].as_u64(), Some(round + 1), "others go on");
        most = most.max(pod.services().budget.held());
    }
    assert!(most > budget / 2, "the queues were filled: {most}");
    assert!(most < budget + budget / 4, "held {most} of {budget}");
    for (n, client) in stopped.iter_mut().enumerate() {
        let (mut position, mut gaps) = (0, 0);
        while position < 300 {
            let Seen::Json(message) = client.next().await else { panic!("client {n} was closed") };
            assert_eq!(message["after"].as_u64(), Some(position));
            gaps += u64::from(message["type"] == "gap");
            position = message["offset"].as_u64().unwrap();
        }
        assert!(gaps > 0);
    }
    assert_eq!(pod.services().budget.held(), 0);
    pod.stop();
}

/// Waits for something that a pod comes to by itself.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    timeout(SOON, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("it comes to that in time");
}

/// No frame is offered to it any more that could notice: the room is quiet when the memory is gone.
#[tokio::test]
async fn a_pod_without_memory_takes_frames_from_a_stuck_member_of_a_quiet_room() {
    let pod = pod(|settings| {
        settings.default_policy.compress_from = None;
        settings.limits.send_queue = 64 << 20;
        settings.socket.send_buffer = Some(16 * 1024);
        settings.general.workers = Some(1);
    });
    let budget = std::sync::Arc::clone(&pod.services().budget);
    let address = pod.addresses().plain[0];
    let (mut stuck, mut reads) = (Client::connect(address).await, Client::connect(address).await);
    stuck.subscribe("demo:q").await;
    reads.subscribe("demo:q").await;
    let data = format!("\"{}\"", "x".repeat(32 * 1024));
    let mut last = 0;
    // More than the kernel takes on both sides.
    while budget.queued_bytes() < 4 << 20 {
        last = publish(&pod, "demo:q", "t", &data).await.offset;
        assert!(last < 1_000, "nothing waits");
        while reads.json().await["offset"].as_u64() < Some(last) {}
    }
    let all = budget.limit();
    budget.take(all);
    // The rest of a frame that has begun stays.
    until(async || budget.queued_bytes() < 64 * 1024).await;
    budget.give(all);
    let (mut position, mut gaps) = (0, 0);
    while position < last {
        let message = stuck.json().await;
        // That the other has joined is told as well, at any time.
        if message["type"] == "joined" {
            continue;
        }
        assert_eq!(message["after"].as_u64(), Some(position), "no silent gap: {}", message["type"]);
        gaps += u64::from(message["type"] == "gap");
        position = message["offset"].as_u64().unwrap();
    }
    assert_eq!(gaps, 1);
    pod.stop();
}

#[tokio::test]
async fn a_pod_without_memory_closes_the_client_that_holds_most_and_reads_nothing() {
    let pod = pod(|settings| {
        settings.default_policy.compress_from = None;
        settings.default_policy.history_bytes = 64 << 20;
        settings.limits.send_queue = 8 << 20;
        settings.socket.send_buffer = Some(16 * 1024);
    });
    let budget = std::sync::Arc::clone(&pod.services().budget);
    let data = format!("\"{}\"", "x".repeat(48 * 1024));
    for _ in 0..12 {
        publish(&pod, "demo:h", "t", &data).await;
    }
    let address = pod.addresses().plain[0];
    let (mut stuck, mut reads) = (Client::connect(address).await, Client::connect(address).await);
    for _ in 0..5 {
        stuck.send(r#"{"type":"history","room":"demo:h"}"#).await;
    }
    let everybody = || ConnectionFilter { limit: 10, ..ConnectionFilter::default() };
    until(async || {
        let filter = everybody();
        let all = pod.services().queues.ask_all(move |worker| worker.list_connections(&filter).connections).await;
        // Its welcome, and five answers.
        all.unwrap().into_iter().flatten().any(|connection| connection.totals.frames_out == 6)
    })
    .await;
    assert!(budget.queued_bytes() > 2 << 20, "{}", budget.queued_bytes());
    let all = budget.limit();
    budget.take(all);
    until(async || budget.queued_bytes() < 1 << 20).await;
    budget.give(all);
    assert_eq!(stuck.closed().await, Some(4008));
    assert_eq!(reads.ask(json!({"type": "ping"})).await["type"], "pong", "the other one stays");
    pod.stop();
}

/// The offset of a message of events, which the batch says behind its events.
fn offset_of(text: &str) -> u64 {
    let (_, rest) = text.rsplit_once("\"offset\":").unwrap_or_else(|| panic!("no offset: {text:.100}"));
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// One of a thousand and one stops reading: the others do not notice, and it is told what it missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_others_do_not_notice_one_that_stops() {
    let pod = with_policy(SlowReceiver::Gap, |_| ());
    let address = pod.addresses().plain[0];
    let (seen, mut all_seen) = tokio::sync::mpsc::unbounded_channel();
    let mut clients = Vec::new();
    for _ in 0..1_000 {
        let mut client = Client::connect(address).await;
        client.subscribe("slow:1").await;
        clients.push(client);
    }
    let mut readers = Vec::new();
    for mut client in clients {
        let seen = seen.clone();
        readers.push(tokio::spawn(async move {
            loop {
                let offset = match client.next_unread().await {
                    Seen::Text(text) => Ok(offset_of(&text)),
                    other => Err(other),
                };
                let ended = offset.is_err();
                if seen.send(offset).is_err() || ended {
                    return;
                }
            }
        }));
    }
    let data = format!("\"{}\"", "x".repeat(16 * 1024));
    let mut offset = 0;
    // How long each of 60 events takes to reach all thousand, sorted.
    let mut round = async || {
        let mut took = Vec::new();
        for _ in 0..60 {
            let began = std::time::Instant::now();
            publish(&pod, "slow:1", "t", &data).await;
            offset += 1;
            for _ in 0..1_000 {
                let seen = all_seen.recv().await.unwrap();
                assert_eq!(seen.unwrap(), offset, "nobody misses anything");
            }
            took.push(began.elapsed());
        }
        took.sort();
        took
    };
    let before = round().await;
    let mut stopped = Client::connect(address).await;
    let joined = stopped.subscribe("slow:1").await["offset"].as_u64().unwrap();
    round().await;
    let beside = round().await;
    // The slack is for a machine that does something else meanwhile; a pod that waits for the slow one takes seconds.
    let slack = std::time::Duration::from_secs(1);
    assert!(beside[58] < 2 * before[58] + slack, "p99 {:?} beside, {:?} before", beside[58], before[58]);
    assert!(pod.services().budget.held() <= 2 * 256 * 1024, "held {}", pod.services().budget.held());
    let (mut position, last) = (joined, 180);
    while position < last {
        let message = stopped.json().await;
        assert_eq!(message["after"].as_u64(), Some(position), "no silent gap");
        position = message["offset"].as_u64().unwrap();
    }
    for reader in readers {
        reader.abort();
    }
    pod.stop();
}
