//! Slots move to another master while rooms are published to.

use super::*;

/// Slots move while rooms in them are published to: every publish succeeds, in one order, and every event is heard or
/// seen to be missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn publishing_survives_the_migration_of_its_slot() {
    let cluster = Arc::new(tokio::task::block_in_place(|| Cluster::start(3, 0)));
    let pod = Arc::new(Pod::ready(clustered(&cluster)).await);
    let (from, to) = (cluster.masters()[0].port(), cluster.masters()[1].port());
    let room = room_of(&cluster, cluster.masters()[0]);
    pod.subscribed(&room).await;
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = {
        let (pod, room, stop) = (Arc::clone(&pod), room.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut positions = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                positions.push(pod.publish(&room, "t").await.unwrap());
            }
            positions
        })
    };
    let slot = Partition::of(&room).slot();
    let moved = Arc::clone(&cluster);
    tokio::task::spawn_blocking(move || {
        let node = |port| moved.nodes().iter().find(|node| node.port() == port).unwrap();
        // A generation that stood twice reaches as far as its second stay.
        for (from, to) in [(from, to), (to, from), (from, to)] {
            std::thread::sleep(Duration::from_millis(300));
            moved.move_slots(node(from), node(to), slot - 20..slot + 20);
        }
        std::thread::sleep(Duration::from_millis(300));
    })
    .await
    .unwrap();
    stop.store(true, Ordering::Relaxed);
    let positions = publisher.await.unwrap();
    let last = positions.last().unwrap();
    assert_eq!(
        positions.iter().map(|p| p.offset).collect::<Vec<_>>(),
        (1..=positions.len() as u64).collect::<Vec<_>>()
    );
    pod.reaches(&room, last).await;
    // Nothing was lost, and the log says so across the generations.
    let first = positions.len() - 900.min(positions.len());
    for position in positions[first..].iter().step_by(10) {
        assert!(pod.since(&room, position).await.complete, "{position:?} of {last:?}");
    }
    assert_ne!(last.epoch.as_str(), "", "{last:?}");
}

/// How long a publish waits while its slot moves, with thousands of keys in it, among 500 others: `ASK` is not followed,
/// because the server that takes the slot in runs no script until all of its keys are there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_publish_waits_until_the_keys_of_its_slot_have_moved() {
    const ROOMS: usize = 1_000;
    let cluster = Arc::new(tokio::task::block_in_place(|| Cluster::start(3, 0)));
    let pod = Arc::new(Pod::ready(clustered(&cluster)).await);
    let from = cluster.masters()[0].port();
    let home = room_of(&cluster, cluster.masters()[0]);
    let slot = Partition::of(&home).slot();
    let rooms: Arc<Vec<Room>> = Arc::new(
        (0..).map(|n| room(&format!("of:{n}"))).filter(|r| Partition::of(r).slot() == slot).take(ROOMS).collect(),
    );
    let filled: Vec<_> = rooms.iter().map(|room| pod.publish(room, "t")).collect();
    futures_util::future::try_join_all(filled).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = {
        let (pod, rooms, stop) = (Arc::clone(&pod), Arc::clone(&rooms), Arc::clone(&stop));
        tokio::spawn(async move {
            let (mut longest, mut published) = (Duration::ZERO, 0);
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                pod.publish(&rooms[published % ROOMS], "t").await.unwrap();
                longest = longest.max(began.elapsed());
                published += 1;
            }
            (longest, published)
        })
    };
    let (moved, began) = (Arc::clone(&cluster), Instant::now());
    let keys = tokio::task::spawn_blocking(move || {
        let from = moved.nodes().iter().find(|node| node.port() == from).unwrap();
        let masters = moved.masters();
        let to = masters.iter().find(|master| master.port() != from.port()).unwrap();
        let first = slot.saturating_sub(250);
        moved.move_slots(from, to, first..first + 500);
        to.call(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]).number()
    })
    .await
    .unwrap();
    let took = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    let (longest, published) = publisher.await.unwrap();
    println!(
        "500 slots moved in {took:?}, one with {keys} keys; of {published} publishes to it the longest took {longest:?}"
    );
    assert!(keys >= 2 * ROOMS as i64 && published > 0);
    assert!(longest < Duration::from_secs(4), "{longest:?}");
}
