//! Rooms may share a log: one order, one position, and each event knows its room.

use roomcast::testing::{
    broker::HistoryQuery,
    model::{Policy, Publication, Since},
};

use super::harness::{Bench, Store, a_moment, assert_a_stream, events, everything, offsets, publication, room};

fn shared() -> Policy {
    Policy { log: Some(room("log")), ..Policy::default() }
}

pub async fn rooms_that_share_a_log_have_one_order<S: Store>() {
    let bench = Bench::<S>::new(shared()).await;
    let (log, a, b) = (room("log"), room("a"), room("b"));
    bench.subscribed(&log).await;
    let mut told = Vec::new();
    for to in [&a, &b, &a, &log, &b] {
        told.push(bench.publish(to, "t").await);
    }
    assert_eq!(told.iter().map(|position| position.offset).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(told.iter().all(|position| position.epoch == told[0].epoch));
    let delivered = bench.seen.events_up_to(&log, 5).await;
    let rooms: Vec<_> = delivered.iter().map(|(_, event)| event.room.clone()).collect();
    assert_eq!(rooms, [Some(a.clone()), Some(b.clone()), Some(a.clone()), None, Some(b.clone())]);
    assert_a_stream(&bench.seen.of(&log));
    a_moment().await;
    assert_eq!(events(&bench.seen.of(&a)).count(), 0, "what is told, the log tells");
}

pub async fn a_rooms_history_is_its_part_of_the_log<S: Store>() {
    let bench = Bench::<S>::new(shared()).await;
    let (log, a, b) = (room("log"), room("a"), room("b"));
    let mut epoch = None;
    for to in [&a, &b, &a, &b, &a, &log] {
        epoch = Some(bench.publish(to, "t").await.epoch);
    }
    let epoch = epoch.unwrap();
    let of = |history: roomcast::testing::broker::History| {
        (history.after, offsets(&history.events), history.offset, history.end, history.complete)
    };
    assert_eq!(of(bench.history(&log, everything()).await), (0, vec![1, 2, 3, 4, 5, 6], 6, 6, true));
    assert_eq!(of(bench.history(&a, everything()).await), (0, vec![1, 3, 5], 6, 6, true));
    assert_eq!(of(bench.history(&room("c"), everything()).await), (0, vec![], 6, 6, true));
    assert_eq!(of(bench.since(&b, &epoch, 2).await), (2, vec![4], 6, 6, true));
    let newest = HistoryQuery { max_events: 2, ..everything() };
    assert_eq!(of(bench.history(&a, newest.clone()).await), (1, vec![3, 5], 6, 6, false));
    let since = Some(Since { epoch, offset: 0 });
    assert_eq!(of(bench.history(&a, HistoryQuery { since, ..newest }).await), (0, vec![1, 3], 4, 6, false));
}

pub async fn keys_in_a_shared_log_are_a_rooms_own<S: Store>() {
    let bench = Bench::<S>::new(shared()).await;
    let repeated = || Publication { idempotency_key: Some("k".into()), ..publication("t") };
    let first = bench.try_publish(&room("a"), repeated()).await.unwrap();
    let second = bench.try_publish(&room("b"), repeated()).await.unwrap();
    assert_eq!((first.offset, second.offset), (1, 2));
    assert_eq!(bench.try_publish(&room("a"), repeated()).await.unwrap(), first);
    assert_eq!(bench.try_publish(&room("b"), repeated()).await.unwrap(), second);
}
