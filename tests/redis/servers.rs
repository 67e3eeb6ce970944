//! The harness that starts real Redis servers, tried by itself: what other tests rely on.
use std::{process::Command, time::Instant};

use testkit::redis::{Cluster, Options, Standalone, shared, wait_until};

fn is_alive(pid: &str) -> bool {
    Command::new("kill").args(["-0", pid]).output().unwrap().status.success()
}

#[test]
fn a_server_starts_stops_and_comes_back_with_what_it_saved() {
    let server = Standalone::start_with(Options { append_only: true, ..Options::default() }.password("sesame"));
    server.call(&["SET", "k", "v"]);
    let pid = server.info("server", "process_id");
    server.stop();
    assert!(!is_alive(&pid) && server.try_call(&["PING"]).is_err());
    server.restart();
    server.wait_ready();
    assert_eq!(server.call(&["GET", "k"]).text(), "v");
    let pid = server.info("server", "process_id");
    assert!(is_alive(&pid));
    drop(server);
    assert!(!is_alive(&pid));
}

#[test]
fn a_server_dies_with_a_test_that_panics() {
    let (send, receive) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        let server = Standalone::start();
        send.send(server.info("server", "process_id")).unwrap();
        panic!("as planned");
    });
    assert!(test.join().is_err());
    assert!(!is_alive(&receive.recv().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_fails_over_moves_slots_and_heals() {
    let began = Instant::now();
    let cluster = shared().await;
    println!("a turn at the cluster after {:?}", began.elapsed());
    assert_eq!(cluster.masters().len(), 3);

    let key = "{room}:1";
    let slot = cluster.slot(key);
    let (from, to) =
        (cluster.owner(slot), cluster.masters().into_iter().find(|n| n.port() != cluster.owner(slot).port()).unwrap());
    from.call(&["SET", key, "v"]);
    cluster.move_slots(from, to, slot..slot + 1);
    assert_eq!(cluster.owner(slot).port(), to.port());
    assert_eq!(to.call(&["GET", key]).text(), "v");
    cluster.move_slots(to, from, slot..slot + 1);

    let replica = cluster.replica_of(from);
    cluster.fail_over(replica);
    assert_eq!(cluster.owner(slot).port(), replica.port());
    assert_eq!(cluster.spublish(key, "nobody hears"), 0);

    let began = Instant::now();
    replica.kill();
    cluster.wait_promoted(from);
    println!("a promotion in {:?}", began.elapsed());
    cluster.heal();
    println!("healed after {:?}", began.elapsed());
    assert_eq!(from.call(&["GET", key]).text(), "v");

    from.pause();
    assert!(from.try_call(&["PING"]).is_err());
    from.resume();
    wait_until("an answer", || from.try_call(&["PING"]).is_ok());
    cluster.heal();
}

#[test]
fn a_small_cluster_of_its_own() {
    let cluster = Cluster::start(1, 0);
    assert_eq!(cluster.slots(&cluster.nodes()[0]).first(), Some(&(0..16_384)));
}
