#![allow(clippy::unwrap_used)]

use std::{collections::HashMap, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::model::{Conflate, Payload};

fn room() -> Room {
    Room::parse("r").unwrap()
}

fn event(offset: u64, topic: &str, key: Option<&str>, bytes: usize) -> Arc<Event> {
    Arc::new(Event {
        offset,
        room: None,
        time: 0,
        topic: topic.into(),
        key: key.map(Into::into),
        payload: Payload::Binary(vec![0; bytes].into()),
        user: None,
        id: None,
    })
}

fn batcher(policy: Policy, from: u64) -> Batcher {
    Batcher::new(room(), Arc::new(policy), Position::new(Epoch::new("e"), from))
}

fn window(ms: u64) -> Policy {
    Policy { batch_window: Duration::from_millis(ms), ..Policy::default() }
}

#[test]
fn the_window_opens_with_the_first_event() {
    let mut batcher = batcher(window(100), 7);
    let start = Instant::now();
    assert_eq!(batcher.deadline(), None);
    batcher.push(Epoch::new("e"), event(8, "t", None, 1), start);
    batcher.push(Epoch::new("e"), event(9, "t", None, 1), start + Duration::from_millis(60));
    assert_eq!(batcher.deadline(), Some(start + Duration::from_millis(100)));
    assert_eq!(batcher.position().offset, 7);
    let (batch, since) = batcher.take().unwrap();
    assert_eq!((batch.after, batch.offset, batch.events.len(), since), (7, 9, 2, start));
    assert_eq!((batcher.deadline(), batcher.position().offset), (None, 9));
    assert!(batcher.take().is_none());
}

#[test]
fn without_a_window_the_deadline_is_the_arrival() {
    let mut batcher = batcher(window(0), 0);
    let start = Instant::now();
    batcher.push(Epoch::new("e"), event(1, "t", None, 1), start);
    assert_eq!(batcher.deadline(), Some(start));
}

#[test]
fn a_full_batch_does_not_wait() {
    for policy in [Policy { batch_max_events: 3, ..window(60_000) }, Policy { batch_max_bytes: 30, ..window(60_000) }] {
        let mut batcher = batcher(policy, 0);
        let start = Instant::now();
        for offset in 1..=3 {
            assert_eq!(batcher.deadline(), (offset > 1).then(|| start + Duration::from_secs(60)));
            batcher.push(Epoch::new("e"), event(offset, "t", None, 10), start);
        }
        assert_eq!(batcher.deadline(), Some(start));
    }
}

#[test]
fn a_reset_drops_what_waits() {
    let mut batcher = batcher(window(0), 0);
    batcher.push(Epoch::new("e"), event(1, "t", None, 1), Instant::now());
    batcher.reset(Position::new(Epoch::new("f"), 40));
    assert!(batcher.take().is_none() && batcher.deadline().is_none());
    batcher.push(Epoch::new("f"), event(41, "t", None, 1), Instant::now());
    let (batch, _) = batcher.take().unwrap();
    assert_eq!((batch.epoch.as_str(), batch.after, batch.offset), ("f", 40, 41));
}

#[test]
fn a_batch_has_the_epoch_of_its_last_event() {
    let mut batcher = batcher(Policy { batch_max_events: 2, ..window(0) }, 0);
    for (offset, epoch) in [(1, "e"), (2, "e"), (3, "e"), (4, "f"), (5, "f")] {
        batcher.push(Epoch::new(epoch), event(offset, "t", None, 1), Instant::now());
    }
    let batches: Vec<_> = std::iter::from_fn(|| batcher.take()).map(|(b, _)| (b.epoch.to_string(), b.offset)).collect();
    assert_eq!(batches, [("e".into(), 2), ("f".into(), 4), ("f".into(), 5)]);
}

/// What of `events` survives, written without any cleverness.
fn conflated(events: &[Arc<Event>], conflate: Conflate) -> Vec<u64> {
    let same = |a: &Event, b: &Event| match conflate {
        Conflate::None => false,
        Conflate::Topic => a.topic == b.topic,
        Conflate::Key => a.key.is_some() && (&a.topic, &a.key) == (&b.topic, &b.key),
    };
    let survives = |at: &usize| !events[at + 1..].iter().any(|later| same(&events[*at], later));
    (0..events.len()).filter(survives).map(|at| events[at].offset).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Push { topic: u8, key: Option<u8>, bytes: usize },
    TakeOne,
    TakeAll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let push = (0..3_u8, proptest::option::of(0..3_u8), 0..40_usize).prop_map(|(topic, key, bytes)| Step::Push {
        topic,
        key,
        bytes,
    });
    proptest::collection::vec(prop_oneof![8 => push, 1 => Just(Step::TakeOne), 1 => Just(Step::TakeAll)], 0..120)
}

fn conflation() -> impl Strategy<Value = Conflate> {
    prop_oneof![Just(Conflate::None), Just(Conflate::Topic), Just(Conflate::Key)]
}

proptest! {
    #[test]
    fn batches_tile_the_log_and_conflate_like_the_model(
        steps in steps(), conflate in conflation(), max_events in 1..12_usize, max_bytes in 1..200_usize, from in 0..5_u64,
    ) {
        let policy = Policy { conflate, batch_max_events: max_events, batch_max_bytes: max_bytes, ..window(50) };
        let mut batcher = batcher(policy, from);
        let (mut offset, mut covered) = (from, from);
        // What the model holds: the events pushed since the last batch covered them.
        let mut waiting: Vec<Arc<Event>> = Vec::new();
        let now = Instant::now();
        for step in steps.into_iter().chain([Step::TakeAll]) {
            let takes = match step {
                Step::Push { topic, key, bytes } => {
                    offset += 1;
                    let key = key.map(|key| key.to_string());
                    let event = event(offset, &topic.to_string(), key.as_deref(), bytes);
                    batcher.push(Epoch::new("e"), Arc::clone(&event), now);
                    waiting.push(event);
                    0
                }
                Step::TakeOne => 1,
                Step::TakeAll => usize::MAX,
            };
            for _ in 0..takes {
                let survivors = conflated(&waiting, conflate);
                let Some((batch, _)) = batcher.take() else {
                    prop_assert!(survivors.is_empty());
                    break;
                };
                prop_assert_eq!(batch.after, covered);
                covered = batch.offset;
                let taken: Vec<u64> = batch.events.iter().map(|event| event.offset).collect();
                prop_assert_eq!(&survivors[..taken.len()], &taken[..]);
                prop_assert_eq!(taken.last(), Some(&batch.offset));
                let bytes: usize = batch.events.iter().map(|event| event.payload.len()).sum();
                prop_assert!(taken.len() <= max_events && (bytes <= max_bytes || taken.len() == 1));
                waiting.retain(|event| event.offset > covered);
            }
            let sizes: HashMap<u64, usize> = waiting.iter().map(|event| (event.offset, event.payload.len())).collect();
            let survivors = conflated(&waiting, conflate);
            let bytes: usize = survivors.iter().map(|offset| sizes[offset]).sum();
            let full = survivors.len() >= max_events || bytes >= max_bytes;
            let window = Duration::from_millis(if full { 0 } else { 50 });
            prop_assert_eq!(batcher.deadline(), (!survivors.is_empty()).then(|| now + window));
        }
        prop_assert_eq!((covered, batcher.position().offset), (offset, offset));
    }
}
