//! Servers die, lose data, move slots, or do not answer.

use super::*;

/// Acknowledged events die with their master; the replica gives their offsets out again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_loses_events_is_told() {
    let cluster = tokio::task::block_in_place(|| Cluster::start(3, 1));
    let pod = Pod::ready(clustered(&cluster)).await;
    let master = cluster.masters()[0];
    let room = room_of(&cluster, master);
    pod.subscribed(&room).await;
    let mut eight = pod.publish(&room, "1").await.unwrap();
    for n in 2..=8 {
        eight = pod.publish(&room, &n.to_string()).await.unwrap();
    }
    let replica = cluster.replica_of(master);
    tokio::task::block_in_place(|| {
        master.wait_in_step(replica);
        replica.pause();
        // Nor may anything wait for it in a socket.
        master.call(&["CLIENT", "KILL", "TYPE", "replica"]);
    });
    pod.publish(&room, "9").await.unwrap();
    let ten = pod.publish(&room, "10").await.unwrap();
    tokio::task::block_in_place(|| {
        master.kill();
        replica.resume();
        cluster.wait_promoted(replica);
    });
    assert_eq!(pod.insist(&room, "9'").await.offset, 9, "the replica had the lost events, nothing was tested");
    let newest = pod.insist(&room, "10'").await;
    assert_eq!(newest.offset, ten.offset);
    assert_ne!(newest.epoch, ten.epoch, "two events have one position");
    let exact = pod.since(&room, &eight).await;
    assert_eq!((topics(&exact), exact.complete), (vec!["9'".to_owned(), "10'".to_owned()], true));
    for lost in [9, 10] {
        let told = pod.since(&room, &Position::new(ten.epoch.clone(), lost)).await;
        assert_eq!((told.complete, told.after, topics(&told).len()), (false, 8, 2), "since {lost}");
    }
    assert!(pod.since(&room, &newest).await.complete);
    // Who stayed connected has seen that something is missing, and stands where the log does.
    pod.reaches(&room, &newest).await;
    assert!(pod.ear.of(&room).holes > 0);
}

/// A server that comes back with an older state goes on under another name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_with_older_data_is_told() {
    let server = tokio::task::block_in_place(Standalone::start);
    let pod = Pod::ready(alone(&server)).await;
    let room = room("a");
    pod.subscribed(&room).await;
    let mut five = pod.publish(&room, "1").await.unwrap();
    for n in 2..=5 {
        five = pod.publish(&room, &n.to_string()).await.unwrap();
    }
    tokio::task::block_in_place(|| server.call(&["SAVE"]));
    pod.publish(&room, "6").await.unwrap();
    let seven = pod.publish(&room, "7").await.unwrap();
    tokio::task::block_in_place(|| {
        server.kill();
        server.restart();
        server.wait_ready();
    });
    let six = pod.insist(&room, "6'").await;
    assert_eq!(six.offset, 6);
    assert_ne!(six.epoch, five.epoch);
    let exact = pod.since(&room, &five).await;
    assert_eq!((topics(&exact), exact.complete), (vec!["6'".to_owned()], true));
    let told = pod.since(&room, &seven).await;
    assert_eq!((told.complete, told.after), (false, 5));
    pod.reaches(&room, &six).await;
    assert!(pod.ear.of(&room).holes > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_begins_every_room_anew() {
    let server = tokio::task::block_in_place(Standalone::start);
    let settings = Settings { compare_every: Duration::from_secs(1), ..alone(&server) };
    let pod = Pod::ready(settings).await;
    let (busy, quiet) = (room("busy"), room("quiet"));
    let mut before = Vec::new();
    for room in [&busy, &quiet] {
        pod.subscribed(room).await;
        before.push(pod.publish(room, "before").await.unwrap());
    }
    pod.broker.join(&quiet, &Member { connection: "c1".into(), user: None });
    tokio::task::block_in_place(|| server.call(&["FLUSHALL"]));
    let after = pod.publish(&busy, "after").await.unwrap();
    assert_eq!(after.offset, 1);
    assert_ne!(after.epoch, before[0].epoch);
    assert!(!pod.since(&busy, &before[0]).await.complete);
    pod.reaches(&busy, &after).await;
    // Nobody publishes to the other one: the comparison finds it, and its members are written again.
    until("the quiet room has begun anew", || {
        pod.ear.of(&quiet).position.is_some_and(|p| p.epoch != before[1].epoch && p.offset == 0)
    })
    .await;
    let began = Instant::now();
    while pod.broker.list(&quiet, 10).await.unwrap().total != 1 {
        assert!(began.elapsed() < Duration::from_secs(10), "the members were not written again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The last message of a room is lost: nothing comes after it that would show it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_last_message_is_found() {
    let server = tokio::task::block_in_place(Standalone::start);
    let settings = Settings { compare_every: Duration::from_secs(1), ..alone(&server) };
    let pod = Pod::ready(settings).await;
    let room = room("a");
    pod.subscribed(&room).await;
    let first = pod.publish(&room, "t").await.unwrap();
    pod.reaches(&room, &first).await;
    // Only the record is moved on: that is what a lost message looks like from here.
    let record = format!("fleet:{{{}}}:room:a", Partition::of(&room).tag());
    tokio::task::block_in_place(|| server.call(&["HSET", &record, "offset", "2"]));
    pod.reaches(&room, &Position { offset: 2, ..first }).await;
    assert_eq!(pod.ear.of(&room).holes, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_subscriptions_come_back_and_show_what_was_missed() {
    let server = tokio::task::block_in_place(Standalone::start);
    let pod = Pod::ready(alone(&server)).await;
    let rooms: Vec<Room> = (0..50).map(|n| room(&format!("r:{n}"))).collect();
    for room in &rooms {
        pod.broker.subscribe(room);
    }
    until("all subscriptions stand", || rooms.iter().all(|room| pod.ear.of(room).started == 1)).await;
    let began = Instant::now();
    // A subscription may be renewed before the first publish: then nothing was missed, and it is tried again.
    let missed = || rooms.iter().any(|room| pod.ear.of(room).holes > 0);
    for round in 0.. {
        if round >= 3 && missed() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "nothing was missed in {round} rounds, nothing was tested");
        tokio::task::block_in_place(|| server.kill_subscribers());
        let mut newest = Vec::new();
        for room in &rooms {
            newest.push(pod.publish(room, "t").await.unwrap());
        }
        for (room, newest) in rooms.iter().zip(&newest) {
            pod.reaches(room, newest).await;
        }
    }
}

/// Rooms of other masters do not notice; rooms of the dead one are refused clearly, then come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_death_of_a_master_is_not_the_others() {
    let cluster = tokio::task::block_in_place(|| Cluster::start(3, 1));
    let pod = Arc::new(Pod::ready(clustered(&cluster)).await);
    let masters = cluster.masters();
    let (dying, other) = (room_of(&cluster, masters[0]), room_of(&cluster, masters[1]));
    pod.publish(&dying, "t").await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = {
        let (pod, stop) = (Arc::clone(&pod), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                pod.publish(&other, "t").await.unwrap();
                longest = longest.max(began.elapsed());
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            longest
        })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    tokio::task::block_in_place(|| masters[0].kill());
    let (began, mut refused, mut longest) = (Instant::now(), 0, Duration::ZERO);
    loop {
        let asked = Instant::now();
        match pod.publish(&dying, "t").await {
            Ok(_) => break,
            Err(BrokerError::Unavailable(_) | BrokerError::Unknown) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        longest = longest.max(asked.elapsed());
        assert!(began.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let away = began.elapsed();
    pod.well().await;
    stop.store(true, Ordering::Relaxed);
    let gap = publisher.await.unwrap();
    println!(
        "away {away:?}, {refused} refused, the slowest after {longest:?}; longest publish to another master {gap:?}"
    );
    assert!(refused > 0 && longest < Duration::from_secs(6));
    assert!(gap < away / 2 + Duration::from_millis(500), "a publish to a healthy master took {gap:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_starts_before_its_redis() {
    let server = tokio::task::block_in_place(Standalone::start);
    tokio::task::block_in_place(|| server.kill());
    let detected = Settings { detect_cluster: true, ..alone(&server) };
    let pod = Pod::new(detected, Policy::default());
    let room = room("a");
    pod.broker.subscribe(&room);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(pod.broker.condition(), Condition::Starting);
    let began = Instant::now();
    let refused = pod.publish(&room, "t").await;
    assert!(matches!(refused, Err(BrokerError::Unavailable(_))), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(3));
    tokio::task::block_in_place(|| {
        server.restart();
        server.wait_ready();
    });
    pod.well().await;
    let position = pod.publish(&room, "t").await.unwrap();
    pod.reaches(&room, &position).await;
    tokio::task::block_in_place(|| server.kill());
    until("the loss is noticed", || pod.broker.condition() == Condition::Degraded).await;
}

/// A publish that is not answered may or may not have happened, and is never told to have failed; with its key it
/// happens once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_without_an_answer_is_unknown_and_happens_once() {
    let server = tokio::task::block_in_place(Standalone::start);
    let timeouts = Timeouts {
        connect: Duration::from_millis(500),
        attempt: Duration::from_millis(400),
        command: Duration::from_secs(1),
    };
    let pod = Pod::ready(Settings { timeouts, ..alone(&server) }).await;
    let room = room("a");
    let first = pod.publish(&room, "before").await.unwrap();
    tokio::task::block_in_place(|| server.pause());
    let began = Instant::now();
    let keyed = Publication { idempotency_key: Some("k".into()), ..publication("in doubt") };
    assert_eq!(pod.broker.publish(&room, keyed.clone()).await, Err(BrokerError::Unknown));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    tokio::task::block_in_place(|| server.resume());
    let again = loop {
        match pod.broker.publish(&room, keyed.clone()).await {
            Ok(position) => break position,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    assert_eq!(again.offset, 2);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(topics(&pod.since(&room, &first).await), ["in doubt"]);
}

/// A durable publish is answered when a replica has it, and never before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_durable_publish_waits_for_a_replica() {
    let cluster = tokio::task::block_in_place(|| Cluster::start(3, 1));
    let timeouts =
        Timeouts { attempt: Duration::from_millis(500), command: Duration::from_millis(1_200), ..Timeouts::default() };
    let policy = Policy { durability: Durability::Replica, ..Policy::default() };
    let pod = Pod::new(Settings { timeouts, ..clustered(&cluster) }, policy);
    pod.well().await;
    let master = cluster.masters()[0];
    let room = room_of(&cluster, master);
    let first = pod.insist(&room, "1").await;
    let began = Instant::now();
    for n in 2..=100 {
        assert_eq!(pod.publish(&room, "t").await.unwrap().offset, n);
    }
    println!("a durable publish takes {:?}", began.elapsed() / 99);
    let refused = pod
        .broker
        .publish(&room, Publication { payload: Payload::Binary(vec![0; 2 << 20].into()), ..publication("t") });
    assert!(matches!(refused.await, Err(BrokerError::TooLarge { .. })));
    let replica = cluster.replica_of(master);
    tokio::task::block_in_place(|| replica.pause());
    let keyed = Publication { idempotency_key: Some("k".into()), ..publication("late") };
    assert_eq!(pod.broker.publish(&room, keyed.clone()).await, Err(BrokerError::Unknown));
    // It is in the log, and yet not told to be: its repetition waits as well.
    assert_eq!(pod.since(&room, &first).await.end, 101);
    assert_eq!(pod.broker.publish(&room, keyed.clone()).await, Err(BrokerError::Unknown));
    tokio::task::block_in_place(|| replica.resume());
    let began = Instant::now();
    let position = loop {
        match pod.broker.publish(&room, keyed.clone()).await {
            Ok(position) => break position,
            Err(_) => assert!(began.elapsed() < Duration::from_secs(15)),
        }
    };
    assert_eq!((position.offset, pod.since(&room, &first).await.end), (101, 101));
}

/// Sentinels say who the master is: commands and subscriptions follow them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinels_promotion_is_followed() {
    let watched = tokio::task::block_in_place(|| testkit::redis::Watched::start("s3cret", "other"));
    let topology = Topology::Sentinel {
        master: testkit::redis::NAME.to_owned(),
        user: None,
        password: Some(Password::new("other")),
    };
    let mut settings = Settings::new(endpoints(vec![watched.sentinel.address()], topology));
    settings.endpoints.password = Some(Password::new("s3cret"));
    let pod = Pod::ready(settings).await;
    let room = room("a");
    pod.subscribed(&room).await;
    let before = pod.publish(&room, "before").await.unwrap();
    pod.reaches(&room, &before).await;
    tokio::task::block_in_place(|| {
        watched.master.wait_in_step(&watched.replica);
        watched.master.kill();
        watched.wait_promoted();
    });
    let after = pod.insist(&room, "after").await;
    assert_eq!(after.offset, 2);
    assert!(pod.since(&room, &before).await.complete, "the replica had all of it");
    pod.reaches(&room, &after).await;
}
