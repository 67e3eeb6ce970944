//! A cluster of three masters and three replicas, and everything it does to subscriptions.

use std::{
    thread,
    time::{Duration, Instant},
};

use roomcast_redis_subscriber::{State, slot};

use testkit::redis::{Cluster, Node, shared, wait_until};

use super::{Pod, channels, deaf, hear_in_the_end, traffic::Traffic};

const NONE: [&String; 0] = [];

/// A pod with a thousand channels that all hear.
fn pod_with(cluster: &Cluster, channels: &[String]) -> Pod {
    let pod = Pod::of(cluster);
    println!("1,000 channels confirmed in {:?}", pod.join(channels));
    assert_eq!(deaf(&pod, cluster, channels, "before"), NONE);
    pod
}

/// Whether a channel is of one of the node's slots.
fn is_of<'a>(cluster: &Cluster, node: &Node) -> impl Fn(&&'a String) -> bool {
    let slots = cluster.slots(node);
    move |channel| slots.iter().any(|range| range.contains(&slot(channel.as_bytes())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_masters_channels_come_back_and_the_others_notice_nothing() {
    let cluster = shared().await;
    let channels = channels(1_000);
    let pod = pod_with(&cluster, &channels);
    let victim = cluster.masters()[0];
    let replica = cluster.replica_of(victim);
    let (dead, alive): (Vec<_>, Vec<_>) = channels.iter().cloned().partition(|c| is_of(&cluster, victim)(&c));
    assert!(dead.len() > 200 && alive.len() > 500);

    let traffic = Traffic::start(&cluster, &alive);
    thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    victim.kill();
    // The node is seen to be down before its channels are counted.
    wait_until("the loss is seen", || pod.health().unconfirmed == dead.len());
    let health = pod.health();
    assert!(health.state == State::Degraded && health.confirmed == alive.len(), "{health:?}");
    assert_eq!(health.nodes.iter().filter(|node| !node.is_well()).count(), 1);
    cluster.wait_promoted(replica);
    let promoted = Instant::now();
    pod.wait_whole();
    println!(
        "kill -9: promoted after {:?}, {} channels back {:?} later",
        promoted - began,
        dead.len(),
        promoted.elapsed()
    );
    assert_eq!(deaf(&pod, &cluster, &channels, "after"), NONE);
    let outcome = traffic.finish(&pod);
    println!("the others meanwhile: {outcome:?}");
    assert!(outcome.acknowledged > 10_000 && outcome.lost == 0 && outcome.deaf == 0, "{outcome:?}");
    assert!(outcome.longest_gap < outcome.longest_pause + Duration::from_millis(500), "{outcome:?}");
    assert_eq!(pod.health().nodes.len(), 3);
    assert!(pod.health().nodes.iter().all(|node| node.address.port != victim.port()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_slots_move_while_they_are_used() {
    let cluster = shared().await;
    let channels = channels(1_000);
    let pod = pod_with(&cluster, &channels);
    let masters = cluster.masters();
    let first = cluster.slots(masters[0])[0].start;
    let moving = first..first + 500;
    // In the slots that move there are channels too few to tell much: some more.
    let mut names = (0..).map(|n| format!("moving:{{{n}}}")).filter(|name| moving.contains(&slot(name.as_bytes())));
    let moved: Vec<_> = names.by_ref().take(200).collect();
    pod.join(&moved);

    let traffic = Traffic::start(&cluster, &moved);
    thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    cluster.move_slots(masters[0], masters[1], moving.clone());
    println!("500 slots moved in {:?}", began.elapsed());
    // All may be confirmed still, by the old owner, whose word that they are not may be on its way.
    let elsewhere = |channel: &&String| moving.contains(&slot(channel.as_bytes()));
    let (also_moved, stayed): (Vec<_>, Vec<_>) = channels.iter().cloned().partition(|channel| elsewhere(&channel));
    hear_in_the_end(&pod, &cluster, &[&moved[..], &also_moved].concat(), "moved");
    assert_eq!(deaf(&pod, &cluster, &stayed, "stayed"), NONE);
    pod.wait_whole();
    let outcome = traffic.finish(&pod);
    println!("moved channels: {outcome:?}");
    assert!(outcome.deaf == 0 && outcome.acknowledged > 1_000, "{outcome:?}");
    assert!(outcome.longest_gap < outcome.longest_pause + Duration::from_millis(500), "{outcome:?}");
    assert_eq!(deaf(&pod, &cluster, &channels, "after"), NONE);
    assert_eq!(deaf(&pod, &cluster, &moved, "after"), NONE);
    // What came while the subscription was on its way is missing, and each such channel was told so.
    assert!(moved.iter().all(|channel| pod.heard.times_confirmed(channel) >= 2));
    thread::sleep(Duration::from_millis(1_300));
    cluster.move_slots(masters[1], masters[0], moving);
    hear_in_the_end(&pod, &cluster, &moved, "on the way home");
    assert_eq!(deaf(&pod, &cluster, &moved, "home"), NONE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_move_away_and_back_before_anybody_looks() {
    let cluster = shared().await;
    let channels = channels(1_000);
    let pod = pod_with(&cluster, &channels);
    let masters = cluster.masters();
    let slots: Vec<u16> = channels[..10].iter().map(|channel| slot(channel.as_bytes())).collect();
    for slot in slots.iter().copied() {
        let from = cluster.owner(slot);
        let to = masters.iter().find(|node| node.port() != from.port()).unwrap();
        cluster.move_slots(from, to, slot..slot + 1);
        cluster.move_slots(to, from, slot..slot + 1);
    }
    // The owner dropped these, and its word of it may be on its way: all channels count as confirmed until it comes.
    let (moved, stayed): (Vec<_>, Vec<_>) =
        channels.iter().cloned().partition(|channel| slots.contains(&slot(channel.as_bytes())));
    assert_eq!(deaf(&pod, &cluster, &stayed, "meanwhile"), NONE);
    hear_in_the_end(&pod, &cluster, &moved, "back");
    assert!(
        moved.iter().all(|channel| pod.heard.times_confirmed(channel) >= 2),
        "not told: what was missed is not read"
    );
    pod.wait_whole();
    assert_eq!(deaf(&pod, &cluster, &channels, "after"), NONE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_subscribers_come_back() {
    let cluster = shared().await;
    let channels = channels(10_000);
    let pod = Pod::of(&cluster);
    println!("10,000 channels of a cluster confirmed in {:?}", pod.join(&channels));
    let began = Instant::now();
    for master in cluster.masters() {
        assert_eq!(master.kill_subscribers(), 1);
    }
    // A confirmation may be repeated, and a second one may be of the first connection.
    wait_until("each confirmed again", || channels.iter().all(|channel| pod.heard.times_confirmed(channel) >= 2));
    println!("CLIENT KILL of 10,000 channels on three masters: back in {:?}", began.elapsed());
    hear_in_the_end(&pod, &cluster, &channels[..1_000], "again");
    assert_eq!(deaf(&pod, &cluster, &channels[..1_000], "after"), NONE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_failover_leaves_nobody_behind() {
    let cluster = shared().await;
    let channels = channels(1_000);
    let pod = pod_with(&cluster, &channels);
    let master = cluster.masters()[1];
    let replica = cluster.replica_of(master);
    let of_master: Vec<_> = channels.iter().filter(is_of(&cluster, master)).cloned().collect();
    let traffic = Traffic::start(&cluster, &of_master);
    thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    cluster.fail_over(replica);
    println!("failed over in {:?}", began.elapsed());
    // The old master takes subscriptions still, and nothing ever comes of them.
    wait_until("the new master is followed", || {
        pod.health().nodes.iter().any(|node| node.address.port == replica.port() && node.is_well())
    });
    pod.wait_whole();
    println!("all confirmed after {:?}", began.elapsed());
    assert_eq!(deaf(&pod, &cluster, &channels, "after"), NONE);
    let outcome = traffic.finish(&pod);
    println!("its channels meanwhile: {outcome:?}");
    assert!(outcome.deaf == 0 && outcome.longest_gap < outcome.longest_pause + Duration::from_secs(2), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_hangs_is_given_up_and_replaced() {
    let cluster = shared().await;
    let channels = channels(1_000);
    let pod = pod_with(&cluster, &channels);
    let master = cluster.masters()[2];
    let replica = cluster.replica_of(master);
    let alive: Vec<_> = channels.iter().filter(|c| !is_of(&cluster, master)(c)).cloned().collect();
    let traffic = Traffic::start(&cluster, &alive);
    let began = Instant::now();
    master.pause();
    wait_until("the silence is noticed", || pod.health().state == State::Degraded);
    println!("silence noticed after {:?}", began.elapsed());
    cluster.wait_promoted_without(replica, &[master]);
    pod.wait_whole();
    println!("a hanging master replaced after {:?}", began.elapsed());
    let outcome = traffic.finish(&pod);
    println!("the others meanwhile: {outcome:?}");
    assert!(outcome.lost == 0, "{outcome:?}");
    assert!(outcome.longest_gap < outcome.longest_pause + Duration::from_millis(500), "{outcome:?}");
    master.resume();
    cluster.wait_ok();
    pod.wait_whole();
    assert_eq!(deaf(&pod, &cluster, &channels, "after"), NONE);
}
