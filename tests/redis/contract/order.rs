//! One order, every event once, and an answer that can be trusted.

use std::{collections::HashMap, sync::Arc, time::Duration};

use roomcast::testing::{
    broker::{BrokerError, Delivery},
    model::{Event, Member, Policy, Publication, Room, Signal, SignalAct},
};

use super::harness::{
    Bench, Store, a_moment, assert_a_stream, binary, events, everything, json, offsets, publication, room,
};

pub async fn events_arrive_in_order_once_and_whole<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let room = room("trip:ü");
    let start = bench.subscribed(&room).await;
    assert_eq!(start.offset, 0);
    let full = Publication {
        topic: "moved".into(),
        key: Some("bus \"7\"\n".into()),
        payload: json("{ \"a\" : [1.0e0, \"\\u00e9\"] }"),
        user: Some("ann".into()),
        id: Some("p-1".into()),
        idempotency_key: Some("once".into()),
    };
    let blob = Publication { payload: binary(70_000), ..publication("blob") };
    bench.try_publish(&room, full.clone()).await.unwrap();
    bench.try_publish(&room, blob.clone()).await.unwrap();
    for _ in 0..100 {
        bench.publish(&room, "t").await;
    }
    let delivered = bench.seen.events_up_to(&room, 102).await;
    assert_a_stream(&bench.seen.of(&room));
    assert_eq!(delivered.len(), 102);
    let expected =
        |publication: Publication, event: &Event| Event::from_publication(publication, event.offset, event.time, None);
    assert_eq!(*delivered[0].1, expected(full, &delivered[0].1));
    assert_eq!(*delivered[1].1, expected(blob, &delivered[1].1));
    // The first event may name another epoch than the offset 0 before it.
    let epoch = &delivered[0].0;
    assert!(delivered.iter().all(|(of, event)| of == epoch && event.time > 1_600_000_000_000));
}

pub async fn the_answer_is_the_position_of_the_event<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let room = room("a");
    bench.subscribed(&room).await;
    let mut positions = Vec::new();
    for n in 0..20 {
        positions.push(bench.publish(&room, &n.to_string()).await);
    }
    let delivered = bench.seen.events_up_to(&room, 20).await;
    for (n, (position, (epoch, event))) in positions.iter().zip(&delivered).enumerate() {
        assert_eq!((&position.epoch, position.offset, &*event.topic), (epoch, event.offset, &*n.to_string()));
    }
}

/// Many at once: every subscriber, the log and the publishers agree on one order, and a publisher's own events are in
/// the order in which it sent them.
pub async fn concurrent_publishers_see_one_order<S: Store>() {
    const PUBLISHERS: usize = 8;
    const EACH: usize = 100;
    let bench = Bench::<S>::new(Policy::default()).await;
    let room = room("busy");
    bench.subscribed(&room).await;
    let publisher = |name: usize| {
        let (bench, room) = (Arc::clone(&bench), room.clone());
        tokio::spawn(async move {
            let mut answered = Vec::new();
            for n in 0..EACH {
                let id = format!("{name}-{n}");
                let publication = Publication { id: Some(id.clone().into()), ..publication("t") };
                answered.push((bench.try_publish(&room, publication).await.unwrap().offset, id));
            }
            answered
        })
    };
    let publishers: Vec<_> = (0..PUBLISHERS).map(publisher).collect();
    let mut answered = HashMap::new();
    for publisher in publishers {
        let own = publisher.await.unwrap();
        assert!(own.is_sorted_by(|a, b| a.0 < b.0), "a publisher's events changed places");
        answered.extend(own);
    }
    let all = (PUBLISHERS * EACH) as u64;
    let delivered: Vec<_> = bench.seen.events_up_to(&room, all).await.into_iter().map(|(_, event)| event).collect();
    assert_a_stream(&bench.seen.of(&room));
    assert_eq!(offsets(&delivered), (1..=all).collect::<Vec<_>>());
    for event in &delivered {
        assert_eq!(event.id.as_deref(), Some(&*answered[&event.offset]));
    }
    assert_eq!(bench.history(&room, everything()).await.events, delivered);
}

pub async fn rooms_count_apart<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let rooms: Vec<Room> = (0..20).map(|n| room(&format!("r:{n}"))).collect();
    for room in &rooms {
        bench.subscribed(room).await;
    }
    for round in 1..=3 {
        for room in &rooms {
            assert_eq!(bench.publish(room, room.as_str()).await.offset, round);
        }
    }
    for room in &rooms {
        let delivered = bench.seen.events_up_to(room, 3).await;
        assert_eq!(delivered.len(), 3);
        assert!(delivered.iter().all(|(_, event)| *event.topic == *room.as_str()));
    }
}

pub async fn times_never_turn_back<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let room = room("a");
    bench.publish(&room, "t").await;
    bench.store.pass(Duration::from_millis(20)).await;
    for _ in 0..20 {
        bench.publish(&room, "t").await;
    }
    let times: Vec<_> = bench.history(&room, everything()).await.events.iter().map(|event| event.time).collect();
    assert!(times.is_sorted() && times[20] >= times[0] + 20, "{times:?}");
}

pub async fn an_event_above_the_log_is_refused_whole<S: Store>() {
    let bench = Bench::<S>::new(Policy { history_bytes: 5_000, ..Policy::default() }).await;
    let room = room("a");
    bench.subscribed(&room).await;
    bench.publish(&room, "before").await;
    let large = Publication { payload: binary(5_000), ..publication("large") };
    let refused = bench.try_publish(&room, large).await;
    assert!(matches!(refused, Err(BrokerError::TooLarge { limit: 5_000, .. })), "{refused:?}");
    assert_eq!(bench.publish(&room, "after").await.offset, 2);
    let topics: Vec<_> = bench.seen.events_up_to(&room, 2).await.iter().map(|(_, e)| e.topic.to_string()).collect();
    assert_eq!(topics, ["before", "after"]);
    assert_eq!(bench.history(&room, everything()).await.events.len(), 2, "the log lost what it had");
}

pub async fn an_event_without_a_log_is_delivered<S: Store>() {
    let bench = Bench::<S>::new(Policy { history_size: 0, history_bytes: 10, ..Policy::default() }).await;
    let room = room("a");
    bench.subscribed(&room).await;
    for size in [1, 10_000] {
        let event = Publication { payload: binary(size), ..publication("t") };
        bench.try_publish(&room, event).await.unwrap();
    }
    let delivered = bench.seen.events_up_to(&room, 2).await;
    assert_eq!(delivered.iter().map(|(_, event)| event.payload.len()).collect::<Vec<_>>(), [1, 10_000]);
    a_moment().await;
    assert_eq!(events(&bench.seen.of(&room)).count(), 2);
}

/// Between two events of the log, with the user whom it is kept from, and without a place in the log.
pub async fn an_announcement_is_in_no_log<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let (room, elsewhere) = (room("a"), room("b"));
    bench.subscribed(&room).await;
    bench.publish(&room, "first").await;
    for except in ["ann", "two\nlines", ""] {
        let passing = Publication { key: Some("k".into()), ..publication("passing") };
        bench.store.broker().publish_unlogged(&room, passing, except.into()).await.unwrap();
    }
    // Nobody is there.
    bench.store.broker().publish_unlogged(&elsewhere, publication("passing"), "ann".into()).await.unwrap();
    let last = bench.publish(&room, "last").await;
    assert_eq!(last.offset, 2);
    bench.seen.events_up_to(&room, 2).await;
    let seen = bench.seen.of(&room);
    assert_a_stream(&seen);
    let told: Vec<_> = seen
        .iter()
        .filter_map(|delivery| match delivery {
            Delivery::Event { event, .. } => Some(event.topic.to_string()),
            Delivery::Unlogged { publication, except } => {
                assert_eq!((publication.key.as_deref(), &publication.payload), (Some("k"), &json("1")));
                Some(format!("{} but for {except:?}", publication.topic))
            }
            _ => None,
        })
        .collect();
    let passing = |except: &str| format!("passing but for {:?}", Some(except));
    assert_eq!(told, ["first".to_owned(), passing("ann"), passing("two\nlines"), passing(""), "last".to_owned()]);
    let log = bench.history(&room, everything()).await;
    assert!(log.events.iter().all(|event| &*event.topic != "passing"), "{log:?}");
    assert!(bench.seen.of(&elsewhere).is_empty());
}

/// As it was sent, to those that are there, and without a place in the log.
pub async fn a_signal_is_delivered_and_in_no_log<S: Store>() {
    let bench = Bench::<S>::new(Policy::default()).await;
    let (room, elsewhere) = (room("a"), room("b"));
    bench.subscribed(&room).await;
    bench.publish(&room, "first").await;
    let data = [Some(json("{\"in\": \"two\\nlines\"}")), Some(binary(900)), None];
    let acts = [SignalAct::Show(60_000), SignalAct::Stop, SignalAct::Leave];
    let user = |named: bool| named.then(|| "two\nlines".into());
    let signals: Vec<_> = data
        .into_iter()
        .zip(acts)
        .map(|(data, act)| {
            let sender = Member { connection: "5f2c9b1e77d0a346".into(), user: user(act != SignalAct::Stop) };
            Signal { topic: "typing now".into(), sender, data, act }
        })
        .collect();
    for signal in &signals {
        bench.store.broker().signal(&room, signal.clone()).await.unwrap();
    }
    // Nobody is there.
    bench.store.broker().signal(&elsewhere, signals[0].clone()).await.unwrap();
    let last = bench.publish(&room, "last").await;
    assert_eq!(last.offset, 2);
    bench.seen.events_up_to(&room, 2).await;
    let seen = bench.seen.of(&room);
    assert_a_stream(&seen);
    let signalled: Vec<Signal> = seen
        .into_iter()
        .filter_map(|delivery| if let Delivery::Signal(signal) = delivery { Some(*signal) } else { None })
        .collect();
    assert_eq!(signalled, signals);
    assert_eq!(bench.history(&room, everything()).await.events.len(), 2);
    assert!(bench.seen.of(&elsewhere).is_empty());
}

/// Each has its own answer, and those of one log their order.
pub async fn events_published_together_are_answered_each<S: Store>() {
    let bench = Bench::<S>::new(Policy { history_bytes: 5_000, ..Policy::default() }).await;
    let rooms = [room("a"), room("b"), room("c")];
    for room in &rooms {
        bench.subscribed(room).await;
    }
    let large = || Publication { payload: binary(9_000), ..publication("large") };
    let mut events: Vec<_> = (0..30).map(|n| (rooms[n % 3].clone(), publication(&n.to_string()))).collect();
    events.insert(12, (rooms[0].clone(), large()));
    let answers = bench.store.broker().publish_all(events).await;
    assert_eq!(answers.len(), 31);
    for (n, answer) in answers.iter().enumerate() {
        match (n, answer) {
            (12, answer) => assert!(matches!(answer, Err(BrokerError::TooLarge { .. })), "{answer:?}"),
            (n, Ok(position)) => assert_eq!(position.offset, (n - usize::from(n > 12)) as u64 / 3 + 1),
            (n, Err(error)) => panic!("{n}: {error}"),
        }
    }
    for (n, room) in rooms.iter().enumerate() {
        let told = bench.seen.events_up_to(room, 10).await;
        assert!(told.iter().map(|(_, event)| event.topic.to_string()).eq((0..10).map(|at| (at * 3 + n).to_string())));
    }
    assert!(bench.store.broker().publish_all(Vec::new()).await.is_empty());
}
