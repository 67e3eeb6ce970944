//! The newest values of a room.

use std::sync::Arc;

use roomcast::testing::model::{Policy, Retain};

use super::harness::{Bench, Store, keyed, publication, room};

async fn keeping<S: Store>(retain: Retain) -> Arc<Bench<S>> {
    // The log is none of its business: values are kept without one.
    let policy = Policy { retain, history_size: 0, retain_remove_topics: vec!["gone".into()], ..Policy::default() };
    Bench::new(policy).await
}

async fn publish<S: Store>(bench: &Bench<S>, events: &[(&str, Option<&str>)]) {
    for (topic, key) in events {
        let publication = key.map_or_else(|| publication(topic), |key| keyed(topic, key));
        bench.try_publish(&room("a"), publication).await.unwrap();
    }
}

pub async fn nothing_is_kept_without_a_policy<S: Store>() {
    let bench = keeping::<S>(Retain::None).await;
    publish(&bench, &[("x", Some("k"))]).await;
    assert_eq!(bench.values(&room("a")).await, [""; 0]);
}

pub async fn the_newest_event_of_the_room_is_kept<S: Store>() {
    let bench = keeping::<S>(Retain::Room).await;
    assert_eq!(bench.values(&room("a")).await, [""; 0]);
    publish(&bench, &[("x", None), ("y", None)]).await;
    assert_eq!(bench.values(&room("a")).await, ["y 2"]);
    assert_eq!(bench.values(&room("b")).await, [""; 0]);
    let retained = bench.store.broker().retained(&room("a")).await.unwrap();
    let end = bench.publish(&room("a"), "z").await;
    assert_eq!((retained.room, retained.epoch, retained.offset), (room("a"), end.epoch, 2));
}

pub async fn the_newest_event_of_each_topic_is_kept<S: Store>() {
    let bench = keeping::<S>(Retain::Topic).await;
    publish(&bench, &[("x", None), ("y", Some("k")), ("x", Some("l")), ("z", None)]).await;
    assert_eq!(bench.values(&room("a")).await, ["y 2", "x 3", "z 4"]);
}

pub async fn the_newest_event_of_each_key_is_kept<S: Store>() {
    let bench = keeping::<S>(Retain::Key).await;
    publish(&bench, &[("x", Some("k")), ("y", Some("l")), ("keyless", None), ("z", Some("k")), ("e", Some(""))]).await;
    assert_eq!(bench.values(&room("a")).await, ["y 2", "z 4", "e 5"]);
}

pub async fn the_oldest_value_goes_when_there_are_too_many<S: Store>() {
    let policy = Policy { retain: Retain::Key, retain_max: 3, ..Policy::default() };
    let bench = Bench::<S>::new(policy).await;
    for (key, kept) in [
        ("k", vec!["t 1"]),
        ("l", vec!["t 1", "t 2"]),
        ("m", vec!["t 1", "t 2", "t 3"]),
        ("k", vec!["t 2", "t 3", "t 4"]),
        ("n", vec!["t 3", "t 4", "t 5"]),
        ("n", vec!["t 3", "t 4", "t 6"]),
    ] {
        publish(&bench, &[("t", Some(key))]).await;
        assert_eq!(bench.values(&room("a")).await, kept);
    }
}

pub async fn a_removing_topic_removes<S: Store>() {
    let bench = keeping::<S>(Retain::Key).await;
    publish(&bench, &[("x", Some("k")), ("x", Some("l")), ("gone", Some("k")), ("gone", Some("unheard"))]).await;
    assert_eq!(bench.values(&room("a")).await, ["x 2"]);
    publish(&bench, &[("x", Some("k"))]).await;
    assert_eq!(bench.values(&room("a")).await, ["x 2", "x 5"], "a removing event is an event, and its key can return");

    let bench = keeping::<S>(Retain::Room).await;
    publish(&bench, &[("x", None), ("gone", None)]).await;
    assert_eq!(bench.values(&room("a")).await, [""; 0]);
}
