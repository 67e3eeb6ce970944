//! The way to Redis: a name that leads to another server, bytes that vanish, and reads that must hold up no publish.

use super::*;

fn by(way: &Way) -> Settings {
    Settings::new(endpoints(vec![way.address()], Topology::Standalone))
}

/// A server, the way to it, and a pod at the other end, subscribed to a room that has one event.
async fn behind_a_way() -> (Standalone, Way, Pod, Room) {
    let server = tokio::task::block_in_place(Standalone::start);
    let way = Way::to(server.port());
    let pod = Pod::ready(by(&way)).await;
    let room = room("a");
    pod.subscribed(&room).await;
    pod.publish(&room, "before").await.unwrap();
    (server, way, pod, room)
}

/// After a planned failover behind one name the old server keeps its connections, and is a replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_to_another_server_is_followed() {
    let (old, new) = tokio::task::block_in_place(|| {
        let old = Standalone::start();
        let new = Standalone::start_with(Options::default().line(format!("replicaof 127.0.0.1 {}", old.port())));
        testkit::redis::wait_until("a replica in step", || new.info("replication", "master_link_status") == "up");
        (old, new)
    });
    let way = Way::to(old.port());
    let pod = Pod::ready(by(&way)).await;
    let room = room("a");
    pod.subscribed(&room).await;
    let before = pod.publish(&room, "before").await.unwrap();
    tokio::task::block_in_place(|| {
        old.wait_in_step(&new);
        new.call(&["REPLICAOF", "NO", "ONE"]);
        way.lead_to(new.port());
        old.call(&["REPLICAOF", "127.0.0.1", &new.port().to_string()]);
    });
    let after = pod.insist(&room, "after").await;
    assert_eq!(after.offset, 2);
    assert!(pod.since(&room, &before).await.complete, "the replica had all of it");
    pod.reaches(&room, &after).await;
    pod.well().await;
    // Subscriptions are the new server's too.
    let subscribes = |server: &Node| server.call(&["CLIENT", "LIST", "TYPE", "pubsub"]).text().lines().count();
    let (old, new) = (&old, &new);
    until("the new server has the subscriber", || {
        tokio::task::block_in_place(|| (subscribes(old), subscribes(new)) == (0, 1))
    })
    .await;
}

/// A firewall forgets the connections that stand; new ones work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_whose_packets_vanish_are_replaced() {
    let (_server, way, pod, room) = behind_a_way().await;
    way.swallow();
    let after = pod.insist(&room, "after").await;
    assert_eq!(after.offset, 2, "published once");
    pod.reaches(&room, &after).await;
    pod.well().await;
}

/// The network swallows everything for a while: publishers are answered, the pod says that it is degraded, and goes on when
/// packets pass again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_behind_a_network_that_swallows_says_so_and_comes_back() {
    let (_server, way, pod, room) = behind_a_way().await;
    way.close(true);
    way.swallow();
    assert_eq!(pod.publish(&room, "in doubt").await, Err(BrokerError::Unknown));
    until("it shows", || pod.broker.condition() == Condition::Degraded).await;
    let began = Instant::now();
    while !matches!(pod.publish(&room, "refused").await, Err(BrokerError::Unavailable(_))) {
        assert!(began.elapsed() < Duration::from_secs(20), "no publish is refused clearly");
    }
    way.swallow();
    way.close(false);
    pod.well().await;
    let after = pod.insist(&room, "after").await;
    pod.reaches(&room, &after).await;
}

/// Reads of logs have places of their own: those that find none are told so at once, and no publish waits behind the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_hold_up_no_publish_and_do_not_pile_up() {
    let server = tokio::task::block_in_place(Standalone::start);
    let timeouts =
        Timeouts { attempt: Duration::from_millis(800), command: Duration::from_secs(2), ..Timeouts::default() };
    let pod = Arc::new(Pod::ready(Settings { timeouts, ..alone(&server) }).await);
    let room = room("a");
    pod.publish(&room, "t").await.unwrap();
    // The connection for reads is made by the first of them.
    log_of(&pod, &room).await;
    tokio::task::block_in_place(|| server.pause());
    let mut reads = tokio::task::JoinSet::new();
    for _ in 0..6_000 {
        let (pod, room) = (Arc::clone(&pod), room.clone());
        reads.spawn(async move {
            let newest = HistoryQuery { since: None, until: None, max_events: 1, max_bytes: 1 << 20 };
            pod.broker.history(&room, newest).await
        });
    }
    let mut busy = 0;
    while let Some(read) = reads.join_next().await {
        match read.unwrap() {
            Err(BrokerError::Unavailable(why)) => busy += usize::from(why.starts_with("busy")),
            other => panic!("{other:?}"),
        }
    }
    assert!(busy > 0 && busy < 6_000, "{busy} reads found no place");
    tokio::task::block_in_place(|| server.resume());
    assert_eq!(pod.insist(&room, "after").await.offset, 2);
    pod.well().await;
    assert_eq!(log_of(&pod, &room).await.events.len(), 2);
}
