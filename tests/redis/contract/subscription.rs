//! When delivery begins and ends.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use roomcast::testing::model::Policy;

use super::harness::{Bench, Store, a_moment, assert_a_stream, events, offsets, room, started};

pub async fn the_first_delivery_says_where_the_room_stands<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let room = room("a");
    let mut last = None;
    for _ in 0..5 {
        last = Some(bench.publish(&room, "t").await);
    }
    assert_eq!(Some(bench.subscribed(&room).await), last);
    bench.publish(&room, "t").await;
    let delivered = bench.seen.events_up_to(&room, 6).await;
    assert_eq!(offsets(delivered.iter().map(|(_, event)| event)), [6]);
}

/// Whatever moment the subscription hits: from `Started` on nothing is missing.
pub async fn subscribing_amid_publishes_leaves_no_hole<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    for attempt in 0..20 {
        let room = room(&format!("a:{attempt}"));
        let stop = Arc::new(AtomicBool::new(false));
        let publishers: Vec<_> = (0..3)
            .map(|_| {
                let (bench, room, stop) = (Arc::clone(&bench), room.clone(), Arc::clone(&stop));
                tokio::spawn(async move {
                    let mut last = 0;
                    while !stop.load(Ordering::Relaxed) {
                        last = bench.publish(&room, "t").await.offset;
                        tokio::task::yield_now().await;
                    }
                    last
                })
            })
            .collect();
        bench.history_reaches(&room, 5 * attempt).await;
        bench.subscribe(&room);
        bench.seen.wait(&room, |seen| (events(seen).count() >= 20).then_some(())).await;
        stop.store(true, Ordering::Relaxed);
        let mut last = 0;
        for publisher in publishers {
            last = last.max(publisher.await.unwrap());
        }
        bench.seen.events_up_to(&room, last).await;
        let seen = bench.seen.of(&room);
        assert_a_stream(&seen);
        assert_eq!(started(&seen).count(), 1);
        assert_eq!(events(&seen).last().map(|(_, event)| event.offset), Some(last));
        bench.store.broker().unsubscribe(&room);
    }
}

pub async fn a_repeated_subscription_starts_again_without_repeating<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let room = room("a");
    for round in 0..5 {
        assert_eq!(bench.subscribed(&room).await.offset, round);
        bench.publish(&room, "t").await;
        bench.seen.events_up_to(&room, round + 1).await;
    }
    let seen = bench.seen.of(&room);
    assert_a_stream(&seen);
    assert_eq!((started(&seen).count(), events(&seen).count()), (5, 5));
}

pub async fn nothing_is_delivered_after_unsubscribing<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let (left, kept) = (room("left"), room("kept"));
    bench.subscribed(&left).await;
    bench.subscribed(&kept).await;
    bench.publish(&left, "t").await;
    bench.seen.events_up_to(&left, 1).await;
    bench.store.broker().unsubscribe(&left);
    let before = bench.seen.of(&left).len();
    bench.publish(&left, "t").await;
    bench.publish(&kept, "t").await;
    bench.seen.events_up_to(&kept, 1).await;
    assert_eq!(bench.seen.of(&left).len(), before, "a delivery after unsubscribe had returned");
    // Harmless, also for a room that nobody ever heard of.
    bench.store.broker().unsubscribe(&left);
    bench.store.broker().unsubscribe(&room("unheard"));
}

pub async fn a_new_subscription_continues_where_the_room_stands_now<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let room = room("a");
    bench.subscribed(&room).await;
    bench.publish(&room, "t").await;
    bench.seen.events_up_to(&room, 1).await;
    bench.store.broker().unsubscribe(&room);
    a_moment().await;
    let missed = bench.publish(&room, "t").await;
    assert_eq!(bench.subscribed(&room).await, missed);
    bench.publish(&room, "t").await;
    bench.seen.events_up_to(&room, 3).await;
    let seen = bench.seen.of(&room);
    assert_a_stream(&seen);
    assert_eq!(offsets(&events(&seen).map(|(_, event)| event).collect::<Vec<_>>()), [1, 3]);
}

impl<S: Store> Bench<S> {
    /// Waits until the log has come that far.
    async fn history_reaches(&self, room: &roomcast::testing::model::Room, offset: u64) {
        super::harness::eventually(|| async {
            let end = self.history(room, super::harness::everything()).await.end;
            (end >= offset).then_some(())
        })
        .await;
    }
}
