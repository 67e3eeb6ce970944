//! Rooms in which nothing was ever published, whose names clients make up.

use super::*;

#[test]
fn names_that_clients_make_up_cost_the_logs_nothing() {
    let bench = MemoryStage::new(2_000_000, Policy::default());
    let kept = bench.publish("kept", "t");
    let subscribed = bench.publish("subscribed", "t");
    bench.memory.subscribe(&room("subscribed"));
    let name = |n: u32| room(&format!("{n}:{}", "x".repeat(200)));
    (0..20_000).for_each(|n| bench.memory.subscribe(&name(n)));
    assert_eq!((bench.memory.usage().rooms, bench.memory.usage().evicted_rooms), (20_002, 0));
    assert!(bench.log("kept", Some(&kept)).complete && bench.log("subscribed", Some(&subscribed)).complete);
    // However often it is said, there is a place for an event.
    (0..100).for_each(|_| drop(bench.publish("kept", "t")));
    assert!(bench.log("kept", Some(&kept)).complete);
    // When they have gone, a few are known still, for those that come back.
    let last = bench.log(name(19_999).as_str(), None).epoch;
    (0..20_000).for_each(|n| bench.memory.unsubscribe(&name(n)));
    let usage = bench.memory.usage();
    assert!((1_000..4_000).contains(&usage.rooms), "{usage:?}");
    assert!(usage.bytes < 1_200_000, "{usage:?}");
    assert_eq!(bench.log(name(19_999).as_str(), None).epoch, last, "the last that was left");
    assert!(bench.log("kept", Some(&kept)).complete && bench.log("subscribed", Some(&subscribed)).complete);
}

#[test]
fn a_hundred_thousand_rooms_are_cheap() {
    let bench = MemoryStage::new(1 << 30, Policy { history_size: 0, ..Policy::default() });
    for n in 0..100_000 {
        bench.memory.subscribe(&room(&format!("room:{n}")));
    }
    assert_eq!(bench.memory.usage().bytes, 0, "they are their members'");
    (0..100_000).for_each(|n| drop(bench.publish(&format!("room:{n}"), "t")));
    let usage = bench.memory.usage();
    assert_eq!(usage.rooms, 100_000);
    assert!(usage.bytes / usage.rooms < 600, "{} bytes a room", usage.bytes / usage.rooms);
}
