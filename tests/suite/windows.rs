//! One window a room, over sockets: clients that keep their window, and clients that do not, read the same.

use roomcast::testing::pod::Pod;
use roomcast_websocket::Offer;
use serde_json::{Value, json};

use crate::{
    harness::{Client, get, pod, publish, rule},
    webtransport::client::{Messages, Page},
};

/// A vehicle's position, as a fleet would publish it.
fn position(n: u64) -> Value {
    json!({
        "vehicle": format!("tram-{}", n % 17), "line": "M10", "lat": 52_500_000 + n * 7_919 % 90_001, "lon": 13_400_000 - n * 6_101 % 80_021,
        "speed": n * 7 % 60, "heading": n * 31 % 360, "status": "in_transit", "next_stop": format!("stop-{}", n * 13 % 90),
        "occupancy": "many_seats_available", "delay": n % 300,
    })
}

async fn frames(pod: &Pod, kind: &str) -> u64 {
    let (status, text) = get(pod, "/metrics").await;
    assert_eq!(status, 200);
    let series = format!("roomcast_window_frames_total{{kind=\"{kind}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&series)).expect("the series");
    value.parse().expect("a whole number")
}

/// What compressed frames went out as: chained, with a keyframe, or apart.
async fn kinds(pod: &Pod) -> [u64; 3] {
    [frames(pod, "chained").await, frames(pod, "keyframe").await, frames(pod, "independent").await]
}

async fn members(pod: &Pod, many: usize, room: &str, offer: Option<Offer>) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..many {
        let mut client = Client::connect_with(pod.addresses().plain[0], offer).await;
        client.subscribe(room).await;
        clients.push(client);
    }
    clients
}

/// Publishes `events` and has each client read each of them before the next.
async fn converse(pod: &Pod, room: &str, clients: &mut [Client], events: std::ops::Range<u64>) {
    for n in events {
        publish(pod, room, "position", &position(n).to_string()).await;
        for client in clients.iter_mut() {
            let batch = client.json().await;
            assert_eq!(batch["events"][0]["data"], position(n), "{batch}");
        }
    }
}

const ALONE: Offer = Offer {
    server_no_context_takeover: true,
    client_no_context_takeover: true,
    server_max_window_bits: None,
    client_max_window_bits: true,
};

#[tokio::test]
async fn a_steady_room_is_chained_and_what_cannot_read_that_is_apart() {
    let pod = pod(|_| ());
    let mut clients = members(&pod, 12, "r", Some(Offer::default())).await;
    clients.extend(members(&pod, 2, "r", Some(ALONE)).await);
    clients.extend(members(&pod, 2, "r", Some(Offer { server_max_window_bits: Some(10), ..Offer::default() })).await);
    clients.extend(members(&pod, 1, "r", None).await);
    // The room has its window after so many deliveries.
    converse(&pod, "r", &mut clients, 0..60).await;
    let before = kinds(&pod).await;
    converse(&pod, "r", &mut clients, 60..160).await;
    let [chained, keyframes, independent] = kinds(&pod).await;
    assert_eq!(
        chained - before[0],
        100 * 12,
        "of those with the usual window each gets each frame; two with another get no chain"
    );
    assert_eq!([keyframes, independent], before[1..]);
    // One more waits for a keyframe, and reads everything until then and after.
    clients.extend(members(&pod, 1, "r", Some(Offer::default())).await);
    converse(&pod, "r", &mut clients, 160..220).await;
    let [_, keyframes_after, independent_after] = kinds(&pod).await;
    assert!(keyframes_after > keyframes && independent_after > independent, "{keyframes_after} {independent_after}");
    pod.stop();
}

#[tokio::test]
async fn clients_without_a_window_get_none_and_so_do_rooms_and_pods_that_are_told_so() {
    let alone = pod(|_| ());
    let mut clients = members(&alone, 12, "r", Some(ALONE)).await;
    converse(&alone, "r", &mut clients, 0..60).await;
    assert_eq!(kinds(&alone).await, [0, 0, 0]);
    alone.stop();

    let told = pod(|settings| settings.policies = vec![rule("private:*", |policy| policy.shared_window = false)]);
    let mut clients = members(&told, 12, "private:r", Some(Offer::default())).await;
    converse(&told, "private:r", &mut clients, 0..60).await;
    assert_eq!(kinds(&told).await, [0, 0, 0]);
    told.stop();

    let without = pod(|settings| settings.compression.windows = 0);
    let mut clients = members(&without, 12, "r", Some(Offer::default())).await;
    converse(&without, "r", &mut clients, 0..60).await;
    assert_eq!(kinds(&without).await, [0, 0, 0]);
    without.stop();
}

#[tokio::test]
async fn members_of_two_rooms_that_come_and_go_read_everything() {
    let pod = pod(|_| ());
    let mut both = members(&pod, 4, "a", Some(Offer::default())).await;
    for client in &mut both {
        client.subscribe("b").await;
    }
    let mut one = members(&pod, 10, "a", Some(Offer::default())).await;
    for n in 0..120 {
        let to_both = n % 5 == 4;
        let room = if to_both { "b" } else { "a" };
        publish(&pod, room, "position", &position(n).to_string()).await;
        let listeners = both.iter_mut().chain(one.iter_mut().filter(|_| !to_both));
        for client in listeners {
            let batch = client.json().await;
            assert_eq!((&batch["room"], &batch["events"][0]["data"]), (&json!(room), &position(n)), "{batch}");
        }
        // One leaves and comes back, and asks for what it knows already: it is told uncompressed.
        let client = &mut one[n as usize % 10];
        let left = client.ask(json!({"type": "unsubscribe", "room": "a"})).await;
        assert_eq!(left["type"], "unsubscribed", "{left}");
        client.subscribe("a").await;
    }
    let [chained, keyframes, _] = kinds(&pod).await;
    assert!(chained > 300 && keyframes > 0, "{chained} chained, {keyframes} with a keyframe");
    pod.stop();
}

/// Publishes `events` to room `r` and has each stream read each of them before the next.
async fn say_on_streams(pod: &Pod, streams: &mut [Messages], events: std::ops::Range<u64>) {
    for n in events {
        publish(pod, "r", "position", &position(n).to_string()).await;
        for stream in streams.iter_mut() {
            let batch = stream.json().await;
            assert_eq!(batch["events"][0]["data"], position(n), "{batch}");
        }
    }
}

#[tokio::test]
async fn streams_of_sessions_are_chained_but_for_those_that_decline() {
    let pod = pod(|_| ());
    let address = pod.addresses().quic[0];
    let (mut pages, mut streams) = (Vec::new(), Vec::new());
    for at in 0..12 {
        let target = if at < 10 { "/wt?compression=deflate-raw" } else { "/wt?compression=deflate-raw&takeover=no" };
        let mut page = Page::connect_to(address, target).await;
        streams.push(page.subscribe("r").await);
        pages.push(page);
    }
    say_on_streams(&pod, &mut streams, 0..60).await;
    let (before, wire) = (kinds(&pod).await, [streams[0].wire, streams[11].wire]);
    say_on_streams(&pod, &mut streams, 60..160).await;
    let [chained, keyframes, independent] = kinds(&pod).await;
    assert_eq!(chained - before[0], 100 * 10, "of the sessions that read one stream each gets each frame");
    assert_eq!([keyframes, independent], before[1..]);
    let [kept, alone] = [streams[0].wire - wire[0], streams[11].wire - wire[1]];
    assert!(kept * 2 < alone, "{kept} bytes beside {alone}");
    // One leaves the room and comes back: what it is told alone is on its stream, and it reads everything behind that.
    pages[0].send(&json!({"type": "unsubscribe", "room": "r"})).await;
    assert_eq!(streams[0].json().await["type"], "unsubscribed");
    streams[0] = pages[0].subscribe("r").await;
    say_on_streams(&pod, &mut streams, 160..200).await;
    assert!(frames(&pod, "independent").await > independent);
    pod.stop();
}
