#![allow(clippy::unwrap_used)]

use super::*;
use crate::dialect::pointer::Pointer;

const FIELDS: &[&str] = &["now", "topic", "key", "data", "room"];

fn steps(text: &str) -> Result<Vec<Step>, String> {
    MessageTemplate::parse(text, FIELDS).map(|message| message.steps)
}

fn bytes(text: &str) -> Step {
    Step::Bytes(text.as_bytes().into())
}

#[test]
fn what_never_changes_is_one_step() {
    assert_eq!(steps(r#"{ "b": [1, "x\"", null], "a": {} }"#), Ok(vec![bytes(r#"{"b":[1,"x\"",null],"a":{}}"#)]));
    assert_eq!(steps("\"{{a}}\""), Ok(vec![bytes("\"{a}\"")]));
}

#[test]
fn places_are_values_or_texts() {
    let expected = vec![
        bytes(r#"{"t":"#),
        Step::Value(vec![Field::Topic]),
        bytes(r#","at":"#),
        Step::Value(vec![Field::Now(Clock::Seconds)]),
        bytes(r#","s":"#),
        Step::Text(vec![Piece::Text("of ".into()), Piece::Placeholder(vec![Field::Key, Field::RoomId])]),
        bytes("}"),
    ];
    assert_eq!(steps(r#"{"t":"{topic}","at":"{now:s}","s":"of {key|room:id}"}"#), Ok(expected));
}

#[test]
fn members_can_be_left_out() {
    let optional = |lead: &str| Step::Optional(lead.as_bytes().into(), vec![Field::Key]);
    assert_eq!(
        steps(r#"{"k":"{key?}","a":1,"l":"{key?}","b":["{key?}"]}"#),
        Ok(vec![
            bytes("{"),
            optional("\"k\":"),
            Step::Comma,
            bytes("\"a\":1"),
            optional("\"l\":"),
            bytes(",\"b\":["),
            optional(""),
            bytes("]}"),
        ])
    );
}

#[test]
fn an_object_is_spread() {
    let data = vec![Field::Data(Pointer::default())];
    let topic = vec![Step::Comma, bytes("\"topic\":"), Step::Value(vec![Field::Topic])];
    assert_eq!(
        steps(r#"{"*":"{data}","topic":"{topic}"}"#),
        Ok(vec![bytes("{"), Step::Spread(data, vec![Lacking { name: "topic".into(), steps: topic }]), bytes("}"),])
    );
}

#[test]
fn mistakes_are_named() {
    for (text, why) in [
        ("{", "it is not JSON: EOF"),
        (r#"{"a":"{nobody}"}"#, "`{nobody}` has no meaning here; there are `{now}`, `{topic}`"),
        (r#"{"a":"{code}"}"#, "`{code}` has no meaning here"),
        (r#"{"a":"{topic:x}"}"#, "`{topic:x}` has no meaning here"),
        (r#"{"a":"{now:h}"}"#, "a time is written"),
        (r#"{"a":"x{topic"}"#, "it has a `{` without a `}`"),
        (r#"{"a":"x}"}"#, "it has a `}` without a `{`"),
        (r#""{topic?}""#, "`{topic?}` is no member"),
        (r#"{"a":1,"*":"{data}"}"#, "`*` must be an object's first member"),
        (r#"{"*":"x{data}"}"#, "`*` takes one place"),
        (r#"{"a":"{data:x}"}"#, "a JSON pointer begins with `/`"),
    ] {
        let error = steps(text).unwrap_err();
        assert!(error.starts_with(why), "{text}: {error}");
    }
}
