//! The events of a trip, as a backend of the preset `trips` publishes them: `PUBLISH trip:7 {"topic": …, "data": …}`.
//!
//! Always holds: topic and entity follow from the trip and the event's number in it, so that a receiver knows what an event
//! was that it did not get; the first event of a trip is 1.

use crate::content::{Recipe, Stamp};

/// What happens in a trip, again and again: topic and entity. Of the first five, which come together, two votes on one
/// poll are followed by a third, which a batch may leave for both; of the second five nothing may be left out.
const STORY: [(&str, &str); 10] = [
    ("comment.created", "comment"),
    ("poll.vote_added", "poll_1"),
    ("poll.vote_added", "poll_1"),
    ("trip.updated", "trip"),
    ("poll.vote_added", "poll_1"),
    ("membership.added", "member"),
    ("poll.vote_added", "poll_1"),
    ("poll.vote_added", "poll_2"),
    ("poll.vote_removed", "poll_2"),
    ("trip.updated", "trip"),
];

/// How clients and events call a trip.
pub(crate) fn id(room: u32) -> String {
    format!("trip-{room}")
}

/// Where a trip's events are published; the name of its room.
pub(crate) fn channel(room: u32) -> String {
    format!("trip:{room}")
}

/// Topic and entity of a trip's `n`th event. Every other trip begins in the middle, so that all of them together have as much
/// to collapse at any time.
pub(crate) fn subject(room: u32, n: u64) -> (&'static str, &'static str) {
    let begins = if room.is_multiple_of(2) { 0 } else { STORY.len() as u64 / 2 };
    STORY[((n.saturating_sub(1) + begins) % STORY.len() as u64) as usize]
}

/// Whether a batch that has event `newer` need not have `older`: the preset keeps the newest of each topic and entity, of
/// `*.updated` and `poll.vote_*` only.
pub(crate) fn stands_for(room: u32, newer: u64, older: u64) -> bool {
    let (topic, entity) = subject(room, older);
    let is_state = topic.ends_with(".updated") || topic.starts_with("poll.vote_");
    is_state && newer > older && subject(room, newer) == (topic, entity)
}

/// What is published: the document's message. `trip_id` and `timestamp` are left to the pod.
pub(crate) fn message(recipe: &Recipe, room: u32, stamp: Stamp) -> String {
    let (topic, entity) = subject(room, stamp.n);
    let data = recipe.data(room, stamp);
    format!(r#"{{"topic":"{topic}","entity_id":"{entity}","data":{data}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_newer_state_stands_for_an_older_one() {
        assert_eq!(subject(0, 1), subject(2, 11));
        assert_eq!(subject(0, 1), subject(1, 6));
        assert!(stands_for(0, 3, 2) && stands_for(0, 5, 2) && stands_for(0, 14, 4));
        assert!(stands_for(1, 8, 7) && !stands_for(1, 3, 2));
        assert!(!stands_for(0, 2, 3), "older");
        assert!(!stands_for(0, 8, 7), "another poll");
        assert!(!stands_for(0, 9, 8), "another topic");
        assert!(!stands_for(0, 11, 1), "a comment is no state");
    }

    #[test]
    fn a_message_is_the_documents() {
        let recipe = Recipe { seed: 1, size: 300 };
        let text = message(&recipe, 8, Stamp { n: 2, t: 5 });
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&value["topic"], &value["entity_id"]), (&"poll.vote_added".into(), &"poll_1".into()));
        assert_eq!(value["data"]["n"], 2);
    }
}
