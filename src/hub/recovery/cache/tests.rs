//! A shared log read in pages, from wherever a client stopped.

#![allow(clippy::unwrap_used)]

use arc_swap::ArcSwap;

use super::*;
use crate::{
    broker::{Deliver, Delivery, memory},
    config::Policies,
    model::{Epoch, Payload, Publication},
};

struct Nowhere;

impl Deliver for Nowhere {
    fn deliver(&self, _: &Room, _: Delivery) {}
}

fn recoveries() -> Recoveries {
    Recoveries::new(&Arc::new(Budget::new(1 << 30)))
}

fn room(name: &str) -> Room {
    Room::parse(name).unwrap()
}

/// A broker whose rooms share a log that keeps so many events, and the policy.
fn broker(history_size: usize) -> (memory::MemoryBroker, Arc<Policy>) {
    let policy = Policy { log: Some(room("log")), history_size, history_bytes: 1 << 30, ..Policy::default() };
    let policies = Arc::new(ArcSwap::from_pointee(Policies::new(Vec::new(), policy.clone())));
    let broker =
        memory::MemoryBroker::new(memory::MemoryLimits::default(), policies, Arc::new(Nowhere), Arc::new(|| 1))
            .unwrap();
    (broker, Arc::new(policy))
}

async fn publish(broker: &memory::MemoryBroker, to: &str, bytes: usize) -> Position {
    let payload = Payload::Binary(vec![7; bytes].into());
    let publication =
        Publication { topic: "t".into(), key: None, payload, user: None, id: None, idempotency_key: None };
    broker.publish(&room(to), publication).await.unwrap()
}

fn offsets(missed: Missed) -> Option<Vec<Offset>> {
    match missed {
        Missed::All(broadcasts) => Some(broadcasts.iter().map(|b| b.range().unwrap().offset).collect()),
        Missed::Gone => None,
    }
}

#[tokio::test]
async fn what_rooms_missed_is_found_on_whatever_page_and_nothing_else() {
    let (broker, policy) = broker(700);
    let mut last = None;
    // One of seven is for a, one for b.
    for n in 1..=1_000_u64 {
        let to = if n % 7 == 0 {
            "a"
        } else if n % 7 == 3 {
            "b"
        } else {
            "c"
        };
        last = Some(publish(&broker, to, 10).await);
    }
    let target = last.unwrap();
    let recoveries = recoveries();
    let missed = async |epoch: &Epoch, offset: Offset, wanted: &[(&str, Offset)]| {
        let wanted = wanted.iter().map(|(name, floor)| (room(name), *floor)).collect();
        let since = Since { epoch: epoch.clone(), offset };
        let log = room("log");
        let missed = recoveries.missed_of_parts(&broker, &policy, &log, &since, &target, &wanted).await;
        offsets(missed.unwrap())
    };
    let of = |from: Offset, rest: &[Offset]| -> Option<Vec<Offset>> {
        Some((from + 1..=1_000).filter(|n| rest.contains(&(n % 7))).collect())
    };
    let epoch = &target.epoch;
    for from in [300, 301, 511, 512, 513, 767, 900, 999, 1_000] {
        assert_eq!(missed(epoch, from, &[("a", 0)]).await, of(from, &[0]), "{from}");
        assert_eq!(missed(epoch, from, &[("a", 0), ("b", 0)]).await, of(from, &[0, 3]), "{from}");
    }
    // A client that joined a room later than it stopped gets nothing of what was before.
    let mut expected = of(400, &[0]).unwrap();
    expected.extend(of(800, &[3]).unwrap());
    expected.sort_unstable();
    assert_eq!(missed(epoch, 400, &[("a", 0), ("b", 800)]).await, Some(expected));
    // Trimmed, another log's, or beyond the end: never a part.
    assert_eq!(missed(epoch, 299, &[("a", 0)]).await, None);
    assert_eq!(missed(epoch, 0, &[("a", 0)]).await, None);
    assert_eq!(missed(&Epoch::new("other"), 900, &[("a", 0)]).await, None);
    assert_eq!(missed(&Epoch::new("other"), 1_000, &[("a", 0)]).await, None);
    assert_eq!(missed(epoch, 1_001, &[("a", 0)]).await, None);
    assert_eq!(missed(epoch, 300, &[]).await, Some(vec![]));
    assert!(recoveries.pages.len() <= 12, "whoever stops on the same page shares it");
}

#[tokio::test]
async fn what_is_brought_back_is_bounded_whatever_the_log_has() {
    let (broker, policy) = broker(10_000);
    let first = publish(&broker, "c", 1).await;
    for _ in 0..plan::MAX_EVENTS {
        publish(&broker, "a", 1).await;
    }
    let (log, recoveries) = (room("log"), recoveries());
    let since = Since { epoch: first.epoch, offset: first.offset };
    let wanted = HashMap::from([(room("a"), 0)]);
    for (large, found) in [(0, Some(plan::MAX_EVENTS)), (1, None)] {
        let mut target = publish(&broker, "b", 1).await;
        for _ in 0..large {
            target = publish(&broker, "a", 1).await;
        }
        let missed = recoveries.missed_of_parts(&broker, &policy, &log, &since, &target, &wanted).await.unwrap();
        assert_eq!(offsets(missed).map(|offsets| offsets.len()), found);
    }
    // Events that fill a page with their bytes are read one after the other.
    let since = publish(&broker, "b", 1).await;
    for _ in 0..5 {
        publish(&broker, "b", 7 << 20).await;
    }
    publish(&broker, "a", plan::MAX_BYTES).await;
    let target = publish(&broker, "b", 1).await;
    let since = Since { epoch: since.epoch, offset: since.offset };
    let missed = recoveries.missed_of_parts(&broker, &policy, &log, &since, &target, &wanted).await.unwrap();
    assert_eq!(offsets(missed), Some(vec![target.offset - 1]));
    let target = publish(&broker, "a", 1).await;
    let missed = recoveries.missed_of_parts(&broker, &policy, &log, &since, &target, &wanted).await.unwrap();
    assert_eq!(offsets(missed), None);
}

#[tokio::test]
async fn what_was_read_of_a_log_is_read_again_once_it_has_deleted_events() {
    let ((broker, policy), recoveries) = (broker(700), recoveries());
    let (last, wanted) = (publish(&broker, "a", 10).await, HashMap::from([(room("a"), 0)]));
    let since = Since { epoch: last.epoch.clone(), offset: 0 };
    let read = async || {
        let missed = recoveries.missed_of_parts(&broker, &policy, &room("log"), &since, &last, &wanted).await.unwrap();
        let Missed::All(found) = missed else { panic!("it is there") };
        found
    };
    let before = read().await;
    assert!(Arc::ptr_eq(&before[0], &read().await[0]));
    recoveries.forget(&room("a"));
    assert!(Arc::ptr_eq(&before[0], &read().await[0]), "of another log");
    recoveries.forget(&room("log"));
    assert!(!Arc::ptr_eq(&before[0], &read().await[0]));
}
