//! Rooms in which nothing was ever published: clients may make their names up, so that Redis stores nothing for them.

use super::*;

/// How many partitions there are: each may have an era.
const PARTITIONS: usize = 256;

fn keys(server: &Node, pattern: &str) -> Vec<String> {
    server.call(&["KEYS", pattern]).list().iter().map(|key| key.text().to_owned()).collect()
}

fn era_of(room: &Room) -> String {
    format!("fleet:{{{}}}:era", Partition::of(room).tag())
}

#[tokio::test]
async fn rooms_of_made_up_names_leave_no_keys() {
    let server = Standalone::start();
    let pod = Pod::new(alone(&server), Policy { retain: Retain::Key, ..Policy::default() });
    pod.well().await;
    let rooms: Vec<Room> = (0..2_000).map(|n| room(&format!("made-up:{n}"))).collect();
    rooms.iter().for_each(|room| pod.broker.subscribe(room));
    until("all subscriptions stand", || rooms.iter().all(|room| pod.ear.of(room).started > 0)).await;
    let query = HistoryQuery { since: None, until: None, max_events: 10, max_bytes: 1_000 };
    for room in &rooms[..300] {
        let history = pod.broker.history(room, query.clone()).await.unwrap();
        let retained = pod.broker.retained(room).await.unwrap();
        assert_eq!((history.end, retained.offset), (0, 0));
        assert_eq!(
            (Some(&history.epoch), &retained.epoch),
            (pod.ear.of(room).position.map(|p| p.epoch).as_ref(), &history.epoch)
        );
    }
    assert_eq!(keys(&server, "fleet:*made-up*"), Vec::<String>::new());
    let eras = keys(&server, "fleet:*:era");
    assert!((1..=PARTITIONS).contains(&eras.len()), "{}", eras.len());
    assert!(eras.iter().all(|era| server.call(&["PTTL", era]).number() > 0), "each ends by itself");
    // An event writes what its room needs, and no more.
    pod.publish(&rooms[0], "t").await.unwrap();
    let mut written = keys(&server, "fleet:*made-up*");
    written.sort_unstable();
    let place = format!("fleet:{{{}}}:", Partition::of(&rooms[0]).tag());
    assert_eq!(written, [format!("{place}log:made-up:0"), format!("{place}room:made-up:0")]);
}

#[tokio::test]
async fn the_first_events_follow_the_position_before_them() {
    let server = Standalone::start();
    let (one, two) = (Pod::ready(alone(&server)).await, Pod::ready(alone(&server)).await);
    let a = room("a");
    one.subscribed(&a).await;
    two.subscribed(&a).await;
    let before = one.ear.of(&a).position.unwrap();
    assert_eq!((before.offset, Some(&before)), (0, two.ear.of(&a).position.as_ref()), "all pods say the same");
    let still_empty = one.since(&a, &before).await;
    assert!(still_empty.complete && still_empty.events.is_empty(), "{still_empty:?}");
    for topic in ["1", "2", "3"] {
        one.publish(&a, topic).await.unwrap();
    }
    for pod in [&one, &two] {
        let history = pod.since(&a, &before).await;
        let offsets: Vec<u64> = history.events.iter().map(|event| event.offset).collect();
        assert_eq!((history.complete, history.after, offsets), (true, 0, vec![1, 2, 3]));
        assert_ne!(history.epoch, before.epoch);
        until("all three came", || pod.ear.of(&a).topics == ["1", "2", "3"]).await;
        assert_eq!(pod.ear.of(&a).holes, 0);
    }
    // Clients that keep the epoch of their `subscribed` count on it too.
    let kept = one.since(&a, &Position { offset: 2, ..before.clone() }).await;
    assert_eq!((kept.complete, kept.after, kept.events.len()), (true, 2, 1));
    assert!(!one.since(&a, &Position { offset: 4, ..before.clone() }).await.complete, "there is no such event");
    // A position that no log of this fleet gave.
    for epoch in ["n0.1", "nfeedfeedfeed.1", "n", "n.", "nx.1", "nfeedfeedfeed.99999999999999999999", ""] {
        let made_up = Position::new(roomcast::testing::model::Epoch::new(epoch), 0);
        assert!(!one.since(&a, &made_up).await.complete || epoch.is_empty(), "{epoch}");
    }
}

#[tokio::test]
async fn a_position_before_redis_was_emptied_is_never_exact() {
    let server = Standalone::start();
    let pod = Pod::ready(alone(&server)).await;
    let a = room("a");
    pod.subscribed(&a).await;
    let before = pod.ear.of(&a).position.unwrap();
    pod.publish(&a, "lost").await.unwrap();
    server.call(&["FLUSHALL"]);
    let emptied = pod.since(&a, &before).await;
    assert!(!emptied.complete, "an event lies between: {emptied:?}");
    pod.publish(&a, "next").await.unwrap();
    let history = pod.since(&a, &before).await;
    assert!(!history.complete && history.events.len() == 1, "{history:?}");
    assert_eq!(keys(&server, &era_of(&a)).len(), 1, "drawn anew");
}

#[tokio::test]
async fn a_position_is_forgotten_when_a_room_could_have_come_and_gone_since() {
    let server = Standalone::start();
    let settings = Settings { room_ttl: Duration::from_secs(2), ..alone(&server) };
    let pod = Pod::new(settings, Policy::default());
    pod.well().await;
    let (a, other) = (room("a"), room("a:other"));
    pod.subscribed(&a).await;
    let before = pod.ear.of(&a).position.unwrap();
    // Two halves of the time for which a record lasts.
    let mut steps = HashMap::new();
    while steps.len() < 4 {
        let here = pod.since(&a, &before).await;
        steps.insert(here.epoch.as_str().to_owned(), here.complete);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!pod.since(&a, &before).await.complete);
    pod.publish(&a, "t").await.unwrap();
    assert!(!pod.since(&a, &before).await.complete, "events of an earlier record may lie between");
    // What it stands at now is as good as ever.
    let now = pod.broker.retained(&other).await.unwrap();
    assert_eq!(now.offset, 0);
}
