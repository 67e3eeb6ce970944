//! What the log answers, and that it never calls a part the whole.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use roomcast::testing::{
    broker::HistoryQuery,
    model::{Epoch, Policy, Position, Publication, Since},
};

use super::harness::{Bench, Store, binary, everything, offsets, publication, room};

fn after(position: &Position, offset: u64) -> Option<Since> {
    Some(Since { epoch: position.epoch.clone(), offset })
}

async fn ten<S: Store>(policy: Policy) -> (Arc<Bench<S>>, Position) {
    let bench = Bench::<S>::new(policy).await;
    for n in 1..=10 {
        let publication = Publication { payload: binary(n * 10), ..publication("t") };
        bench.try_publish(&room("a"), publication).await.unwrap();
    }
    let end = bench.history(&room("a"), everything()).await;
    (bench, Position::new(end.epoch, end.end))
}

pub async fn the_newest_events_come_without_since<S: Store>() {
    let (bench, end) = ten::<S>(Policy::default()).await;
    let all = bench.history(&room("a"), everything()).await;
    assert_eq!((all.epoch, all.after, all.offset, all.end, all.complete), (end.epoch, 0, 10, 10, true));
    assert_eq!(offsets(&all.events), (1..=10).collect::<Vec<_>>());
    let newest = bench.history(&room("a"), HistoryQuery { max_events: 3, ..everything() }).await;
    assert_eq!((newest.after, newest.offset, newest.end, newest.complete), (7, 10, 10, false));
    assert_eq!(offsets(&newest.events), [8, 9, 10]);
    let small = bench.history(&room("a"), HistoryQuery { max_bytes: 195, ..everything() }).await;
    assert_eq!((small.after, offsets(&small.events)), (8, vec![9, 10]));
}

pub async fn what_followed_a_position_comes_oldest_first<S: Store>() {
    let (bench, end) = ten::<S>(Policy::default()).await;
    for offset in [0, 4, 9, 10] {
        let missed = bench.since(&room("a"), &end.epoch, offset).await;
        assert_eq!((missed.after, missed.offset, missed.complete), (offset, 10, true));
        assert_eq!(offsets(&missed.events), (offset + 1..=10).collect::<Vec<_>>());
    }
}

pub async fn limits_cut_and_say_so<S: Store>() {
    let (bench, end) = ten::<S>(Policy::default()).await;
    for (max_events, max_bytes, expected) in [
        (3, usize::MAX, vec![3, 4, 5]),
        (8, usize::MAX, (3..=10).collect()),
        (0, usize::MAX, vec![]),
        (usize::MAX, 70, vec![3, 4]),
        (usize::MAX, 69, vec![3]),
        (usize::MAX, 29, vec![]),
    ] {
        let query = HistoryQuery { since: after(&end, 2), until: None, max_events, max_bytes };
        let part = bench.history(&room("a"), query).await;
        let last = 2 + expected.len() as u64;
        assert_eq!((part.after, part.offset, part.end, part.complete), (2, last, 10, last == 10));
        assert_eq!(offsets(&part.events), expected);
    }
}

pub async fn until_ends_the_answer<S: Store>() {
    let (bench, end) = ten::<S>(Policy::default()).await;
    let ask = |since, until| HistoryQuery { since, until: Some(until), ..everything() };
    for (since, until, expected) in
        [(2, 5, vec![3, 4, 5]), (5, 5, vec![]), (8, 99, vec![9, 10]), (0, 1, vec![1]), (10, 10, vec![])]
    {
        let part = bench.history(&room("a"), ask(after(&end, since), until)).await;
        assert_eq!((part.after, part.offset, part.complete), (since, until.min(10), true), "({since}, {until}]");
        assert_eq!((offsets(&part.events), part.end), (expected, 10));
    }
    let cut = HistoryQuery { max_events: 2, ..ask(None, 6) };
    assert_eq!(offsets(&bench.history(&room("a"), cut).await.events), [5, 6]);
}

pub async fn what_was_trimmed_is_not_complete<S: Store>() {
    let by_count = Policy { history_size: 4, ..Policy::default() };
    let (bench, end) = ten::<S>(by_count).await;
    for (offset, complete) in [(0, false), (5, false), (6, true), (8, true)] {
        let part = bench.since(&room("a"), &end.epoch, offset).await;
        let from = offset.max(6);
        assert_eq!((part.after, part.offset, part.complete), (from, 10, complete), "since {offset}");
        assert_eq!(offsets(&part.events), (from + 1..=10).collect::<Vec<_>>());
    }
    let all = bench.history(&room("a"), everything()).await;
    assert_eq!((all.after, all.complete), (6, false));
    // What is not wanted is not missing.
    for (until, after, complete) in [(3, 3, true), (2, 3, true), (4, 6, false)] {
        let query = HistoryQuery { until: Some(until), since: self::after(&end, 3), ..everything() };
        let part = bench.history(&room("a"), query).await;
        assert_eq!((part.after, part.complete, part.events.len()), (after, complete, 0), "(3, {until}]");
    }
    let none = Policy { history_size: 0, ..Policy::default() };
    let (bench, end) = ten::<S>(none).await;
    let query = HistoryQuery { until: Some(7), since: after(&end, 7), ..everything() };
    assert!(bench.history(&room("a"), query).await.complete, "the room goes on from there");
    assert!(!bench.since(&room("a"), &end.epoch, 7).await.complete);

    let by_bytes = Policy { history_bytes: 1_000, ..Policy::default() };
    let (bench, _) = ten::<S>(by_bytes).await;
    let all = bench.history(&room("a"), everything()).await;
    let bytes: usize = all.events.iter().map(|event| event.payload.len()).sum();
    assert!(bytes <= 1_000 && all.offset == 10 && !all.events.is_empty() && !all.complete, "{all:?}");
}

pub async fn another_epoch_is_not_complete<S: Store>() {
    let (bench, end) = ten::<S>(Policy::default()).await;
    for offset in [0, 5, 10] {
        let answer = bench.since(&room("a"), &Epoch::new("never was"), offset).await;
        assert_eq!((answer.epoch, answer.end, answer.complete), (end.epoch.clone(), 10, false));
    }
}

pub async fn a_position_ahead_of_the_log_is_not_complete<S: Store>() {
    let (bench, end) = ten::<S>(Policy::default()).await;
    let ahead = bench.since(&room("a"), &end.epoch, 11).await;
    assert_eq!((ahead.offset, ahead.end, ahead.complete, ahead.events.len()), (10, 10, false, 0));
}

pub async fn events_age<S: Store>() {
    let policy = Policy { history_age: Duration::from_secs(2), ..Policy::default() };
    let bench = Bench::<S>::new(policy).await;
    let room = room("a");
    let first = bench.publish(&room, "t").await;
    bench.store.pass(Duration::from_millis(1_500)).await;
    bench.publish(&room, "t").await;
    bench.store.pass(Duration::from_millis(750)).await;
    let part = bench.since(&room, &first.epoch, 0).await;
    assert_eq!((offsets(&part.events), part.complete), (vec![2], false));
    assert!(bench.since(&room, &first.epoch, 1).await.complete);
    bench.store.pass(Duration::from_millis(1_500)).await;
    let empty = bench.since(&room, &first.epoch, 2).await;
    assert_eq!((empty.after, empty.offset, empty.end, empty.complete), (2, 2, 2, true));
    assert_eq!(bench.publish(&room, "t").await, Position { offset: 3, ..first });
}

pub async fn a_room_without_log_has_a_position<S: Store>() {
    let (bench, end) = ten::<S>(Policy { history_size: 0, ..Policy::default() }).await;
    assert_eq!(end.offset, 10);
    assert!(bench.since(&room("a"), &end.epoch, 10).await.complete);
    let missed = bench.since(&room("a"), &end.epoch, 9).await;
    assert_eq!((missed.after, missed.offset, missed.complete, missed.events.len()), (10, 10, false, 0));
    let newest = bench.history(&room("a"), everything()).await;
    assert_eq!((newest.after, newest.offset, newest.events.len()), (10, 10, 0));
    assert_eq!(bench.history(&room("unheard"), everything()).await.end, 0);
}

pub async fn a_room_that_lost_its_log_has_another_epoch<S: Store>() {
    let (bench, end) = ten::<S>(Policy::default()).await;
    let room = room("a");
    bench.store.lose(&room).await;
    let again = bench.publish(&room, "t").await;
    assert_ne!(again.epoch, end.epoch);
    assert!(!bench.since(&room, &end.epoch, end.offset).await.complete);
    assert!(!bench.since(&room, &end.epoch, 0).await.complete);
    assert!(bench.since(&room, &again.epoch, again.offset).await.complete);
}

pub async fn history_amid_publishes_has_no_hole<S: Store>() {
    let bench = Bench::<S>::new(Policy { history_size: 50, ..Policy::default() }).await;
    let room = room("a");
    let epoch = bench.publish(&room, "t").await.epoch;
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = {
        let (bench, room, stop) = (Arc::clone(&bench), room.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                bench.publish(&room, "t").await;
                tokio::task::yield_now().await;
            }
        })
    };
    let mut reached = 0;
    while reached < 300 {
        let part = bench.since(&room, &epoch, reached).await;
        assert_eq!(offsets(&part.events), (part.after + 1..=part.offset).collect::<Vec<_>>());
        assert!(part.events.len() <= 50 && part.offset <= part.end);
        assert_eq!(part.complete, part.after == reached, "{part:?}");
        reached = part.offset;
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::Relaxed);
    publisher.await.unwrap();
}
