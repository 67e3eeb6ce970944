//! Redis as it is run: its memory fills, its name leads elsewhere, the network to it swallows packets, its password changes. Pods
//! answer, say so, and go on by themselves.

use std::time::{Duration, Instant};

use testkit::redis::{Link, Options, Standalone, Way, wait_until};
use tokio::time::sleep;

use super::{
    Load, assert_clean, configuration,
    faults::{Fleet, LOAD, blocking},
    fleet::Pod,
    length, run,
};

const PASSWORD: &str = "one";

/// One command as a user of another password than the one that the harness knows.
fn call_with(port: u16, password: &str, command: &[&str]) {
    Link::open(port, Some(password)).unwrap().call(command).unwrap().ok();
}

/// What pods say of one kind of trouble: a line when it begins, and one when it is over.
struct Spell(Vec<usize>);

const WELL: &str = "Redis is well again";

impl Spell {
    fn begin(pods: &[Pod]) -> Self {
        Self(pods.iter().map(|pod| pod.times_said(WELL)).collect())
    }

    async fn told(&self, pods: &[Pod], reason: &str) {
        let line = format!("\"reason\":\"{reason}\"");
        until(pods, &format!("the log says {reason}"), || pods.iter().all(|pod| pod.times_said(&line) > 0)).await;
    }

    async fn over(&self, pods: &[Pod]) {
        let is_over = |(pod, before): (&Pod, &usize)| pod.times_said(WELL) > *before;
        until(pods, "the log says that it is over", || pods.iter().zip(&self.0).all(is_over)).await;
    }
}

async fn until(pods: &[Pod], what: &str, check: impl Fn() -> bool) {
    let began = Instant::now();
    while !check() {
        assert!(began.elapsed() < Duration::from_secs(30), "waited in vain until {what}:\n{}", pods[0].said());
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_fills_moves_vanishes_and_changes_its_password_is_told_of() {
    let (old, new) = blocking(|| {
        let old = Standalone::start_with(Options::default().password(PASSWORD));
        let replica = Options::default().password(PASSWORD).line(format!("replicaof 127.0.0.1 {}", old.port()));
        let new = Standalone::start_with(replica);
        wait_until("a replica in step", || new.info("replication", "master_link_status") == "up");
        (old, new)
    });
    // A way for each pod, so that one can be cut off.
    let ways = [Way::to(old.port()), Way::to(old.port())];
    let folder = tempfile::tempdir().unwrap();
    let args = configuration(folder.path());
    let pods = blocking(|| {
        let start = |way: &Way| {
            let (host, port) = way.address();
            let url = format!("redis://:{PASSWORD}@{host}:{port}");
            Pod::start(folder.path(), &[&args[..], &["--redis".to_owned(), url]].concat())
        };
        ways.iter().map(start).collect()
    });
    let fleet = Fleet { pods, _folder: folder };
    fleet.ready().await;
    let load = Load { rooms: 100, clients: 40, ..LOAD };
    let pods = &fleet.pods;
    let verdict = run(load, fleet.addresses(), async {
        sleep(Duration::from_secs(1)).await;
        let spell = Spell::begin(pods);
        blocking(|| old.call(&["CONFIG", "SET", "maxmemory", "1kb"]));
        spell.told(pods, "full").await;
        blocking(|| old.call(&["CONFIG", "SET", "maxmemory", "0"]));
        spell.over(pods).await;
        sleep(Duration::from_secs(1)).await;
        // A failover in good order: what is written last is the replica's too, and the old server keeps its connections.
        blocking(|| {
            old.call(&["CLIENT", "PAUSE", "5000", "WRITE"]);
            old.wait_in_step(&new);
            new.call(&["REPLICAOF", "NO", "ONE"]);
            ways.iter().for_each(|way| way.lead_to(new.port()));
            old.call(&["REPLICAOF", "127.0.0.1", &new.port().to_string()]);
            old.call(&["CLIENT", "UNPAUSE"]);
        });
        sleep(Duration::from_secs(2)).await;
        let cut_off = &pods[..1];
        let spell = Spell::begin(cut_off);
        ways[0].close(true);
        ways[0].swallow();
        // 40 s in a run of some length.
        sleep(length(2).min(Duration::from_secs(40))).await;
        spell.told(cut_off, "away").await;
        // What was swallowed never comes, as if the packets had been lost: pods that wait for it connect again.
        ways[0].swallow();
        ways[0].close(false);
        spell.over(cut_off).await;
        let spell = Spell::begin(pods);
        blocking(|| {
            new.call(&["CONFIG", "SET", "requirepass", "two"]);
            for kind in ["normal", "pubsub"] {
                call_with(new.port(), "two", &["CLIENT", "KILL", "TYPE", kind]);
            }
        });
        spell.told(pods, "login").await;
        blocking(|| call_with(new.port(), "two", &["CONFIG", "SET", "requirepass", PASSWORD]));
        spell.over(pods).await;
        sleep(Duration::from_secs(1)).await;
    })
    .await;
    assert_clean(&verdict);
    assert_eq!(verdict.rolled_back, 0);
}
