//! Redis refuses: the publisher is told why, the log stays as it was, and everything goes on by itself.

use super::*;

/// A room of twenty events on a server, and a pod.
async fn twenty(server: &Node) -> (Pod, Room) {
    let timeouts = Timeouts { attempt: Duration::from_secs(3), command: Duration::from_secs(5), ..Timeouts::default() };
    let pod = Pod::ready(Settings { timeouts, ..alone(server) }).await;
    let room = room("a");
    for n in 1..=20 {
        assert_eq!(pod.publish(&room, "t").await.unwrap().offset, n);
    }
    (pod, room)
}

fn call(server: &Node, args: &[&str]) {
    tokio::task::block_in_place(|| drop(server.call(args)));
}

/// The words of a refusal.
async fn refused(pod: &Pod, room: &Room) -> String {
    match pod.publish(room, "refused").await {
        Err(BrokerError::Unavailable(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// While `refuse` counts, publishes are refused with `word` and the log stays; after `allow` all is well without help.
async fn refusal_is_told_and_passes(refuse: &[&str], word: &str, allow: &[&str]) {
    refusals_are_told_and_pass(|server| call(server, refuse), word, |server| call(server, allow)).await;
}

/// The same, where one command is not enough.
async fn refusals_are_told_and_pass(refuse: impl Fn(&Node), word: &str, allow: impl Fn(&Node)) {
    let server = tokio::task::block_in_place(Standalone::start);
    let (pod, room) = twenty(&server).await;
    refuse(&server);
    for _ in 0..3 {
        let why = refused(&pod, &room).await;
        assert!(why.contains(word) && !why.contains("script:"), "{why}");
    }
    until("it shows", || pod.broker.condition() == Condition::Degraded).await;
    assert_eq!(log_of(&pod, &room).await.events.len(), 20, "{word} cost the log");
    // A subscription is answered, also to a room that cannot be recorded.
    let new = super::room("new");
    pod.broker.subscribe(&room);
    pod.broker.subscribe(&new);
    until("both rooms have started", || [&room, &new].iter().all(|room| pod.ear.of(room).started > 0)).await;
    assert_eq!((pod.ear.of(&room).position.unwrap().offset, pod.ear.of(&new).position.unwrap().offset), (20, 0));
    allow(&server);
    pod.well().await;
    assert_eq!(pod.insist(&room, "after").await.offset, 21);
    assert_eq!(log_of(&pod, &room).await.events.len(), 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_keeps_its_logs() {
    let full = ["CONFIG", "SET", "maxmemory", "1kb"];
    refusal_is_told_and_passes(&full, "OOM", &["CONFIG", "SET", "maxmemory", "0"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_replicas_keeps_its_logs() {
    let set = |count| ["CONFIG", "SET", "min-replicas-to-write", count];
    refusal_is_told_and_passes(&set("1"), "NOREPLICAS", &set("0")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_made_a_replica_and_a_master_again_keeps_its_logs() {
    refusal_is_told_and_passes(&["REPLICAOF", "127.0.0.1", "9"], "READONLY", &["REPLICAOF", "NO", "ONE"]).await;
}

/// The disk is full, or something stands where the dump goes: Redis takes no more writes until it has saved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_save_keeps_its_logs() {
    let dump = |server: &Node| {
        let dir = tokio::task::block_in_place(|| server.call(&["CONFIG", "GET", "dir"]));
        std::path::Path::new(dir.list()[1].text()).join("dump.rdb")
    };
    let save = |server: &Node, status: &str| {
        call(server, &["BGSAVE"]);
        tokio::task::block_in_place(|| {
            testkit::redis::wait_until("the end of a save", || {
                server.info("persistence", "rdb_bgsave_in_progress") == "0"
                    && server.info("persistence", "rdb_last_bgsave_status") == status
            });
        });
    };
    let refuse = |server: &Node| {
        std::fs::create_dir(dump(server)).unwrap();
        call(server, &["CONFIG", "SET", "save", "3600 1"]);
        save(server, "err");
    };
    let allow = |server: &Node| {
        std::fs::remove_dir(dump(server)).unwrap();
        save(server, "ok");
    };
    refusals_are_told_and_pass(refuse, "MISCONF", allow).await;
}

/// A server that was started again answers before it has loaded its data: publishers are told, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_loads_its_data_is_waited_for() {
    if testkit::redis::is_before_7() {
        println!("SKIPPED: a Redis older than version 7 answers nothing while it loads so little");
        return;
    }
    // Ten milliseconds a key, between which it answers.
    let lines = ["key-load-delay 10000", "loading-process-events-interval-bytes 1024", "rdbcompression no"];
    let server = tokio::task::block_in_place(|| {
        Standalone::start_with(lines.into_iter().fold(Options::default(), Options::line))
    });
    let (pod, room) = twenty(&server).await;
    call(&server, &["DEBUG", "POPULATE", "3000", "other", "2048"]);
    call(&server, &["SAVE"]);
    tokio::task::block_in_place(|| server.restart());
    let loads = || {
        let answer = tokio::task::block_in_place(|| server.try_call(&["GET", "a"]));
        matches!(answer, Ok(testkit::redis::Reply::Error(why)) if why.starts_with("LOADING"))
    };
    until("the server loads", loads).await;
    let mut answers = Vec::new();
    while !answers.iter().any(|answer: &String| answer.contains("LOADING")) {
        assert!(loads(), "no publisher was told why: {answers:?}");
        answers.push(format!("{:?}", pod.publish(&room, "refused").await));
    }
    until("it shows", || pod.broker.condition() == Condition::Degraded).await;
    call(&server, &["CONFIG", "SET", "key-load-delay", "0"]);
    pod.well().await;
    let log = log_of(&pod, &room).await;
    assert!(log.events.len() >= 20, "{} events", log.events.len());
    let after = pod.insist(&room, "after").await;
    assert_eq!(log_of(&pod, &room).await.end, after.offset);
}

/// Whatever command a user may not run: an event is in the log whole, or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_right_costs_no_event() {
    let server = tokio::task::block_in_place(Standalone::start);
    let (_, room) = twenty(&server).await;
    let mut offset = 20;
    for command in ["xadd", "set", "get", "hset", "hmget", "evalsha", "time", "info"] {
        // To a pod that knows of the one before this would be a right that is missing now and then.
        let pod = Pod::ready(alone(&server)).await;
        call(&server, &["ACL", "SETUSER", "default", &format!("-{command}")]);
        let keyed = Publication { idempotency_key: Some(command.into()), ..publication(command) };
        let refusal = pod.broker.publish(&room, keyed.clone()).await;
        assert!(matches!(&refusal, Err(BrokerError::Unavailable(_))), "{command}: {refusal:?}");
        until("it shows", || pod.broker.condition() == Condition::Degraded).await;
        call(&server, &["ACL", "SETUSER", "default", &format!("+{command}")]);
        offset += 1;
        // The same key: what was refused was not done.
        assert_eq!(pod.broker.publish(&room, keyed).await.unwrap().offset, offset, "{command}");
        let log = log_of(&pod, &room).await;
        assert_eq!((log.end, log.events.len() as u64), (offset, offset), "{command}");
        pod.well().await;
    }
}

/// A server whose configuration takes a command away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_renamed_shows() {
    let server =
        tokio::task::block_in_place(|| Standalone::start_with(Options::default().line("rename-command XADD \"\"")));
    let pod = Pod::ready(alone(&server)).await;
    let refusal = pod.broker.publish(&Room::parse("r").unwrap(), publication("in vain")).await;
    assert!(matches!(&refusal, Err(BrokerError::Unavailable(_))), "{refusal:?}");
    until("it shows", || pod.broker.condition() == Condition::Degraded).await;
}

/// An event that is in the log was published, also if that cannot be told to pods at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_after_the_log_has_the_event_is_no_refusal() {
    if testkit::redis::is_before_7() {
        println!("SKIPPED: a Redis older than version 7 has no SPUBLISH to be forbidden");
        return;
    }
    let server = tokio::task::block_in_place(Standalone::start);
    let settings = Settings { compare_every: Duration::from_secs(1), ..alone(&server) };
    let pod = Pod::ready(settings).await;
    let room = room("a");
    pod.subscribed(&room).await;
    call(&server, &["ACL", "SETUSER", "default", "-spublish"]);
    let silent = pod.publish(&room, "silent").await.unwrap();
    until("it shows", || pod.broker.condition() == Condition::Degraded).await;
    pod.reaches(&room, &silent).await;
    call(&server, &["ACL", "SETUSER", "default", "+spublish"]);
    let told = pod.publish(&room, "told").await.unwrap();
    assert_eq!(told.offset, 2);
    pod.reaches(&room, &told).await;
    pod.well().await;
}

/// A right that is needed only now and then: what succeeds in between does not hide that it is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_trimmed_is_told_for_as_long_as_that_lasts() {
    let server = tokio::task::block_in_place(Standalone::start);
    let policy = Policy { history_size: 4, ..Policy::default() };
    let pod = Pod::new(alone(&server), policy);
    pod.well().await;
    let room = room("a");
    call(&server, &["ACL", "SETUSER", "default", "-xtrim"]);
    // The log is cut at a few events more than it is to have.
    for _ in 0..40 {
        pod.publish(&room, "t").await.unwrap();
    }
    until("it shows", || pod.broker.condition() == Condition::Degraded).await;
    for _ in 0..30 {
        pod.publish(&room, "t").await.unwrap();
        assert_eq!(pod.broker.condition(), Condition::Degraded);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    call(&server, &["ACL", "SETUSER", "default", "+xtrim"]);
    pod.publish(&room, "t").await.unwrap();
    pod.well().await;
}

/// Without the right to wait for a replica a durable publish is refused before it is in the log, in Redis' own words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_durable_publish_without_the_right_to_wait_is_refused_at_once() {
    if testkit::redis::is_before_7() {
        println!("SKIPPED: a Redis older than version 7 knows no rights to parts of a command");
        return;
    }
    for right in ["wait", "client|id"] {
        let cluster = tokio::task::block_in_place(|| Cluster::start(3, 1));
        let policy = Policy { durability: Durability::Replica, ..Policy::default() };
        let pod = Pod::new(clustered(&cluster), policy);
        pod.well().await;
        let room = room("a");
        let forbid = |sign: &str| {
            cluster
                .nodes()
                .iter()
                .for_each(|node| call(node, &["ACL", "SETUSER", "default", &format!("{sign}{right}")]));
        };
        forbid("-");
        let began = Instant::now();
        let refusal = pod.publish(&room, "t").await;
        let told = |why: &str| why.contains("NOPERM") || why.contains("no permissions");
        assert!(matches!(&refusal, Err(BrokerError::Unavailable(why)) if told(why)), "{right}: {refusal:?}");
        assert!(began.elapsed() < Duration::from_secs(4), "{right}: {:?}", began.elapsed());
        until("it shows", || pod.broker.condition() == Condition::Degraded).await;
        assert_eq!(log_of(&pod, &room).await.events.len(), 0, "{right}");
        forbid("+");
        assert_eq!(pod.insist(&room, "t").await.offset, 1, "{right}");
        // Taken away while it goes on.
        forbid("-");
        assert!(pod.publish(&room, "t").await.is_err());
        until("it shows", || pod.broker.condition() == Condition::Degraded).await;
        assert!(
            matches!(pod.publish(&room, "t").await, Err(BrokerError::Unavailable(_))),
            "{right}: before it is written"
        );
    }
}

/// A value that may not be removed keeps its place in the order by which it is removed later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retained_values_that_cannot_be_removed_are_removed_later() {
    let server = tokio::task::block_in_place(Standalone::start);
    let policy = Policy { retain: Retain::Topic, retain_max: 4, ..Policy::default() };
    let pod = Pod::new(alone(&server), policy);
    pod.well().await;
    let room = room("a");
    let values = format!("fleet:{{{}}}:values:a", Partition::of(&room).tag());
    let kept = || tokio::task::block_in_place(|| server.call(&["HLEN", &values])).number();
    call(&server, &["ACL", "SETUSER", "default", "-hdel"]);
    for n in 0..12 {
        pod.publish(&room, &format!("topic{n}")).await.unwrap();
    }
    assert_eq!(kept(), 12);
    call(&server, &["ACL", "SETUSER", "default", "+hdel"]);
    pod.publish(&room, "last").await.unwrap();
    assert_eq!(kept(), 4);
}

/// An event past the log that could not be told is told by the next attempt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_announcement_is_an_error() {
    if testkit::redis::is_before_7() {
        println!("SKIPPED: a Redis older than version 7 has no SPUBLISH to be forbidden");
        return;
    }
    let server = tokio::task::block_in_place(Standalone::start);
    let pod = Pod::ready(alone(&server)).await;
    call(&server, &["ACL", "SETUSER", "default", "-spublish"]);
    let refusal = pod.broker.publish_unlogged(&room("a"), publication("t"), "ann".into()).await;
    assert!(matches!(&refusal, Err(BrokerError::Unavailable(_))), "{refusal:?}");
    call(&server, &["ACL", "SETUSER", "default", "+spublish"]);
    pod.broker.publish_unlogged(&room("a"), publication("t"), "ann".into()).await.unwrap();
}

/// A log that is not the room's begins anew: another program wrote there, or a part of the data was restored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_log_is_replaced() {
    let server = tokio::task::block_in_place(Standalone::start);
    let (pod, room) = twenty(&server).await;
    let log = format!("fleet:{{{}}}:log:a", Partition::of(&room).tag());
    for (n, foreign) in [&["XADD", &log, "999-1", "k", "v"][..], &["SET", &log, "no log"]].into_iter().enumerate() {
        call(&server, foreign);
        let offset = 21 + n as u64;
        assert_eq!(pod.publish(&room, "t").await.unwrap().offset, offset);
        let log = log_of(&pod, &room).await;
        assert_eq!((log.end, topics(&log)), (offset, vec!["t".to_owned()]));
    }
}

/// A server that is busy with a script of another program answers when that is over, and publishers are told meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_server_is_told_and_waited_for() {
    let server = tokio::task::block_in_place(|| Standalone::start_with(Options::default().line("lua-time-limit 10")));
    let timeouts = Timeouts { attempt: Duration::from_secs(3), command: Duration::from_secs(5), ..Timeouts::default() };
    let pod = Pod::ready(Settings { timeouts, ..alone(&server) }).await;
    let room = room("a");
    pod.publish(&room, "before").await.unwrap();
    let mut link = tokio::task::block_in_place(|| server.link().unwrap());
    let busy = std::thread::spawn(move || drop(link.call(&["EVAL", "while true do end", "0"])));
    until("the server is busy", || {
        tokio::task::block_in_place(|| {
            matches!(server.try_call(&["GET", "a"]), Ok(testkit::redis::Reply::Error(error)) if error.starts_with("BUSY"))
        })
    })
    .await;
    let refusal = pod.publish(&room, "meanwhile").await;
    assert!(matches!(&refusal, Err(BrokerError::Unavailable(why)) if why.contains("BUSY")), "{refusal:?}");
    until("it shows", || pod.broker.condition() == Condition::Degraded).await;
    call(&server, &["SCRIPT", "KILL"]);
    busy.join().unwrap();
    pod.well().await;
    assert_eq!(pod.insist(&room, "after").await.offset, 2);
}
