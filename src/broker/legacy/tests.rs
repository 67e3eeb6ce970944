//! Messages as publishers send them today, and malformed ones.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::config::ChannelPattern;

fn legacy(channels: &[&str], room: &str, topic: &str, data: &str) -> Legacy {
    Legacy {
        channels: channels.iter().map(|text| ChannelPattern::parse(text).unwrap()).collect(),
        room: Template::parse(room, crate::dialect::Offers::Channel).unwrap(),
        or_rooms: Vec::new(),
        topic: Template::parse(topic, crate::dialect::Offers::Channel).unwrap(),
        key: None,
        id: None,
        data: crate::dialect::Pointer::parse(data).unwrap(),
        encoding: Encoding::Json,
    }
}

fn trips() -> Legacy {
    Legacy {
        key: Some(Template::parse("{/data/id}", crate::dialect::Offers::Channel).unwrap()),
        id: Some(Template::parse("{/id}", crate::dialect::Offers::Channel).unwrap()),
        ..legacy(&["trip:*"], "trip:{channel:1}", "{/topic}", "/data")
    }
}

fn taken(legacy: &Legacy, channel: &str, message: impl AsRef<[u8]>) -> Result<(Room, Publication), PlainMessageError> {
    let captures = legacy.channels.iter().find_map(|pattern| pattern.captures(channel)).unwrap();
    map(legacy, channel, &captures, message.as_ref())
}

fn data(publication: &Publication) -> &str {
    match &publication.payload {
        Payload::Json(raw) => raw.get(),
        Payload::Binary(_) => panic!("not JSON"),
    }
}

#[test]
fn a_trips_message_becomes_an_event_of_its_room() {
    let message = r#" {"topic":"stop.updated","id":12345678901234567890123,"data": {"id":7, "b" : 1.50} } "#;
    let (room, event) = taken(&trips(), "trip:42", message).unwrap();
    assert_eq!((room.as_str(), &*event.topic, event.key.as_deref()), ("trip:42", "stop.updated", Some("7")));
    assert_eq!(data(&event), r#"{"id":7, "b" : 1.50}"#, "the publisher's own bytes");
    assert_eq!(event.id.as_deref(), Some("12345678901234567890123"));
    assert_eq!(event.idempotency_key, event.id.map(Into::into));
    let (_, event) = taken(&trips(), "trip:42", r#"{"topic":"t","data":[1],"id":null}"#).unwrap();
    assert_eq!((event.key, event.id, event.idempotency_key), (None, None, None));
}

#[test]
fn half_of_a_surrogate_pair_loses_no_event() {
    for (given, kept) in [
        (r#"{"a":"cut \ud83d"}"#, r#"{"a":"cut \ufffd"}"#),
        (r#"{"a":"\uDE00 b\ud83d\ud83d\ude00\uD83D"}"#, r#"{"a":"\ufffd b\ufffd\ud83d\ude00\ufffd"}"#),
        (r#"{"a":"\\ud83d \"\u00e9 \ud83d\n\\"}"#, r#"{"a":"\\ud83d \"\u00e9 \ufffd\n\\"}"#),
        (r#"{"\udfff":"é\ud83d\ude00"}"#, r#"{"\ufffd":"é\ud83d\ude00"}"#),
    ] {
        let message = format!(r#"{{"topic":"t","data":{given}}}"#);
        let (_, event) = taken(&trips(), "trip:42", message).unwrap();
        assert_eq!(data(&event), kept);
    }
}

#[test]
fn bytes_that_are_no_text_lose_no_event() {
    let (_, event) = taken(&trips(), "trip:42", b"{\"topic\":\"t\",\"data\":\"a\xffb\"}").unwrap();
    assert_eq!(data(&event), "\"a\u{fffd}b\"");
    let text = Legacy { encoding: Encoding::Text, ..legacy(&["c"], "r", "t", "") };
    let (_, event) = taken(&text, "c", b"a\xffb\\ud83d").unwrap();
    assert_eq!(data(&event), "\"a\u{fffd}b\\\\ud83d\"", "a text is no JSON: its escapes are its own");
}

#[test]
fn an_id_that_tells_nothing_makes_no_repeats() {
    let long = format!("\"{}\"", "x".repeat(256));
    for id in ["\"\"", "\" \"", "\"\\t\"", "null", "false", "true", "0", "0.0", "\"0\"", "[]", "{}", &long] {
        let message = format!(r#"{{"topic":"t","data":1,"id":{id}}}"#);
        let (_, event) = taken(&trips(), "trip:42", message).unwrap();
        assert_eq!((event.id, event.idempotency_key), (None, None), "{id}");
    }
    for (id, text) in [("1", "1"), ("\"00\"", "00"), ("-1", "-1"), ("\"false\"", "false"), ("\" a\"", " a")] {
        let message = format!(r#"{{"topic":"t","data":1,"id":{id}}}"#);
        assert_eq!(taken(&trips(), "trip:42", message).unwrap().1.id.as_deref(), Some(text), "{id}");
    }
    // Among other text it may tell.
    let id = Template::parse("{channel:1}-{/n|/m}", crate::dialect::Offers::Channel).unwrap();
    let numbered = Legacy { id: Some(id), ..trips() };
    let id = |message: &str| taken(&numbered, "trip:42", message).unwrap().1.id;
    assert_eq!(id(r#"{"topic":"t","data":1,"n":0}"#).as_deref(), Some("42-0"));
    assert_eq!(id(r#"{"topic":"t","data":1,"n":"","m":7}"#).as_deref(), Some("42-7"));
    assert_eq!(id(r#"{"topic":"t","data":1,"n":""}"#), None);
}

#[test]
fn a_key_is_the_first_that_is_not_empty_and_none_if_it_is_too_long() {
    let key = Template::parse("{/entity_id|/data/poll_id|/data/id}", crate::dialect::Offers::Channel).unwrap();
    let polls = Legacy { key: Some(key), ..trips() };
    let key = |message: &str| taken(&polls, "trip:42", message).unwrap().1.key;
    for (message, expected) in [
        (r#"{"topic":"t","entity_id":"","data":{"poll_id":"p1"}}"#, Some("p1")),
        (r#"{"topic":"t","entity_id":null,"data":{"poll_id":"","id":7}}"#, Some("7")),
        (r#"{"topic":"t","entity_id":0,"data":{"poll_id":"p1"}}"#, Some("0")),
        (r#"{"topic":"t","entity_id":"","data":{}}"#, None),
    ] {
        assert_eq!(key(message).as_deref(), expected, "{message}");
    }
    let of = |bytes: usize| key(&format!(r#"{{"topic":"t","entity_id":"{}","data":1}}"#, "x".repeat(bytes)));
    assert_eq!((of(255).map(|key| key.len()), of(256)), (Some(255), None));
}

#[test]
fn a_record_goes_to_the_room_that_it_names() {
    let records = legacy(&["/records"], "{/room}", "records", "");
    let message = r#"{"room":"group-123","records":{"a":[1]}}"#;
    let (room, event) = taken(&records, "/records", message).unwrap();
    assert_eq!((room.as_str(), &*event.topic, data(&event)), ("group-123", "records", message));
    for (message, why) in [
        (r#"{"records":{}}"#, PlainMessageError::Missing("room")),
        (r#"{"room":null}"#, PlainMessageError::Missing("room")),
        (r#"{"room":{}}"#, PlainMessageError::Missing("room")),
        (r#"{"room":["a"]}"#, PlainMessageError::Missing("room")),
        (r#"{"room":""}"#, PlainMessageError::Missing("room")),
        (r#"{"room":"a b"}"#, PlainMessageError::NotAllowed("room")),
        (r#"{"room":"a"} x"#, PlainMessageError::NotJson),
        ("", PlainMessageError::NotJson),
        ("[]", PlainMessageError::Missing("room")),
        ("7", PlainMessageError::Missing("room")),
        (r#"{"room":"a","n":1e999}"#, PlainMessageError::NotAllowed("data")),
    ] {
        assert_eq!(taken(&records, "/records", message), Err(why), "{message}");
    }
    let deep = format!("{{\"room\":\"a\",\"d\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    assert_eq!(taken(&records, "/records", deep), Err(PlainMessageError::NotAllowed("data")));
}

#[test]
fn a_message_for_nobody_in_particular_goes_to_the_next_room_that_it_has_values_for() {
    let or_rooms = ["{/room}", "everyone"].map(|room| Template::parse(room, crate::dialect::Offers::Channel).unwrap());
    let events = Legacy { or_rooms: or_rooms.to_vec(), ..legacy(&["events"], "user:{/user}", "t", "") };
    for (message, room) in [
        (r#"{"user":"ann","room":"event:1"}"#, "user:ann"),
        (r#"{"user":7}"#, "user:7"),
        (r#"{"user":"","room":"event:1"}"#, "event:1"),
        (r#"{"user":null,"room":"event:1"}"#, "event:1"),
        (r#"{"room":""}"#, "everyone"),
        ("{}", "everyone"),
    ] {
        assert_eq!(taken(&events, "events", message).unwrap().0.as_str(), room, "{message}");
    }
    // What is for one and cannot be reaches no other.
    for (message, why) in [
        (r#"{"user":"an n","room":"event:1"}"#, PlainMessageError::NotAllowed("room")),
        (r#"{"user":["ann"]}"#, PlainMessageError::Missing("room")),
        (r#"{"user":{},"room":"event:1"}"#, PlainMessageError::Missing("room")),
    ] {
        assert_eq!(taken(&events, "events", message).unwrap_err(), why, "{message}");
    }
    let of = |room: &str| {
        let room = Template::parse(room, crate::dialect::Offers::Channel).unwrap();
        Legacy { room, ..events.clone() }
    };
    let (deep, either) = (of("user:{/user/id}"), of("user:{/user/id|/user}-{/user|/user/id}"));
    for (message, room) in [
        (r#"{"user":{"id":"ann"},"room":"event:1"}"#, Some("user:ann")),
        (r#"{"user":{},"room":"event:1"}"#, Some("event:1")),
        (r#"{"user":{"id":null},"room":"event:1"}"#, Some("event:1")),
        (r#"{"user":[],"room":"event:1"}"#, Some("event:1")),
        (r#"{"user":null,"room":"event:1"}"#, Some("event:1")),
        (r#"{"room":"event:1"}"#, Some("event:1")),
        (r#"{"user":"ann","room":"event:1"}"#, None),
        (r#"{"user":"ann"}"#, None),
        (r#"{"user":7}"#, None),
        (r#"{"user":false}"#, None),
        (r#"{"user":{"id":{"id":"ann"}}}"#, None),
        (r#"{"user":[ ]}"#, Some("everyone")),
        (r#"{"user":["ann"]}"#, None),
        (r#"{"user":[{"id":"ann"}]}"#, None),
    ] {
        let taken = taken(&deep, "events", message).map(|(room, _)| room.as_str().to_owned());
        assert_eq!(taken, room.map(str::to_owned).ok_or(PlainMessageError::Missing("room")), "{message}");
    }
    // A placeholder that names several takes the one that is written as it says.
    for (message, room) in [
        (r#"{"user":"ann"}"#, Some("user:ann-ann")),
        (r#"{"user":{"id":"ann"}}"#, Some("user:ann-ann")),
        ("{}", Some("everyone")),
        (r#"{"user":{}}"#, None),
        (r#"{"user":["ann"]}"#, None),
    ] {
        let taken = taken(&either, "events", message).map(|(room, _)| room.as_str().to_owned());
        assert_eq!(taken, room.map(str::to_owned).ok_or(PlainMessageError::Missing("room")), "{message}");
    }
    let list = of("user:{/users/0}");
    for (message, room) in [
        (r#"{"users":["ann"]}"#, Ok("user:ann")),
        (r#"{"users":[]}"#, Ok("everyone")),
        (r#"{"users":"ann"}"#, Err(PlainMessageError::Missing("room"))),
    ] {
        let taken = taken(&list, "events", message).map(|(room, _)| room.as_str().to_owned());
        assert_eq!(taken, room.map(str::to_owned), "{message}");
    }
    let needs = Legacy { or_rooms: or_rooms[..1].to_vec(), ..events };
    assert_eq!(taken(&needs, "events", "{}").unwrap_err(), PlainMessageError::Missing("room"));
}

#[test]
fn pointers_reach_members_and_elements() {
    for (pointer, message, expected) in [
        ("", "[1]", Some("[1]")),
        ("/a", r#"{"a":1,"a":2}"#, Some("2")),
        ("/a/1/b", r#"{"a":[0,{"b":"x"}]}"#, Some("\"x\"")),
        ("/1", "[0,1,2]", Some("1")),
        ("/3", "[0,1,2]", None),
        ("/01", "[0,1]", None),
        ("/+1", "[0,1]", None),
        ("/-", "[0,1]", None),
        ("/", r#"{"":3}"#, Some("3")),
        ("/a~1b/c~0d", r#"{"a/b":{"c~d":4}}"#, Some("4")),
        ("/é", r#"{"\u00e9":5}"#, Some("5")),
        ("/a/b", r#"{"a":"b"}"#, None),
    ] {
        let made = taken(&legacy(&["c"], "r", "t", pointer), "c", message);
        match (&made, expected) {
            (Ok((_, event)), Some(expected)) => assert_eq!(data(event), expected),
            (Err(PlainMessageError::Missing("data")), None) => {}
            _ => panic!("{pointer} in {message}: {made:?}"),
        }
    }
}

#[test]
fn a_text_becomes_a_string() {
    let text = Legacy { encoding: Encoding::Text, ..legacy(&["note.*.*"], "{channel:2}", "{channel}", "") };
    let (room, event) = taken(&text, "note.a.b", "say \"hi\"\n").unwrap();
    assert_eq!((room.as_str(), &*event.topic, data(&event)), ("b", "note.a.b", r#""say \"hi\"\n""#));
}

#[test]
fn a_message_that_several_patterns_match_is_taken_once() {
    let all = [legacy(&["trip:9", "trip:*"], "a", "t", ""), legacy(&["*"], "b", "t", "")];
    let room = |pattern: &str, channel: &str| {
        taker(&all, pattern, channel).map(|(legacy, captures)| (legacy == &all[0], captures.len()))
    };
    assert_eq!(room("trip:9", "trip:9"), Some((true, 0)));
    assert_eq!(room("trip:*", "trip:9"), None);
    assert_eq!(room("*", "trip:9"), None);
    assert_eq!(room("trip:*", "trip:8"), Some((true, 1)));
    assert_eq!(room("*", "other"), Some((false, 1)));
    assert_eq!(room("trip:*", "other"), None);
}

proptest! {
    #[test]
    fn whatever_is_published_becomes_what_may_be_published(channel in "trip:.{0,8}", message in any::<Vec<u8>>()) {
        let _ = taken(&trips(), &channel, message);
    }

    #[test]
    fn what_json_holds_is_found_as_other_parsers_find_it(
        topic in any::<String>(), id in 1..u64::MAX, deep in proptest::collection::vec(any::<String>(), 0..4)
    ) {
        let message = serde_json::json!({"topic": topic, "id": id, "data": {"id": deep, "x": topic}}).to_string();
        match taken(&trips(), "trip:1", &message) {
            Ok((_, event)) => {
                prop_assert_eq!(&*event.topic, &*topic);
                prop_assert_eq!(event.id.as_deref(), Some(&*id.to_string()));
                let value: serde_json::Value = serde_json::from_str(data(&event)).unwrap();
                prop_assert_eq!(&value, &serde_json::json!({"id": deep, "x": topic}));
            }
            Err(why) => {
                let empty = PlainMessageError::Missing("topic");
                prop_assert_eq!(why, if topic.is_empty() { empty } else { PlainMessageError::NotAllowed("topic") });
                prop_assert!(check_topic(&topic).is_err());
            }
        }
    }
}
