//! Faults, and whether the promises of delivery held: publishers, pods and clients run while things break; afterwards a
//! checker looks at what was published and what each client saw.
//!
//! `CHAOS_SECONDS` makes each run longer than its short form.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod cut;
mod faults;
mod fleet;
mod plain;
mod plain_checker;
mod plain_load;
mod publisher;
mod redis_states;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use fleet::{Addresses, Pod};
use roomcast::testing::transport::fetch::Client;
use rustix::process::Signal;
use testkit::{
    checker::{Acknowledged, Run, Verdict, check},
    watcher::{self, Diary},
};

/// How much goes on.
#[derive(Debug, Clone, Copy)]
struct Load {
    rooms: usize,
    clients: usize,
    rooms_each: usize,
    publishers: usize,
    pause: Duration,
    recovers: bool,
    /// How many of the clients stop reading now and then.
    stalling: usize,
    /// Bytes of each event beside what it needs.
    padding: usize,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            rooms: 200,
            clients: 60,
            rooms_each: 10,
            publishers: 8,
            pause: Duration::from_millis(4),
            recovers: true,
            stalling: 0,
            padding: 0,
        }
    }
}

/// How long a run is: what the test asks for, or longer.
fn length(short: u64) -> Duration {
    let asked = std::env::var("CHAOS_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(asked.unwrap_or(short).max(short))
}

/// Whether a run is longer than its short form.
fn is_long() -> bool {
    length(1) > Duration::from_secs(1)
}

/// A configuration whose logs reach back to the start of a run.
fn configuration(folder: &std::path::Path) -> Vec<String> {
    let file = folder.join("roomcast.toml");
    let text = "[default_policy]\nhistory_size = 1000000\nhistory_bytes = '256MiB'\nhistory_age = '1h'\n\
                [memory_broker]\nmax_bytes = '1GiB'\n";
    std::fs::write(&file, text).unwrap();
    vec!["--config".into(), file.display().to_string()]
}

/// Runs a load over pods while `faults` happen, and judges it.
async fn run(load: Load, pods: Vec<Addresses>, faults: impl Future<Output = ()>) -> Verdict {
    let rooms: Vec<String> = (0..load.rooms).map(|n| format!("room:{n}")).collect();
    let watching = Arc::new(watcher::Plan {
        pods: pods.iter().map(|pod| pod.clients).collect(),
        over: AtomicBool::new(false),
        recovers: load.recovers,
        stalling: load.stalling,
        stalls: AtomicUsize::new(0),
        reconnects: AtomicUsize::new(0),
        longest_away_ms: AtomicUsize::new(0),
    });
    let publishing = Arc::new(publisher::Plan {
        pods: pods.clone(),
        rooms: rooms.clone(),
        padding: load.padding,
        over: AtomicBool::new(false),
        refused: AtomicUsize::new(0),
    });
    let mut diaries = Vec::new();
    let mut watchers = Vec::new();
    for me in 0..load.clients {
        let mine = (0..load.rooms_each).map(|n| rooms[(me * load.rooms_each + n) % rooms.len()].clone()).collect();
        let diary = Arc::new(Mutex::new(Diary::default()));
        diaries.push(Arc::clone(&diary));
        watchers.push(tokio::spawn(watcher::watch(Arc::clone(&watching), me, mine, diary)));
    }
    let all_in = Instant::now() + Duration::from_secs(20);
    while diaries.iter().any(|d| d.lock().unwrap().rooms.len() < load.rooms_each) {
        assert!(Instant::now() < all_in, "not every client came into its rooms");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let publishers: Vec<_> = (0..load.publishers)
        .map(|me| tokio::spawn(publisher::publish(Arc::clone(&publishing), me, load.pause, Duration::from_secs(40))))
        .collect();
    faults.await;
    publishing.over.store(true, Relaxed);
    let (mut acknowledged, mut given_up) = (Vec::new(), 0);
    for publisher in publishers {
        let (done, lost) = publisher.await.unwrap();
        acknowledged.extend(done);
        given_up += lost;
    }
    let client = Client::new(None).unwrap();
    let mut logs = HashMap::new();
    for (n, room) in rooms.iter().enumerate() {
        let deadline = Instant::now() + Duration::from_secs(30);
        let log = loop {
            if let Some(log) = publisher::log(&client, pods[n % pods.len()], room).await {
                break log;
            }
            assert!(Instant::now() < deadline, "the log of {room} cannot be read");
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let log = if log.first().is_some_and(|(offset, _)| *offset > 1) {
            // The oldest events are gone: what was acknowledged says the same, if nothing else was published.
            assert_eq!(given_up, 0, "of {room} neither the log nor what was published is known");
            whole_log(room, &acknowledged)
        } else {
            log
        };
        logs.insert(room.clone(), log);
    }
    // Everybody has time to hear the end: a lost last event has no successor that would show it.
    let deadline = Instant::now() + Duration::from_secs(30);
    let behind = || {
        let stands = |diary: &Arc<Mutex<Diary>>| {
            let diary = diary.lock().unwrap();
            diary.rooms.keys().all(|room| diary.offset(room) >= logs[room].last().map(|(offset, _)| *offset))
        };
        diaries.iter().filter(|diary| !stands(diary)).count()
    };
    while behind() > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let settled = deadline - Instant::now().min(deadline);
    watching.over.store(true, Relaxed);
    for watcher in watchers {
        watcher.await.unwrap();
    }
    let clients = diaries.iter().map(|diary| std::mem::take(&mut diary.lock().unwrap().rooms)).collect();
    let count = acknowledged.len();
    let verdict = check(&Run { acknowledged, logs, clients });
    println!(
        "acknowledged {count}, given up {given_up}, refused and tried again {}; deliveries {}, raw duplicates {}, told {}, \
         rolled back by the store {}; reconnects {}, stalls {}, longest without a connection {} ms; everybody at the end after {:.1} s; \
         lost {}, duplicated {}, reordered {}, silent gaps {}, deaf {}, doubled {}, misplaced {}",
        publishing.refused.load(Relaxed),
        verdict.deliveries,
        verdict.raw_duplicates,
        verdict.told,
        verdict.rolled_back,
        watching.reconnects.load(Relaxed),
        watching.stalls.load(Relaxed),
        watching.longest_away_ms.load(Relaxed),
        30.0 - settled.as_secs_f64(),
        verdict.lost.len(),
        verdict.duplicated.len(),
        verdict.reordered.len(),
        verdict.silent_gaps.len(),
        verdict.deaf.len(),
        verdict.doubled.len(),
        verdict.misplaced.len(),
    );
    assert!(count > 100, "hardly anything was published: {count}");
    assert!(verdict.deliveries > 100, "hardly anything was delivered");
    verdict
}

/// The log of a room in which everything was acknowledged.
fn whole_log(room: &str, acknowledged: &[Acknowledged]) -> Vec<(u64, String)> {
    let own = acknowledged.iter().filter(|event| event.room == room);
    let mut log: Vec<_> = own.map(|event| (event.offset, event.id.clone())).collect();
    log.sort();
    let whole = log.iter().zip(1..).all(|((offset, _), expected)| *offset == expected);
    assert!(whole, "an event of {room} was not acknowledged, or its log began anew");
    log
}

fn assert_clean(verdict: &Verdict) {
    let broken = [
        ("lost", &verdict.lost),
        ("duplicated", &verdict.duplicated),
        ("reordered", &verdict.reordered),
        ("silent gaps", &verdict.silent_gaps),
        ("deaf", &verdict.deaf),
        ("doubled", &verdict.doubled),
        ("misplaced", &verdict.misplaced),
    ];
    let first = |(what, all): (&str, &Vec<String>)| {
        let some: Vec<_> = all.iter().take(5).map(|line| format!("  {line}")).collect();
        format!("{what}: {}\n{}", all.len(), some.join("\n"))
    };
    assert!(verdict.is_clean(), "{}", broken.map(first).join("\n"));
}

/// Everybody's connection to a pod is closed with a code after which clients come back.
async fn cut(pod: Addresses) {
    let client = Client::new(None).unwrap();
    let Some(list) = publisher::call(&client, pod, "GET", "/api/connections?limit=1000", String::new()).await else {
        return;
    };
    for connection in list["connections"].as_array().unwrap() {
        let path = format!("/api/connections/{}/disconnect", connection["id"].as_str().unwrap());
        publisher::call(&client, pod, "POST", &path, r#"{"code":1012}"#.into()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_pod_cut_and_stopped_keeps_its_promises() {
    let folder = tempfile::tempdir().unwrap();
    let pod = Pod::start(folder.path(), &configuration(folder.path()));
    let verdict = run(Load::default(), vec![pod.addresses], async {
        let end = Instant::now() + length(8);
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(1_200)).await;
            cut(pod.addresses).await;
            pod.signal(Signal::STOP);
            tokio::time::sleep(Duration::from_millis(600)).await;
            pod.signal(Signal::CONT);
        }
    })
    .await;
    assert_clean(&verdict);
    assert_eq!(verdict.rolled_back, 0);
}

/// A pod's end takes its embedded broker with it: every client is told, none is left with a hole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_pod_without_a_store_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let mut pod = Pod::start(folder.path(), &configuration(folder.path()));
    let addresses = vec![pod.addresses];
    let verdict = run(Load::default(), addresses, async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        tokio::task::block_in_place(|| pod.restart());
        tokio::time::sleep(Duration::from_secs(2)).await;
    })
    .await;
    assert_clean(&verdict);
    assert!(verdict.rolled_back > 0 && verdict.told > 0, "{verdict:?}");
}

/// The checker's own test with real pods: clients that claim to have recovered, and did not, are found out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_recovery_losses_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let pod = Pod::start(folder.path(), &configuration(folder.path()));
    let verdict = run(Load { recovers: false, ..Load::default() }, vec![pod.addresses], async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(700)).await;
            cut(pod.addresses).await;
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
    })
    .await;
    assert!(!verdict.lost.is_empty(), "the checker saw no loss where there must be some");
}
