//! Sessions that read less than they are sent: what leaves first, how much is kept, and that nothing is broken by it.

use std::time::{Duration, Instant};

use quinn::VarInt;
use roomcast::testing::{
    config::{RoomPattern, Rule, Settings},
    model::Policy,
    pod::Pod,
};
use serde_json::json;
use tokio::time::timeout;

use super::client::{Messages, Page};
use crate::harness::{SOON, config, pod, publish, settings};

/// How many events the busy room gets, and how large each is.
const BUSY: u64 = 60;
const SIZE: usize = 4_000;

fn priority(settings: &mut Settings, room: &str, priority: u8) {
    let patterns = vec![RoomPattern::parse(room).unwrap()];
    settings.policies.push(Rule { patterns, policy: Policy { priority, ..Policy::default() } });
}

/// A pod whose rooms have these priorities, and whose sessions keep little on its way.
fn narrow(busy: u8, small: u8) -> impl Fn(&mut Settings) {
    move |settings| {
        settings.webtransport.send_window = 16 * 1024;
        priority(settings, "busy:*", busy);
        priority(settings, "small:*", small);
    }
}

/// A page that lets 32 KiB come before it reads, in a busy room and in a small one.
async fn stuck(pod: &Pod) -> (Page, Messages, Messages) {
    let small = |transport: &mut quinn::TransportConfig| {
        transport.receive_window(VarInt::from_u32(32 * 1024));
    };
    let mut page = Page::connect_with(pod.addresses().quic[0], "/wt", small).await;
    let busy = page.subscribe("busy:a").await;
    let small = page.subscribe("small:a").await;
    (page, busy, small)
}

async fn fill(pod: &Pod) {
    let data = json!("y".repeat(SIZE)).to_string();
    for _ in 0..BUSY {
        publish(pod, "busy:a", "t", &data).await;
    }
    settled(pod).await;
}

/// Waits until what is owed does not change any more: both windows are full.
async fn settled(pod: &Pod) {
    let (began, mut since, mut owed) = (Instant::now(), Instant::now(), 0);
    while owed == 0 || since.elapsed() < Duration::from_millis(300) {
        assert!(began.elapsed() < SOON, "{owed} bytes wait");
        let now = pod.services().budget.queued_bytes();
        if std::mem::replace(&mut owed, now) != now {
            since = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Reads the busy room's events, frame by frame; how many it read before `other` was there.
async fn before<T>(busy: &mut Messages, other: impl Future<Output = T>) -> (u64, T) {
    let mut other = std::pin::pin!(other);
    let mut read = 0;
    loop {
        match timeout(Duration::from_millis(30), &mut other).await {
            Ok(came) => return (read, came),
            Err(_) if read < BUSY => {
                // Some share a frame.
                read += busy.json().await["events"].as_array().expect("events").len() as u64;
            }
            Err(_) => return (read, timeout(SOON, other).await.expect("it comes in time")),
        }
    }
}

#[tokio::test]
async fn the_room_with_the_higher_priority_leaves_first() {
    for (of_busy, of_small, expected) in [(1, 9, 0..=30), (9, 1, 40..=BUSY)] {
        let pod = pod(narrow(of_busy, of_small));
        let (_page, mut busy, mut small) = stuck(&pod).await;
        fill(&pod).await;
        publish(&pod, "small:a", "t", "1").await;
        let (read, event) = before(&mut busy, small.json()).await;
        assert_eq!(event["events"][0]["data"], 1);
        assert!(expected.contains(&read), "priorities {of_busy} and {of_small}: behind {read} of {BUSY} events");
        pod.stop();
    }
}

#[tokio::test]
async fn a_small_room_does_not_wait_for_all_that_a_busy_one_owes() {
    let pod = pod(narrow(5, 5));
    let (_page, mut busy, mut small) = stuck(&pod).await;
    fill(&pod).await;
    publish(&pod, "small:a", "t", "1").await;
    let (read, _) = before(&mut busy, small.json()).await;
    assert!(read <= 30, "behind {read} of {BUSY} events");
    pod.stop();
}

#[tokio::test]
async fn a_reloaded_priority_holds_for_who_is_there() {
    let pod = pod(narrow(9, 1));
    let (_page, mut busy, mut small) = stuck(&pod).await;
    pod.reload(config(settings(narrow(1, 9))));
    // A worker looks at reloaded policies between two things that it does.
    publish(&pod, "small:a", "t", "0").await;
    assert_eq!(small.json().await["events"][0]["data"], 0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    fill(&pod).await;
    publish(&pod, "small:a", "t", "1").await;
    let (read, _) = before(&mut busy, small.json()).await;
    assert!(read <= 30, "behind {read} of {BUSY} events");
    pod.stop();
}

#[tokio::test]
async fn replies_leave_before_rooms() {
    let pod = pod(narrow(9, 9));
    let (mut page, mut busy, _small) = stuck(&pod).await;
    fill(&pod).await;
    page.send(&json!({"type": "ping", "id": 1})).await;
    let (read, pong) = before(&mut busy, page.reply()).await;
    assert_eq!(pong["type"], "pong");
    assert!(read <= 30, "behind {read} of {BUSY} events");
    pod.stop();
}

#[tokio::test]
async fn a_message_that_has_begun_is_finished_before_a_gap_is_told() {
    // So much of `subscribed` finds room on its stream, or of what announces the stream.
    for window in [3, 4, 20] {
        let pod = pod(|settings| settings.limits.send_queue = 4 * 1024);
        let narrow = |transport: &mut quinn::TransportConfig| {
            transport.stream_receive_window(VarInt::from_u32(window));
        };
        // The client's own streams are not narrow: the welcome comes in pieces, but is read.
        let mut page = Page::connect_with(pod.addresses().quic[0], "/wt", narrow).await;
        page.send(&json!({"type": "subscribe", "room": "plain:a"})).await;
        let accept = async { timeout(SOON, page.session.accept_uni()).await.expect("a stream in time").unwrap() };
        settled(&pod).await;
        let data = json!("y".repeat(500)).to_string();
        let mut last = 0;
        for _ in 0..40 {
            last = publish(&pod, "plain:a", "t", &data).await.offset;
        }
        settled(&pod).await;
        let mut room = Messages::room(accept.await).await;
        let subscribed = room.json().await;
        assert_eq!(subscribed["type"], "subscribed", "first of all, whole: window {window}");
        let (mut at, mut gaps) = (subscribed["offset"].as_u64().unwrap(), 0);
        while at < last {
            let message = room.json().await;
            assert_eq!(message["after"], at, "no hole: {}", message["type"]);
            at = message["offset"].as_u64().unwrap();
            gaps += u32::from(message["type"] == "gap");
        }
        assert_eq!(gaps, 1, "window {window}");
        pod.stop();
    }
}

#[tokio::test]
async fn what_is_on_its_way_to_a_silent_client_is_bounded_too() {
    const WINDOW: usize = 64 * 1024;
    let pod = pod(|settings| {
        settings.limits.send_queue = 4 << 20;
        settings.webtransport.send_window = WINDOW;
    });
    let address = pod.addresses().quic[0];
    let (joined, wait_joined) = std::sync::mpsc::channel();
    let (go_on, silent) = std::sync::mpsc::channel::<()>();
    // A client with windows of megabytes that acknowledges nothing: its event loop stands still.
    let client = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut page = Page::connect(address).await;
            let mut room = page.subscribe("plain:a").await;
            joined.send(()).unwrap();
            silent.recv().unwrap();
            let mut at = 0;
            while at < 200 {
                let events = room.json().await;
                assert_eq!(events["after"], at);
                at = events["offset"].as_u64().unwrap();
            }
        });
    });
    wait_joined.recv().unwrap();
    let data = json!("y".repeat(SIZE)).to_string();
    for _ in 0..200 {
        publish(&pod, "plain:a", "t", &data).await;
    }
    settled(&pod).await;
    let taken = (200 * SIZE).saturating_sub(pod.services().budget.queued_bytes());
    assert!(taken <= WINDOW, "QUIC took {taken} bytes that nobody acknowledged");
    go_on.send(()).unwrap();
    client.join().unwrap();
    pod.stop();
}
