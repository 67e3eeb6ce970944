//! What a pod with the preset `trips` says to a receiver.
//!
//! Its dialect has no positions: an event's number stands in its data, and says what the event is about
//! ([`trip::subject`]). Always holds: a number that a batch passes over is reported as collapsed only if the batch has a
//! newer event of the same topic and entity, which is what the preset promises.

use std::rc::Rc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::frames::{Batch, Said, start};
use crate::{
    content::{Recipe, Stamp},
    trip,
};

/// The most numbers that one batch may span: more is not what was published.
const SPAN: u64 = 1 << 16;

/// One shape for every message.
#[derive(Deserialize)]
struct Message<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    events: Option<Vec<Event<'a>>>,
    #[serde(rename = "timestamp")]
    _timestamp: &'a str,
}

/// An event, with what the pod has filled in.
#[derive(Deserialize)]
struct Event<'a> {
    topic: &'a str,
    entity_id: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
    trip_id: &'a str,
    #[serde(rename = "timestamp")]
    _timestamp: &'a str,
}

impl Event<'_> {
    /// Its number, and what its data say if all of it is what was published.
    fn check(&self, room: u32, recipe: &Recipe) -> Option<(u64, Option<Stamp>)> {
        let Stamp { n, .. } = serde_json::from_str(self.data.get()).ok()?;
        let right = (self.topic, self.entity_id) == trip::subject(room, n) && self.trip_id == trip::id(room);
        Some((n, recipe.check(room, self.data.get()).filter(|_| right)))
    }
}

/// Parses a message for a member of `room`.
pub(super) fn parse(text: &str, room: u32, recipe: &Recipe) -> Said {
    let message: Message<'_> = match serde_json::from_str(text) {
        Ok(message) => message,
        Err(error) => return Said::Wrong(format!("not a message of the preset ({error}): {}", start(text))),
    };
    match (message.r#type, message.events) {
        ("events", Some(events)) => {
            let checked: Option<Vec<_>> = events.iter().map(|event| event.check(room, recipe)).collect();
            match checked.and_then(|events| batch(room, events)) {
                Some(batch) => Said::Batch(Rc::new(batch)),
                None => Said::Wrong(start(text)),
            }
        }
        // The trip is joined; it is new: nothing was published there before.
        ("pong", None) => Said::Subscribed(0),
        _ => Said::Wrong(start(text)),
    }
}

/// What a batch of these events covers.
fn batch(room: u32, events: Vec<(u64, Option<Stamp>)>) -> Option<Batch> {
    let numbers = || events.iter().map(|&(n, _)| n);
    let (first, offset) = (numbers().min()?, numbers().max()?);
    if first == 0 || offset - first > SPAN {
        return None;
    }
    let collapses = |older: u64| numbers().any(|newer| trip::stands_for(room, newer, older));
    let mut after = first - 1;
    while after > 0 && collapses(after) {
        after -= 1;
    }
    let collapsed = (after + 1..offset).filter(|&n| numbers().all(|other| other != n) && collapses(n)).collect();
    Some(Batch { after, offset, events, collapsed })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: Recipe = Recipe { seed: 1, size: 200 };

    fn event(room: u32, n: u64) -> String {
        let message = trip::message(&RECIPE, room, Stamp { n, t: 9 });
        let rest = message.strip_prefix('{').expect("an object");
        format!(r#"{{"trip_id":"{}","timestamp":"2026-02-03T10:30:00Z",{rest}"#, trip::id(room))
    }

    fn frame(events: &[String]) -> String {
        format!(r#"{{"type":"events","events":[{}],"timestamp":"2026-02-03T10:30:00Z"}}"#, events.join(","))
    }

    fn stamps(numbers: &[u64]) -> Vec<(u64, Option<Stamp>)> {
        numbers.iter().map(|&n| (n, Some(Stamp { n, t: 9 }))).collect()
    }

    #[test]
    fn a_batch_may_be_without_what_a_newer_event_stands_for() {
        let all = |numbers: &[u64]| frame(&numbers.iter().map(|&n| event(4, n)).collect::<Vec<_>>());
        let whole = Batch { after: 0, offset: 2, events: stamps(&[1, 2]), collapsed: Vec::new() };
        assert_eq!(parse(&all(&[1, 2]), 4, &RECIPE), Said::Batch(Rc::new(whole)));
        let collapsed = Batch { after: 0, offset: 5, events: stamps(&[1, 4, 5]), collapsed: vec![2, 3] };
        assert_eq!(parse(&all(&[1, 4, 5]), 4, &RECIPE), Said::Batch(Rc::new(collapsed)));
        let at_its_start = Batch { after: 1, offset: 5, events: stamps(&[4, 5]), collapsed: vec![2, 3] };
        assert_eq!(parse(&all(&[4, 5]), 4, &RECIPE), Said::Batch(Rc::new(at_its_start)));
        let holed = Batch { after: 5, offset: 8, events: stamps(&[7, 8]), collapsed: Vec::new() };
        assert_eq!(parse(&all(&[7, 8]), 4, &RECIPE), Said::Batch(Rc::new(Batch { after: 6, ..holed })));
        let lost = Batch { after: 0, offset: 4, events: stamps(&[1, 4]), collapsed: Vec::new() };
        assert_eq!(parse(&all(&[1, 4]), 4, &RECIPE), Said::Batch(Rc::new(lost)), "no vote after 2 and 3");
    }

    #[test]
    fn what_is_not_as_published_is_found() {
        let wrong =
            |text: &str| Said::Batch(Rc::new(batch(4, vec![(2, None)]).expect("a batch"))) == parse(text, 4, &RECIPE);
        let good = event(4, 2);
        assert!(!wrong(&frame(std::slice::from_ref(&good))));
        for (is, becomes) in [("vote_added", "vote_removed"), ("poll_1", "poll_2"), ("trip-4", "trip-3")] {
            assert!(wrong(&frame(&[good.replacen(is, becomes, 1)])), "{becomes}");
        }
        assert!(wrong(&frame(&[event(4, 2).replacen(r#""ref":""#, r#""ref":"x"#, 1)])), "data");
        for odd in [frame(&[]), frame(&[r#"{"topic":"trip.updated"}"#.to_owned()]), "{".to_owned()] {
            assert!(matches!(parse(&odd, 4, &RECIPE), Said::Wrong(_)), "{odd}");
        }
        assert!(matches!(
            parse(r#"{"type":"error","code":"x","message":"m","timestamp":"t"}"#, 4, &RECIPE),
            Said::Wrong(_)
        ));
        assert_eq!(parse(r#"{"type":"pong","timestamp":"t"}"#, 4, &RECIPE), Said::Subscribed(0));
    }
}
