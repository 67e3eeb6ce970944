//! Whether what a home says can be true, so that nothing behind it has to ask again. Pure.
//!
//! Never judges what events say. Always holds: offsets are offsets, parts of logs are in order and within what was asked for, and there is no
//! more of anything than was asked for.

use crate::{
    broker::{
        History, HistoryQuery,
        relay::call::{CallAnswer, EdgeCall},
    },
    model::{Event, MAX_OFFSET, Offset, Position, Retained},
};

/// What an event may have beside its data: topic, key, user and id.
const TEXTS: usize = 4 * 1_024;

/// The most positions that are kept of one user, and the most members of one answer.
const MOST_ENTRIES: usize = 10_000;

/// Whether an event can have that offset.
pub(super) fn is_event_offset(offset: Offset) -> bool {
    (1..=MAX_OFFSET).contains(&offset)
}

/// Whether a log can stand there.
pub(super) fn is_position(position: &Position) -> bool {
    position.offset <= MAX_OFFSET
}

fn is_event(event: &Event) -> bool {
    is_event_offset(event.offset) && event.cost() - event.payload.len() <= size_of::<Event>() + TEXTS
}

fn is_history(history: &History, query: &HistoryQuery) -> bool {
    let History { epoch: _, after, offset, end, complete: _, events } = history;
    let bytes: usize = events.iter().map(|event| event.payload.len()).fold(0, usize::saturating_add);
    after <= offset
        && offset <= end
        && *end <= MAX_OFFSET
        && events.len() <= query.max_events
        && bytes <= query.max_bytes
        && events.is_sorted_by(|one, next| one.offset < next.offset)
        && events.iter().all(|event| is_event(event) && event.offset > *after && event.offset <= *offset)
}

fn is_retained(retained: &Retained) -> bool {
    retained.offset <= MAX_OFFSET && retained.events.iter().all(|event| is_event(event))
}

/// Whether an answer can be one to that call.
pub(super) fn is_answer(call: &EdgeCall, said: &CallAnswer) -> bool {
    match (call, said) {
        (EdgeCall::History(_, query), CallAnswer::History(history)) => is_history(history, query),
        (EdgeCall::Retained(_), CallAnswer::Retained(retained)) => is_retained(retained),
        (EdgeCall::Publish(all), CallAnswer::Published(each)) => {
            each.len() == all.len() && each.iter().flatten().all(is_position)
        }
        (EdgeCall::Members(_, limit), CallAnswer::Members(list)) => list.members.len() <= (*limit).min(MOST_ENTRIES),
        (EdgeCall::Standings(rooms), CallAnswer::Standings(each)) => {
            let is_standing = |standing: &crate::broker::Standing| {
                is_position(&standing.end) && standing.reaches.iter().flatten().all(|reach| *reach <= MAX_OFFSET)
            };
            each.len() == rooms.len() && each.iter().flatten().all(is_standing)
        }
        (EdgeCall::Keep(acks, _), CallAnswer::Acked(each)) => {
            each.len() == acks.len() && each.iter().flatten().all(|kept| kept.before.iter().all(is_position))
        }
        (EdgeCall::Kept(..), CallAnswer::Kept(kept)) => {
            kept.len() <= MOST_ENTRIES && kept.iter().all(|(_, positions)| positions.iter().all(is_position))
        }
        (EdgeCall::Get(_) | EdgeCall::Take(_) | EdgeCall::Claim(..), CallAnswer::Value(_))
        | (EdgeCall::ForgetRoom(_) | EdgeCall::DeleteEvent(..), CallAnswer::Forgotten(_))
        | (EdgeCall::ForgetUser(..), CallAnswer::Authored(_))
        | (EdgeCall::AskOthers(..), CallAnswer::Fleet(_))
        | (EdgeCall::Address(_), CallAnswer::Address(_))
        | (
            EdgeCall::Unlogged(..)
            | EdgeCall::Signal(..)
            | EdgeCall::Notify(..)
            | EdgeCall::Set(..)
            | EdgeCall::NoteAuthor(..)
            | EdgeCall::ForgetAuthor(..),
            CallAnswer::Done,
        ) => true,
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        broker::Standing,
        model::{Epoch, Member, Payload, PresenceList, Publication, Room},
    };

    fn room() -> Room {
        Room::parse("a").unwrap()
    }

    fn event(offset: Offset, user: usize) -> Arc<Event> {
        let publication = Publication {
            topic: "t".into(),
            key: None,
            payload: Payload::Binary(vec![0; 10].into()),
            user: Some("u".repeat(user).into()),
            id: None,
            idempotency_key: None,
        };
        Arc::new(Event::from_publication(publication, offset, 1, None))
    }

    #[test]
    fn a_part_of_a_log_is_in_order_and_no_more_than_was_asked_for() {
        let query = HistoryQuery { since: None, until: None, max_events: 3, max_bytes: 30 };
        let call = EdgeCall::History(room(), query);
        let good = || History {
            epoch: Epoch::new("e"),
            after: 4,
            offset: 7,
            end: 9,
            complete: true,
            events: vec![event(5, 1), event(7, 1)],
        };
        assert!(is_answer(&call, &CallAnswer::History(good())));
        let bad = [
            History { after: 8, ..good() },
            History { end: 6, ..good() },
            History { end: MAX_OFFSET + 1, ..good() },
            History { after: 5, ..good() },
            History { offset: 6, ..good() },
            History { events: vec![event(7, 1), event(5, 1)], ..good() },
            History { events: vec![event(5, 1), event(5, 1)], ..good() },
            History { after: 0, events: vec![event(0, 1)], ..good() },
            History { after: 0, events: (1..=4).map(|offset| event(offset, 1)).collect(), ..good() },
            History { events: vec![event(5, 10_000)], ..good() },
        ];
        for history in bad {
            assert!(!is_answer(&call, &CallAnswer::History(history.clone())), "{history:?}");
        }
        assert!(!is_answer(&call, &CallAnswer::Done), "another question's");
    }

    #[test]
    fn answers_are_as_many_as_questions_and_their_offsets_are_offsets() {
        let position = |offset| Position::new(Epoch::new("e"), offset);
        let standings = EdgeCall::Standings(vec![(room(), Vec::new())]);
        let standing =
            |end, reach| CallAnswer::Standings(vec![Ok(Standing { end: position(end), reaches: vec![reach] })]);
        assert!(is_answer(&standings, &standing(3, Some(2))));
        for bad in [standing(u64::MAX, None), standing(3, Some(u64::MAX)), CallAnswer::Standings(Vec::new())] {
            assert!(!is_answer(&standings, &bad), "{bad:?}");
        }
        let publish = EdgeCall::Publish(Vec::new());
        assert!(is_answer(&publish, &CallAnswer::Published(Vec::new())));
        assert!(!is_answer(&publish, &CallAnswer::Published(vec![Ok(position(1))])));
        let members = EdgeCall::Members(room(), 1);
        let list = |count: usize| {
            let members = (0..count).map(|n| Member { connection: n.to_string().into(), user: None }).collect();
            CallAnswer::Members(PresenceList { members, total: 5 })
        };
        assert!(is_answer(&members, &list(1)) && !is_answer(&members, &list(2)));
    }
}
