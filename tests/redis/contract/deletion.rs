//! What is left of an event that was deleted: nothing of what it said, and no hole.

use std::sync::Arc;

use roomcast::testing::{
    broker::{History, HistoryQuery},
    model::{Deletion, Epoch, Policy, Position, Publication, Retain, Since},
};

use super::harness::{Bench, Store, binary, everything, offsets, publication, room};

/// So many events, each with all that an event has.
async fn filled<S: Store>(policy: Policy, count: u64) -> (Arc<Bench<S>>, Epoch) {
    let bench = Bench::<S>::new(policy).await;
    let mut epoch = None;
    for n in 1..=count {
        let (key, id, user) = (Some("k".into()), Some(format!("m-{n}").into()), Some("ann".into()));
        let publication = Publication { payload: binary(40), key, id, user, ..publication("t") };
        epoch = Some(bench.try_publish(&room("a"), publication).await.unwrap().epoch);
    }
    (bench, epoch.unwrap())
}

async fn delete<S: Store>(bench: &Bench<S>, epoch: &Epoch, offset: u64) -> bool {
    let deletion =
        Deletion { at: Position::new(epoch.clone(), offset), id: Some(format!("m-{offset}").into()), leaves: None };
    bench.store.erasure().delete_event(&room("a"), &deletion).await.unwrap()
}

/// The offsets of an answer, negative where something else stands in the place of an event.
fn seen(history: &History) -> Vec<i64> {
    let of = |(event, offset): (&Arc<_>, u64)| {
        let event: &roomcast::testing::model::Event = event;
        let offset = i64::try_from(offset).unwrap();
        assert_eq!(event.id.as_deref(), Some(&*format!("m-{offset}")));
        if event.is_tombstone() {
            assert_eq!((&event.key, &event.user), (&None, &None));
            return -offset;
        }
        assert_eq!((event.user.as_deref(), &*event.topic), (Some("ann"), "t"));
        offset
    };
    history.events.iter().zip(offsets(&history.events)).map(of).collect()
}

pub async fn a_deleted_event_leaves_one_in_its_place<S: Store>() {
    let (bench, epoch) = filled::<S>(Policy::default(), 6).await;
    let (a, mut gone) = (room("a"), Vec::new());
    // One in the middle, the first, the last, those beside, and then all.
    for offset in [3, 1, 6, 2, 5, 4] {
        assert!(
            delete(&bench, &epoch, offset).await && delete(&bench, &epoch, offset).await,
            "to repeat it is harmless"
        );
        gone.push(i64::try_from(offset).unwrap());
        let expected = |from: i64, to: i64| -> Vec<i64> {
            (from..=to).map(|offset| if gone.contains(&offset) { -offset } else { offset }).collect()
        };
        let all = bench.history(&a, everything()).await;
        assert_eq!((seen(&all), all.after, all.end, all.complete), (expected(1, 6), 0, 6, true));
        for since in 0..=6 {
            for until in since..=6 {
                let position = Some(Since { epoch: epoch.clone(), offset: since });
                let query = HistoryQuery { since: position, until: Some(until), ..everything() };
                let part = bench.history(&a, query).await;
                let (from, to) = (i64::try_from(since).unwrap() + 1, i64::try_from(until).unwrap());
                assert_eq!(
                    (seen(&part), part.offset, part.complete),
                    (expected(from, to), until, true),
                    "({since}, {until}]"
                );
            }
        }
        let newest = bench.history(&a, HistoryQuery { max_events: 2, ..everything() }).await;
        assert_eq!((seen(&newest), newest.after), (expected(5, 6), 4));
    }
    for (epoch, offset) in [(epoch.clone(), 7), (epoch.clone(), 0), (Epoch::new("another"), 2)] {
        assert!(!delete(&bench, &epoch, offset).await, "{epoch} {offset}");
    }
    // It goes on as before.
    let next = bench.publish(&a, "next").await;
    assert_eq!((next.epoch, next.offset), (epoch.clone(), 7));
    let all = bench.since(&a, &epoch, 0).await;
    assert_eq!((all.events.len(), all.complete), (7, true));
}

pub async fn a_log_that_has_let_go_of_events_is_no_larger_for_deleted_ones<S: Store>() {
    let (bench, epoch) = filled::<S>(Policy { history_size: 4, ..Policy::default() }, 10).await;
    let a = room("a");
    assert!(!delete(&bench, &epoch, 6).await, "it is not in the log any more");
    for offset in [7, 9] {
        assert!(delete(&bench, &epoch, offset).await);
    }
    let part = bench.since(&a, &epoch, 6).await;
    assert_eq!((seen(&part), part.complete), (vec![-7, 8, -9, 10], true));
    assert!(!bench.since(&a, &epoch, 5).await.complete);
    for _ in 0..40 {
        bench.publish(&a, "more").await;
    }
    let part = bench.since(&a, &epoch, 0).await;
    assert_eq!((offsets(&part.events), part.complete), (vec![47, 48, 49, 50], false));
}

pub async fn the_value_of_a_deleted_event_is_not_retained<S: Store>() {
    let (bench, epoch) = filled::<S>(Policy { retain: Retain::Topic, ..Policy::default() }, 1).await;
    let a = room("a");
    bench.publish(&a, "other").await;
    assert_eq!(bench.values(&a).await, ["t 1", "other 2"]);
    assert!(delete(&bench, &epoch, 1).await);
    assert_eq!(bench.values(&a).await, ["other 2"]);
    // What tells of it is no value, nor is it refused by a policy that names topics.
    let deletion = Deletion { at: Position::new(epoch, 1), id: None, leaves: None };
    let told = bench.try_publish(&a, deletion.notice(None, true)).await.unwrap();
    assert_eq!(told.offset, 3);
    assert_eq!(bench.try_publish(&a, deletion.notice(Some("ann"), true)).await.unwrap(), told, "it is told once");
    assert_eq!(bench.values(&a).await, ["other 2"]);
    // A newer value of the topic is another event's.
    bench.publish(&a, "t").await;
    assert!(delete(&bench, &told.epoch, 2).await);
    assert_eq!(bench.values(&a).await, ["t 4"]);
}

pub async fn a_value_that_has_outlasted_its_event_is_deleted<S: Store>() {
    let policy = Policy { retain: Retain::Topic, history_size: 2, ..Policy::default() };
    let (bench, epoch) = filled::<S>(policy, 1).await;
    let a = room("a");
    for topic in ["b", "c", "d"] {
        bench.publish(&a, topic).await;
    }
    assert!(!bench.since(&a, &epoch, 0).await.complete, "the log has let it go");
    assert_eq!(bench.values(&a).await, ["t 1", "b 2", "c 3", "d 4"]);
    assert!(!delete(&bench, &Epoch::new("another"), 1).await);
    assert!(delete(&bench, &epoch, 1).await);
    assert_eq!(bench.values(&a).await, ["b 2", "c 3", "d 4"]);
    assert!(!delete(&bench, &epoch, 1).await, "there is nothing left of it");
}

pub async fn what_an_erased_event_left_is_deleted_as_well<S: Store>() {
    let (bench, epoch) = filled::<S>(Policy::default(), 3).await;
    let a = room("a");
    let event = bench.since(&a, &epoch, 1).await.events[0].clone();
    let at = Position::new(epoch.clone(), 2);
    let erased = Deletion { at, id: None, leaves: Some(event.shell()) };
    assert!(bench.store.erasure().delete_event(&a, &erased).await.unwrap());
    let left = bench.since(&a, &epoch, 1).await.events[0].clone();
    assert_eq!((&*left.topic, &left.user, left.is_tombstone()), ("t", &None, false));
    assert!(delete(&bench, &epoch, 2).await);
    assert_eq!(seen(&bench.since(&a, &epoch, 0).await), [1, -2, 3]);
}

pub async fn a_log_whose_oldest_events_are_deleted_begins_where_it_began<S: Store>() {
    let (bench, epoch) = filled::<S>(Policy::default(), 40).await;
    let a = room("a");
    for offset in (1..=37).rev() {
        assert!(delete(&bench, &epoch, offset).await);
        let all = bench.since(&a, &epoch, 0).await;
        assert_eq!((all.events.len(), all.after, all.complete), (40, 0, true), "without {offset} and those behind it");
    }
}
