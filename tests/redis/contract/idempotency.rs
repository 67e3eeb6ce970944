//! A repeated publish is one event.

use std::sync::Arc;

use roomcast::testing::model::{Policy, Publication};

use super::harness::{Bench, Store, assert_a_stream, everything, offsets, publication, room};

fn repeated(key: &str, topic: &str) -> Publication {
    Publication { idempotency_key: Some(key.into()), ..publication(topic) }
}

pub async fn a_repeated_publish_is_one_event<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let room = room("a");
    bench.subscribed(&room).await;
    let first = bench.try_publish(&room, repeated("k", "first")).await.unwrap();
    bench.publish(&room, "between").await;
    let again = bench.try_publish(&room, repeated("k", "second attempt")).await.unwrap();
    assert_eq!(again, first);
    assert_eq!(bench.try_publish(&room, repeated("l", "other")).await.unwrap().offset, 3);
    let delivered = bench.seen.events_up_to(&room, 3).await;
    assert_eq!(delivered.iter().map(|(_, e)| &*e.topic).collect::<Vec<_>>(), ["first", "between", "other"]);
    assert_eq!(offsets(&bench.history(&room, everything()).await.events), [1, 2, 3]);
}

pub async fn keys_of_different_rooms_are_apart<S: Store>() {
    let bench = Bench::<S>::new(Policy { history_size: 0, ..Policy::default() }).await;
    let (a, b) = (room("a"), room("b"));
    let first = bench.try_publish(&a, repeated("k", "t")).await.unwrap();
    bench.publish(&b, "t").await;
    assert_eq!(bench.try_publish(&b, repeated("k", "t")).await.unwrap().offset, 2);
    assert_eq!(bench.try_publish(&a, repeated("k", "t")).await.unwrap(), first);
}

pub async fn publishes_repeated_at_once_are_one_event<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let room = room("a");
    bench.subscribed(&room).await;
    for round in 1..=20_u64 {
        let attempts: Vec<_> = (0..6)
            .map(|_| {
                let (bench, room) = (Arc::clone(&bench), room.clone());
                tokio::spawn(async move { bench.try_publish(&room, repeated(&format!("k{round}"), "t")).await })
            })
            .collect();
        for attempt in attempts {
            assert_eq!(attempt.await.unwrap().unwrap().offset, round);
        }
    }
    assert_eq!(bench.seen.events_up_to(&room, 20).await.len(), 20);
    assert_a_stream(&bench.seen.of(&room));
}
