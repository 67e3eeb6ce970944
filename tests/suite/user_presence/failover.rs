//! The presence of users when a master of Redis dies, and its replica takes over.

use roomcast::testing::{broker::redis::Partition, config::RedisUrl, model::Room};
use testkit::redis::Cluster;
use tokio::task::block_in_place;

use super::*;
use crate::users::ready;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_repeats_and_loses_no_announcement() {
    let cluster = block_in_place(|| Cluster::start(3, 1));
    let pod = start(Duration::from_millis(300), |settings| {
        let url = |(host, port)| RedisUrl::parse(&format!("redis-cluster://{host}:{port}")).unwrap();
        settings.redis.urls = cluster.addresses().into_iter().map(url).collect();
    });
    ready(&pod).await;
    let mut follower = Follower::of(&pod, &["ann", "mark"]).await;
    let mut ann = connect(&pod, "ann").await;
    assert_eq!(follower.told().await, said("ann", "online", false));
    let slot = Partition::of(&Room::parse("presence:ann").unwrap()).slot();
    block_in_place(|| {
        let master = cluster.owner(slot);
        let replica = cluster.replica_of(master);
        master.wait_in_step(replica);
        master.kill();
        cluster.wait_promoted(replica);
    });
    // The replica has what was told: it is not told again.
    let began = Instant::now();
    while status(&mut ann, json!({"status": "busy"})).await["type"] != "done" {
        assert!(began.elapsed() < Duration::from_secs(20), "the status is not taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(follower.told().await, said("ann", "busy", false));
    drop(ann);
    assert_eq!(follower.told().await, said("ann", "offline", true));
    let _mark = follower.hears_nothing_before(&pod, "mark").await;
    block_in_place(|| pod.stop());
}
