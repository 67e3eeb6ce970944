//! How many connections a user may have, as clients meet it: over every transport, on one pod and on several.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::redis::Standalone;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::block_in_place,
    time::timeout,
};

use crate::{
    harness::{Client, SOON, Seen, get, pod},
    users::{self, connect, known, ready, token},
};
use roomcast::testing::{config::Settings, model::WhenFull, pod::Pod};

/// A pod on which a user may have so many connections.
fn start(connections: usize, when_full: WhenFull, settle: impl FnOnce(&mut Settings)) -> Pod {
    pod(|settings| {
        known(settings);
        settings.limits.user_connections = Some(connections);
        settings.limits.user_connections_full = when_full;
        settle(settings);
    })
}

fn over(server: &Standalone, settings: &mut Settings) {
    users::over(server, settings);
    settings.redis.command_timeout = Duration::from_secs(2);
}

/// A connection without a user.
async fn stranger(pod: &Pod) -> Client {
    let mut client = Client::open(pod.addresses().plain[0], "/ws", &["roomcast.v1"], &[], None).await.unwrap();
    assert_eq!(client.json().await["type"], "welcome");
    client
}

async fn present(client: &mut Client, command: &str, user: &str) -> Value {
    client.ask(json!({"type": command, "id": 1, "token": token(user)})).await
}

/// What a counter of these pods has come to.
async fn count(pods: &[&Pod], outcome: &str) -> u64 {
    let mut all = 0;
    for pod in pods {
        let (_, text) = get(pod, "/metrics").await;
        let name = format!("roomcast_user_places_total{{outcome=\"{outcome}\"}} ");
        all += text.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok()).unwrap_or(0);
    }
    all
}

async fn counted(pods: &[&Pod], outcome: &str, expected: u64) {
    let began = Instant::now();
    loop {
        let all = count(pods, outcome).await;
        if all == expected {
            return;
        }
        assert!(began.elapsed() < SOON, "{outcome}: {all} instead of {expected}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// It is still served.
async fn stays(client: &mut Client) {
    assert_eq!(client.ask(json!({"type": "ping"})).await["type"], "pong");
}

/// Tries until a connection of this user stays, because the end of another one is noticed after a moment.
async fn comes_in(pods: &[&Pod], pod: &Pod, user: &str) -> Client {
    let began = Instant::now();
    loop {
        let (taken, refused) = (count(pods, "taken").await, count(pods, "refused").await);
        let mut client = connect(pod, user).await;
        while count(pods, "taken").await + count(pods, "refused").await == taken + refused {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if count(pods, "taken").await > taken {
            return client;
        }
        assert_eq!(client.closed().await, Some(4011));
        assert!(began.elapsed() < SOON, "no place became free");
    }
}

#[tokio::test]
async fn the_newest_connection_of_a_full_user_is_closed_with_a_code() {
    let pod = start(2, WhenFull::RefuseNewest, |_| ());
    let (mut phone, laptop) = (connect(&pod, "ann").await, connect(&pod, "ann").await);
    counted(&[&pod], "taken", 2).await;
    let mut third = connect(&pod, "ann").await;
    assert_eq!(third.closed().await, Some(4011));
    stays(&mut phone).await;
    // Others have places of their own, and one without a user needs none.
    let mut others = vec![connect(&pod, "bob").await];
    for _ in 0..3 {
        others.push(stranger(&pod).await);
    }
    counted(&[&pod], "taken", 3).await;
    // Free again with the end of one.
    drop(laptop);
    let mut again = comes_in(&[&pod], &pod, "ann").await;
    stays(&mut again).await;
    for other in &mut others {
        stays(other).await;
    }
    let (_, text) = get(&pod, "/metrics").await;
    assert!(text.contains("roomcast_disconnects_total{code=\"4011\"}"), "{text}");
    let refused =
        text.lines().find(|line| line.starts_with("roomcast_limit_refused_total{limit=\"user_connections\"}"));
    assert!(refused.is_some_and(|line| !line.ends_with(" 0")), "{refused:?}");
    pod.stop();
}

#[tokio::test]
async fn the_oldest_connection_gives_way_where_the_operator_says_so() {
    let pod = start(2, WhenFull::CloseOldest, |_| ());
    let mut clients = Vec::new();
    for n in 1..=4 {
        clients.push(connect(&pod, "ann").await);
        counted(&[&pod], "taken", n).await;
    }
    for mut closed in clients.drain(..2) {
        assert_eq!(closed.closed().await, Some(4011));
    }
    for client in &mut clients {
        stays(client).await;
    }
    counted(&[&pod], "displaced", 2).await;
    pod.stop();
}

#[tokio::test]
async fn a_user_that_is_known_later_counts_from_then_on() {
    let pod = start(1, WhenFull::RefuseNewest, |_| ());
    let (mut first, mut second) = (stranger(&pod).await, stranger(&pod).await);
    assert_eq!(present(&mut first, "connect", "ann").await["type"], "done");
    counted(&[&pod], "taken", 1).await;
    // A token that only renews takes no second place, and another user's is refused: the connection keeps its user.
    assert_eq!(present(&mut first, "refresh", "ann").await["type"], "done");
    assert_eq!(present(&mut first, "refresh", "bob").await["code"], "unauthorized");
    stays(&mut first).await;
    assert_eq!(present(&mut second, "connect", "ann").await["type"], "done");
    assert_eq!(second.closed().await, Some(4011));
    let mut bob = connect(&pod, "bob").await;
    counted(&[&pod], "taken", 2).await;
    stays(&mut bob).await;
    pod.stop();
}

#[tokio::test]
async fn a_poll_takes_no_place_and_an_event_stream_takes_one() {
    let pod = start(1, WhenFull::CloseOldest, |settings| settings.timeouts.poll = Duration::from_secs(1));
    let mut phone = connect(&pod, "ann").await;
    counted(&[&pod], "taken", 1).await;
    let ask = async |path: &str| {
        let mut stream = TcpStream::connect(pod.addresses().plain[0]).await.unwrap();
        let head = format!(
            "GET {path}?room=r HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
            token("ann")
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    let mut text = String::new();
    timeout(SOON, ask("/poll").await.read_to_string(&mut text)).await.unwrap().unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    stays(&mut phone).await;
    let mut stream = ask("/events").await;
    assert_eq!(phone.closed().await, Some(4011), "the stream came later");
    let mut laptop = connect(&pod, "ann").await;
    let mut text = String::new();
    timeout(SOON, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    assert!(text.contains("event: close\ndata: {\"code\":4011,"), "{text}");
    stays(&mut laptop).await;
    pod.stop();
}

#[tokio::test]
async fn a_socketio_session_is_one_connection_and_told_to_stay_away() {
    let pod = start(1, WhenFull::CloseOldest, |settings| settings.socketio.enabled = true);
    let open = async || {
        let (target, bearer) = ("/socket.io/?EIO=4&transport=websocket", format!("Bearer {}", token("ann")));
        let headers = [("Authorization", bearer.as_str())];
        let mut client = Client::open(pod.addresses().plain[0], target, &[], &headers, None).await.unwrap();
        assert!(matches!(client.next_unread().await, Seen::Text(open) if open.starts_with('0')));
        client.send("40").await;
        client
    };
    let mut first = open().await;
    counted(&[&pod], "taken", 1).await;
    let mut second = open().await;
    counted(&[&pod], "taken", 2).await;
    let mut seen = Vec::new();
    loop {
        match first.next_unread().await {
            Seen::Text(text) => seen.push(text),
            Seen::Close(_) => break,
            _ => {}
        }
    }
    assert!(
        seen.last().is_some_and(|last| last == "41"),
        "a client that left its namespace does not come back: {seen:?}"
    );
    assert!(matches!(second.next_unread().await, Seen::Text(text) if text.starts_with("40")));
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_connections_count_over_all_pods() {
    let server = block_in_place(Standalone::start);
    let (a, b) = (
        start(2, WhenFull::RefuseNewest, |settings| over(&server, settings)),
        start(2, WhenFull::RefuseNewest, |settings| over(&server, settings)),
    );
    let both = [&a, &b];
    for pod in both {
        ready(pod).await;
    }
    let (mut here, there) = (connect(&a, "ann").await, connect(&b, "ann").await);
    counted(&both, "taken", 2).await;
    for pod in both {
        assert_eq!(connect(pod, "ann").await.closed().await, Some(4011));
    }
    drop(there);
    let mut again = comes_in(&both, &a, "ann").await;
    // A pod that ends gives its places back.
    block_in_place(|| a.stop());
    for client in [&mut here, &mut again] {
        client.closed().await;
    }
    for _ in 0..2 {
        comes_in(&[&b], &b, "ann").await;
        // Each is dropped at once: its place is free again.
    }
    b.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_gives_way_on_whichever_pod_it_is() {
    let server = block_in_place(Standalone::start);
    let (a, b) = (
        start(1, WhenFull::CloseOldest, |settings| over(&server, settings)),
        start(1, WhenFull::CloseOldest, |settings| over(&server, settings)),
    );
    let both = [&a, &b];
    for pod in both {
        ready(pod).await;
    }
    let mut last = connect(&a, "ann").await;
    counted(&both, "taken", 1).await;
    for (n, pod) in [&b, &a, &a, &b].into_iter().enumerate() {
        let mut next = connect(pod, "ann").await;
        assert_eq!(last.closed().await, Some(4011));
        counted(&both, "taken", n as u64 + 2).await;
        stays(&mut next).await;
        last = next;
    }
    assert_eq!(count(&both, "untold").await, 0);
    // All of them come at once, and one stays.
    let mut crowd = Vec::new();
    for n in 0..20 {
        crowd.push(connect(both[n % 2], "ann").await);
    }
    counted(&both, "taken", 25).await;
    counted(&both, "displaced", 24).await;
    assert_eq!(last.closed().await, Some(4011));
    a.stop();
    b.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_a_pod_counts_its_own_and_refuses_no_one_else() {
    let server = block_in_place(Standalone::start);
    let pod = start(1, WhenFull::RefuseNewest, |settings| {
        over(&server, settings);
        settings.redis.command_timeout = Duration::from_millis(500);
    });
    ready(&pod).await;
    let mut ann = connect(&pod, "ann").await;
    counted(&[&pod], "taken", 1).await;
    block_in_place(|| server.kill());
    let mut bob = connect(&pod, "bob").await;
    stays(&mut bob).await;
    assert_eq!(connect(&pod, "ann").await.closed().await, Some(4011));
    counted(&[&pod], "taken", 2).await;
    counted(&[&pod], "alone", 2).await;
    stays(&mut ann).await;
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_comes_at_once_is_few_commands() {
    let server = block_in_place(Standalone::start);
    let pod = start(2, WhenFull::RefuseNewest, |settings| {
        over(&server, settings);
        settings.redis.command_timeout = Duration::from_secs(20);
    });
    ready(&pod).await;
    // While Redis answers nothing, claims gather.
    block_in_place(|| server.pause());
    let mut crowd = Vec::new();
    for n in 0..100 {
        crowd.push(connect(&pod, &format!("user{n}")).await);
    }
    block_in_place(|| server.resume());
    counted(&[&pod], "taken", 100).await;
    let (_, text) = get(&pod, "/metrics").await;
    let of =
        |line: &&str| line.starts_with("roomcast_redis_commands_total{") && line.contains("command=\"user_places\"");
    let calls: u64 = text.lines().filter(of).filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum();
    assert!((1..=10).contains(&calls), "{calls} calls");
    pod.stop();
}
