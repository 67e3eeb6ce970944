//! Pods of the build before this one and of this one publish to the same rooms, as in a rolling upgrade: nothing is lost, repeated or
//! reordered, and each reads all of it. The scripts of the build before are in `tests/redis/lua/before/`.

use roomcast::testing::broker::redis::entry::encode;
use testkit::redis::{Link, Reply};

use super::{
    appending::{assert_bytes, key},
    *,
};

/// Publishes as a pod of the build before.
struct OldPod {
    link: Link,
    number: u64,
    attempts: u64,
}

const ROOM: &str = include_str!("../lua/before/room.lua");

/// A log's size and bytes.
type Bounds = (usize, usize);

const WIDE: Bounds = (1_000, 1 << 20);

impl OldPod {
    fn new(server: &Node, number: u64) -> Self {
        Self { link: server.link().unwrap(), number, attempts: 0 }
    }

    fn run(&mut self, script: &str, keys: &[String], args: &[String]) -> Reply {
        let text = format!("{ROOM}{script}");
        let count = keys.len().to_string();
        let words = ["EVAL", &text, &count].into_iter();
        let command: Vec<&str> = words.chain(keys.iter().chain(args).map(String::as_str)).collect();
        self.link.call(&command).unwrap().ok()
    }

    fn publish(&mut self, room: &Room, publication: &Publication, (size, bytes): Bounds) -> Position {
        self.attempts += 1;
        let once = match &publication.idempotency_key {
            Some(once) => format!("{} {}", key(room, "once"), once.text()),
            None => format!("{} {:x}.{:x}", key(room, "try"), self.number, self.attempts),
        };
        let event = String::from_utf8(encode(publication, None).unwrap().to_vec()).unwrap();
        let keys = [key(room, "room"), key(room, "log"), once, key(room, "values"), key(room, "order")];
        let args = [
            "ba5eba5eba5e",
            "604800000",
            "30000",
            &key(room, "on"),
            "SPUBLISH",
            &event,
            &size.to_string(),
            &bytes.to_string(),
            "300000",
            "100",
            &format!("t{}", publication.topic),
            "0",
        ]
        .map(str::to_owned);
        let answer = self.run(include_str!("../lua/before/publish.lua"), &keys, &args);
        // As the build before reads it: a second line is what was refused of an event that is in its log.
        let (epoch, offset) = answer.text().split('\n').next().unwrap().split_once(' ').unwrap();
        Position::new(roomcast::testing::model::Epoch::new(epoch), offset.parse().unwrap())
    }

    /// The offsets and the payload's end of each event of the log.
    fn history(&mut self, room: &Room) -> Vec<u64> {
        let keys = [key(room, "room"), key(room, "log")];
        let args = ["ba5eba5eba5e", "90000", "1000", "300000", "", "0", "9007199254740991", "100000", "100000000"]
            .map(str::to_owned);
        let answer = self.run(include_str!("../lua/before/history.lua"), &keys, &args);
        let entries = answer.list()[5..].chunks_exact(2);
        entries.map(|entry| entry[0].text().split('-').next().unwrap().parse().unwrap()).collect()
    }
}

fn policy((history_size, history_bytes): Bounds) -> Policy {
    Policy { history_size, history_bytes, retain: Retain::Topic, retain_max: 100, ..Policy::default() }
}

/// Both publish to one room at the same time; what each of them answered, in the order of the log.
async fn both_publish(server: &Arc<Standalone>, bounds: Bounds, each: usize) -> (Pod, Room, Vec<(u64, String)>) {
    let pod = Pod::new(alone(server), policy(bounds));
    pod.well().await;
    let room = room("a");
    pod.subscribed(&room).await;
    let old: Vec<_> = (0..2)
        .map(|n| {
            let (server, room) = (Arc::clone(server), room.clone());
            tokio::task::spawn_blocking(move || {
                let mut old = OldPod::new(&server, n);
                let topic = |at| format!("old{n}.{at}");
                let publish = |at| (old.publish(&room, &publication(&topic(at)), bounds), topic(at));
                (0..each).map(publish).collect::<Vec<_>>()
            })
        })
        .collect();
    let new = (0..4).map(|n| {
        let (pod, room) = (&pod, &room);
        async move {
            let mut published = Vec::new();
            for at in 0..each {
                let topic = format!("new{n}.{at}");
                published.push((pod.publish(room, &topic).await.unwrap(), topic));
            }
            published
        }
    });
    let mut published = futures_util::future::join_all(new).await.concat();
    for old in old {
        published.extend(old.await.unwrap());
    }
    let epoch = published[0].0.epoch.clone();
    assert!(published.iter().all(|(position, _)| position.epoch == epoch));
    let mut published: Vec<_> = published.into_iter().map(|(position, topic)| (position.offset, topic)).collect();
    published.sort_unstable();
    let last = Position::new(epoch, published.len() as u64);
    assert!(published.iter().map(|(offset, _)| *offset).eq(1..=last.offset), "an offset is missing, or given twice");
    pod.reaches(&room, &last).await;
    assert_eq!(pod.ear.of(&room).holes, 0);
    let heard = pod.ear.of(&room).topics;
    assert!(heard.iter().eq(published.iter().map(|(_, topic)| topic)), "what was heard is not what was published");
    (pod, room, published)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn both_layouts_share_a_room_under_load() {
    let server = Arc::new(tokio::task::block_in_place(Standalone::start));
    let (pod, room, published) = both_publish(&server, WIDE, 100).await;
    let log = log_of(&pod, &room).await;
    assert!(log.complete && log.events.len() == published.len());
    assert!(topics(&log).iter().eq(published.iter().map(|(_, topic)| topic)), "the log is not what was published");
    let old = tokio::task::block_in_place(|| OldPod::new(&server, 9).history(&room));
    assert!(old.iter().copied().eq(1..=published.len() as u64), "the build before reads something else");
    tokio::task::block_in_place(|| assert_bytes(&server, &room));
    assert_eq!(pod.broker.retained(&room).await.unwrap().events.len(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn both_layouts_trim_one_log() {
    for bounds in [(30, 1 << 20), (1_000, 3_000)] {
        let server = Arc::new(tokio::task::block_in_place(Standalone::start));
        let (pod, room, published) = both_publish(&server, bounds, 60).await;
        let log = log_of(&pod, &room).await;
        let end = published.len() as u64;
        assert!(log.end == end && log.events.len() >= 20 && log.events.len() <= 60, "{bounds:?}: {log:?}");
        let old = tokio::task::block_in_place(|| {
            assert_bytes(&server, &room);
            OldPod::new(&server, 9).history(&room)
        });
        assert_eq!(old.last(), Some(&end));
    }
}

/// What one wrote counts for the other: positions, idempotency keys, times to live.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_layout_wrote_counts_for_the_other() {
    let server = tokio::task::block_in_place(Standalone::start);
    let pod = Pod::new(alone(&server), policy(WIDE));
    pod.well().await;
    let room = room("a");
    let keyed = |key: &str| Publication { idempotency_key: Some(key.into()), ..publication("t") };
    let mut old = tokio::task::block_in_place(|| OldPod::new(&server, 1));
    let mut old_publish = |key: &str| tokio::task::block_in_place(|| old.publish(&room, &keyed(key), WIDE));
    let first = old_publish("one");
    assert_eq!(pod.broker.publish(&room, keyed("one")).await.unwrap(), first);
    let second = pod.broker.publish(&room, keyed("two")).await.unwrap();
    assert_eq!((second.offset, old_publish("two")), (2, second.clone()));
    assert_eq!(second.epoch, first.epoch);
    // The build before says again at each event how long the log lives: shorter than this one, which says it now and then.
    let left = || tokio::task::block_in_place(|| server.call(&["PTTL", &key(&room, "log")]).number());
    assert!(left() > 330_000);
    assert_eq!(old_publish("three").offset, 3);
    assert!(left() <= 300_000);
    tokio::task::block_in_place(|| server.call(&["PEXPIRE", &key(&room, "log"), "5000"]));
    assert_eq!(pod.broker.publish(&room, keyed("four")).await.unwrap().offset, 4);
    assert!(left() > 330_000);
    assert_eq!(log_of(&pod, &room).await.events.len(), 4);
}
