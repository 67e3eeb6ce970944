//! A repeated publish is one event.

use std::{sync::Arc, time::Duration};

use roomcast::testing::{
    broker::BrokerError,
    model::{IdempotencyKey, Policy, Publication},
};

use super::harness::{Bench, Forgetful, Store, assert_a_stream, binary, everything, json, offsets, publication, room};

fn repeated(key: &str, topic: &str) -> Publication {
    Publication { idempotency_key: Some(key.into()), ..publication(topic) }
}

pub async fn a_repeated_publish_is_one_event<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let room = room("a");
    bench.subscribed(&room).await;
    let first = bench.try_publish(&room, repeated("k", "first")).await.unwrap();
    bench.publish(&room, "between").await;
    let again = bench.try_publish(&room, repeated("k", "first")).await.unwrap();
    assert_eq!(again, first);
    assert_eq!(bench.try_publish(&room, repeated("l", "other")).await.unwrap().offset, 3);
    let delivered = bench.seen.events_up_to(&room, 3).await;
    assert_eq!(delivered.iter().map(|(_, e)| &*e.topic).collect::<Vec<_>>(), ["first", "between", "other"]);
    assert_eq!(offsets(&bench.history(&room, everything()).await.events), [1, 2, 3]);
}

/// From the last time that it came, not from the first; a refused one counts as well.
pub async fn a_key_that_comes_again_is_known_anew<S: Forgetful>() {
    let age = Duration::from_secs(4);
    let bench = Bench::<S>::with_key_age(Policy::default(), age).await;
    let room = room("a");
    let first = bench.try_publish(&room, repeated("k", "t")).await.unwrap();
    bench.try_publish(&room, repeated("once", "t")).await.unwrap();
    for round in 0..2 {
        bench.store.pass(age * 5 / 8).await;
        assert_eq!(bench.try_publish(&room, repeated("k", "t")).await, Ok(first.clone()), "round {round}");
    }
    assert_eq!(bench.try_publish(&room, repeated("once", "t")).await.unwrap().offset, 3, "one that did not come again");
    bench.store.pass(age * 5 / 8).await;
    assert_eq!(bench.try_publish(&room, repeated("k", "u")).await, Err(BrokerError::Conflict));
    bench.store.pass(age * 5 / 8).await;
    assert_eq!(bench.try_publish(&room, repeated("k", "t")).await, Ok(first), "a refused one came again");
    bench.store.pass(age + Duration::from_millis(100)).await;
    assert_eq!(bench.try_publish(&room, repeated("k", "t")).await.unwrap().offset, 4);
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

pub async fn the_same_key_with_another_event_is_refused<S: Store>() {
    for history_size in [100, 0] {
        let bench = Bench::<S>::new(Policy { history_size, ..Policy::default() }).await;
        let room = room("a");
        bench.subscribed(&room).await;
        let first = bench.try_publish(&room, repeated("k", "t")).await.unwrap();
        let others = [
            repeated("k", "u"),
            Publication { key: Some("bus".into()), ..repeated("k", "t") },
            Publication { id: Some("i".into()), ..repeated("k", "t") },
            Publication { payload: json("2"), ..repeated("k", "t") },
            Publication { payload: binary(1), ..repeated("k", "t") },
        ];
        let count = others.len();
        for other in others {
            assert_eq!(bench.try_publish(&room, other).await, Err(BrokerError::Conflict));
        }
        let together = (0..count).map(|_| (room.clone(), repeated("k", "u")));
        let pairs = together.chain([(room.clone(), repeated("k", "t")), (room.clone(), repeated("l", "t"))]).collect();
        let answers = bench.store.broker().publish_all(pairs).await;
        assert!(answers[..count].iter().all(|answer| *answer == Err(BrokerError::Conflict)), "{answers:?}");
        assert_eq!(answers[count], Ok(first.clone()));
        assert_eq!(answers[count + 1].as_ref().unwrap().offset, 2);
        assert_eq!(bench.seen.events_up_to(&room, 2).await.len(), 2);
        assert_eq!(bench.try_publish(&room, repeated("k", "t")).await, Ok(first));
    }
}

pub async fn keys_of_different_publishers_are_apart<S: Store>() {
    for log in [None, Some(room("log"))] {
        let bench = Bench::<S>::new(Policy { log, ..Policy::default() }).await;
        let room = room("a");
        let publisher = |key: &str, user: Option<&str>| {
            let idempotency_key = Some(IdempotencyKey::of_client(key.into()));
            Publication { idempotency_key, user: user.map(Into::into), ..publication("t") }
        };
        let all = || {
            [
                repeated("k", "t"),
                publisher("k", None),
                publisher("k", Some("ann")),
                publisher("k", Some("bob")),
                publisher("b k", Some("ann")),
                publisher("k", Some("ann b")),
                publisher("3:ann k", None),
                repeated("3:ann k", "t"),
            ]
        };
        for round in 0..2 {
            for (publication, offset) in all().into_iter().zip(1..) {
                let position = bench.try_publish(&room, publication.clone()).await.unwrap();
                assert_eq!(position.offset, offset, "round {round}: {publication:?}");
            }
        }
    }
}

pub async fn a_retry_goes_by_what_was_asked_for<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let room = room("a");
    let decided = |asked: Publication, data: &str| {
        let mut publication = asked;
        publication.keep_fingerprint();
        publication.payload = json(data);
        publication
    };
    let first = bench.try_publish(&room, decided(repeated("k", "t"), "7")).await.unwrap();
    assert_eq!(bench.try_publish(&room, decided(repeated("k", "t"), "8")).await, Ok(first));
    assert_eq!(bench.try_publish(&room, decided(repeated("k", "u"), "7")).await, Err(BrokerError::Conflict));
}
