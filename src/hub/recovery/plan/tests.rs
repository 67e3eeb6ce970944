#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    task::{Context, Poll, Waker},
    time::Instant,
};

use arc_swap::ArcSwap;
use proptest::prelude::*;

use super::*;
use crate::{
    broker::{Answer, Broker, Deliver, Delivery, HistoryQuery, memory},
    config::Policies,
    hub::sequencer::batcher::Batcher,
    model::{Conflate, Epoch, Event, Payload, Publication},
};

struct Nowhere;

impl Deliver for Nowhere {
    fn deliver(&self, _: &Room, _: Delivery) {}
}

fn room() -> Room {
    Room::parse("r").unwrap()
}

fn at_once<T>(mut answer: Answer<'_, T>) -> T {
    match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.unwrap(),
        Poll::Pending => panic!("the memory broker answers at once"),
    }
}

fn broker(policy: &Policy) -> memory::MemoryBroker {
    let policies = Arc::new(ArcSwap::from_pointee(Policies::new(Vec::new(), policy.clone())));
    memory::MemoryBroker::new(memory::MemoryLimits::default(), policies, Arc::new(Nowhere), Arc::new(|| 1)).unwrap()
}

fn publish(broker: &memory::MemoryBroker, topic: u8, key: Option<u8>, bytes: usize) -> Position {
    let publication = Publication {
        topic: topic.to_string().into(),
        key: key.map(|key| key.to_string().into()),
        payload: Payload::Binary(vec![topic; bytes].into()),
        user: None,
        id: None,
        idempotency_key: None,
    };
    at_once(broker.publish(&room(), publication))
}

fn ask(broker: &memory::MemoryBroker, since: &Since, target: &Position) -> History {
    let query = HistoryQuery {
        since: Some(since.clone()),
        until: Some(target.offset),
        max_events: MAX_EVENTS,
        max_bytes: MAX_BYTES,
    };
    at_once(broker.history(&room(), query))
}

fn since(position: &Position, offset: u64) -> Since {
    Since { epoch: position.epoch.clone(), offset }
}

fn exactly(recovered: Recovered) -> Option<Vec<Batch>> {
    match recovered {
        Recovered::Exactly(batches) => Some(batches),
        Recovered::Not => None,
    }
}

#[test]
fn nothing_missed_is_recovered_without_a_batch() {
    let policy = Arc::new(Policy { history_size: 0, ..Policy::default() });
    let broker = broker(&policy);
    let end = publish(&broker, 1, None, 1);
    let since = since(&end, 1);
    let batches = exactly(plan(&room(), ask(&broker, &since, &end), &since, &end, &policy));
    assert_eq!(batches.map(|batches| batches.len()), Some(0));
}

#[test]
fn what_cannot_be_had_whole_is_not_recovered() {
    let policy = Arc::new(Policy { history_size: 2_000, history_bytes: 1 << 30, ..Policy::default() });
    let broker = broker(&policy);
    let mut end = publish(&broker, 1, None, 1);
    let judge = |since: &Since, end: &Position| exactly(plan(&room(), ask(&broker, since, end), since, end, &policy));
    assert!(judge(&since(&end, 2), &end).is_none(), "ahead of the log");
    assert!(judge(&Since { epoch: Epoch::new("other"), offset: 0 }, &end).is_none(), "another epoch");
    assert!(judge(&since(&end, 0), &Position::new(Epoch::new("other"), 1)).is_none(), "the stream is in another epoch");
    for _ in 0..MAX_EVENTS {
        end = publish(&broker, 1, None, 1);
    }
    assert!(judge(&since(&end, 0), &end).is_none(), "one event too many");
    assert_eq!(judge(&since(&end, 1), &end).unwrap().len(), MAX_EVENTS.div_ceil(policy.batch_max_events));
    assert!(judge(&since(&end, 9), &Position { offset: 8, ..end.clone() }).is_none(), "ahead of the stream");
    for _ in 0..2 {
        end = publish(&broker, 1, None, MAX_BYTES / 2);
    }
    assert!(judge(&since(&end, end.offset - 2), &end).is_some());
    end = publish(&broker, 1, None, 1);
    assert!(judge(&since(&end, end.offset - 3), &end).is_none(), "one byte too many");
    for _ in 0..policy.history_size {
        end = publish(&broker, 1, None, 1);
    }
    assert!(judge(&since(&end, 5), &end).is_none(), "trimmed");
}

proptest! {
    /// A client that was away for (`since`, `target`] and then stays ends up like one that never left: it saw every
    /// event, or where the room conflates the newest of every subject, in ranges that join on to one another.
    #[test]
    fn who_comes_back_sees_what_who_stayed_saw(
        events in proptest::collection::vec((0..3_u8, proptest::option::of(0..3_u8), 0..50_usize), 1..80),
        away in any::<(prop::sample::Index, prop::sample::Index)>(),
        conflate in prop_oneof![Just(Conflate::None), Just(Conflate::Topic), Just(Conflate::Key)],
        history_size in 1..60_usize, max_events in 1..20_usize, max_bytes in 1..200_usize,
    ) {
        let policy = Arc::new(Policy {
            conflate, history_size, batch_max_events: max_events, batch_max_bytes: max_bytes, ..Policy::default()
        });
        let broker = broker(&policy);
        let mut end = None;
        for (topic, key, bytes) in &events {
            end = Some(publish(&broker, *topic, *key, *bytes));
        }
        let end = end.unwrap();
        let (a, b) = (away.0.index(events.len() + 1) as u64, away.1.index(events.len() + 1) as u64);
        let (left, target) = (since(&end, a.min(b)), Position { offset: a.max(b), ..end.clone() });

        let history = ask(&broker, &left, &target);
        let oldest_kept = end.offset.saturating_sub(history_size as u64);
        let Some(mut batches) = exactly(plan(&room(), history, &left, &target, &policy)) else {
            prop_assert!(left.offset < oldest_kept && left.offset < target.offset, "the log had it all");
            return Ok(());
        };
        // A client that missed nothing needs nothing of the log.
        prop_assert!(left.offset >= oldest_kept || left.offset == target.offset, "a part was taken for all");
        for batch in &batches {
            let bytes: usize = batch.events.iter().map(|event| event.payload.len()).sum();
            prop_assert!(batch.events.len() <= max_events && (bytes <= max_bytes || batch.events.len() == 1));
        }

        // The live stream goes on from the target.
        let mut live = Batcher::new(room(), Arc::clone(&policy), target.clone());
        let rest = ask(&broker, &since(&end, target.offset), &end);
        if rest.complete {
            for event in rest.events {
                live.push(end.epoch.clone(), event, Instant::now());
            }
            batches.extend(std::iter::from_fn(|| live.take()).map(|(batch, _)| batch));
        }
        let last = if rest.complete { end.offset } else { target.offset };

        let mut reached = left.offset;
        let mut seen: Vec<Arc<Event>> = Vec::new();
        for batch in batches {
            prop_assert_eq!((batch.after, &batch.epoch), (reached, &end.epoch));
            reached = batch.offset;
            seen.extend(batch.events);
        }
        prop_assert_eq!(reached, last);
        prop_assert!(seen.is_sorted_by(|a, b| a.offset < b.offset));

        let subject = |event: &Event| match conflate {
            Conflate::None => (String::new(), event.offset.to_string()),
            Conflate::Topic => (event.topic.to_string(), String::new()),
            Conflate::Key => match &event.key {
                Some(key) => (event.topic.to_string(), key.to_string()),
                None => (String::new(), format!("alone {}", event.offset)),
            },
        };
        let newest = |events: &mut dyn Iterator<Item = (u64, (String, String))>| -> HashMap<(String, String), u64> {
            events.map(|(offset, subject)| (subject, offset)).collect()
        };
        let mut returned = seen.iter().map(|event| (event.offset, subject(event)));
        let stayed: Vec<_> = (left.offset + 1..=last)
            .map(|offset| {
                let (topic, key, _) = &events[offset as usize - 1];
                let subject = match (conflate, key) {
                    (Conflate::None, _) => (String::new(), offset.to_string()),
                    (Conflate::Topic, _) => (topic.to_string(), String::new()),
                    (Conflate::Key, Some(key)) => (topic.to_string(), key.to_string()),
                    (Conflate::Key, None) => (String::new(), format!("alone {offset}")),
                };
                (offset, subject)
            })
            .collect();
        prop_assert_eq!(newest(&mut returned), newest(&mut stayed.into_iter()));
    }
}
