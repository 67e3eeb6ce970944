//! `docs/PROTOCOL.md` against the code: every example is one that the dialect reads or writes, and both tables are the
//! code's.
mod example;

use std::collections::BTreeSet;

use roomcast::testing::{
    model::{Disconnect, ErrorCode, Reconnect, Room},
    protocol::{Dialect, Message, Messages, Native},
};
use serde_json::Value;

use example::Example;

const DOCUMENT: &str = include_str!("../../docs/PROTOCOL.md");

/// The fenced blocks whose info string begins with `json`: who speaks, and what.
fn examples() -> Vec<(&'static str, &'static str)> {
    let mut examples = Vec::new();
    for block in DOCUMENT.split("\n```json").skip(1) {
        let (speaker, rest) = block.split_once('\n').unwrap();
        examples.push((speaker.trim(), rest.split_once("\n```").unwrap().0));
    }
    assert!(examples.len() > 20, "the examples are no longer where they were");
    examples
}

fn spoken_by(speaker: &str) -> impl Iterator<Item = &'static str> {
    examples().into_iter().filter(move |(who, _)| *who == speaker).map(|(_, text)| text)
}

/// JSON without the white space between its tokens.
fn compact(json: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let significant = |c: &char| {
        let keep = quoted || !c.is_ascii_whitespace();
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        keep
    };
    json.chars().filter(significant).collect()
}

#[test]
fn every_example_says_who_speaks() {
    for (speaker, text) in examples() {
        assert!(matches!(speaker, "client" | "server"), "an example of {speaker:?}: {text}");
    }
}

#[test]
fn every_client_example_is_understood() {
    let mut kinds = BTreeSet::new();
    for text in spoken_by("client") {
        let request = Native.decode(Message::Text(text)).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert!(request.id.is_some(), "an example without an id: {text}");
        kinds.insert(serde_json::from_str::<Value>(text).unwrap()["type"].as_str().unwrap().to_owned());
    }
    let commands =
        "ack connect delete history ping presence publish refresh rpc signal stats status subscribe unread unsubscribe";
    assert_eq!(kinds.into_iter().collect::<Vec<_>>().join(" "), commands);
}

#[test]
fn every_server_example_is_what_the_encoder_writes() {
    let mut kinds = BTreeSet::new();
    for text in spoken_by("server") {
        let example: Example<'_> = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let mut out = Messages::default();
        example.encode(&mut out);
        let written: Vec<String> = out.iter().map(|(_, b)| String::from_utf8(b.to_vec()).unwrap()).collect();
        let mut expected = compact(text);
        if let Some(version) = &example.version {
            expected = expected.replace(version.as_str(), env!("CARGO_PKG_VERSION"));
        }
        assert_eq!(written.iter().map(|w| compact(w)).collect::<Vec<_>>(), [expected]);
        kinds.insert(example.kind);
    }
    let messages = "done error events gap history joined left pong presence published receipts reconnect refresh \
                    result signal stats subscribed unread unsubscribed welcome";
    assert_eq!(kinds.into_iter().collect::<Vec<_>>().join(" "), messages);
}

/// The rows of the one table below a heading, by cell.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let section = DOCUMENT.split_once(&format!("\n## {heading}\n")).unwrap().1;
    let section = section.split("\n## ").next().unwrap();
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    section.lines().filter(|line| line.starts_with('|')).skip(2).map(cells).collect()
}

#[test]
fn the_table_of_errors_is_the_codes() {
    let rows = table("Error codes");
    let codes: Vec<String> = ErrorCode::ALL.iter().map(|code| format!("`{}`", code.as_str())).collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), codes);
    assert!(rows.iter().all(|row| row.len() == 2 && row[1].len() > 10));
}

#[test]
fn the_table_of_closes_is_the_codes() {
    let expected: Vec<Vec<String>> = Disconnect::ALL
        .iter()
        .map(|disconnect| {
            let advice = match disconnect.reconnect() {
                Reconnect::Soon => "soon",
                Reconnect::Later => "later",
                Reconnect::WithNewToken => "with a new token",
                Reconnect::Never => "no",
            };
            vec![disconnect.code().to_string(), disconnect.reason().to_owned(), advice.to_owned()]
        })
        .collect();
    assert_eq!(table("Close codes"), expected);
}

#[test]
fn the_limits_are_the_codes() {
    let limit = |what: &str| {
        let row = table("Limits").into_iter().find(|row| row[0] == what).unwrap_or_else(|| panic!("no row {what}"));
        let digits: String = row[1]
            .chars()
            .filter(|c| *c != ',')
            .skip_while(|c| !c.is_ascii_digit())
            .take_while(char::is_ascii_digit)
            .collect();
        digits.parse::<usize>().unwrap_or_else(|_| panic!("no number in the row {what}"))
    };
    assert_eq!(limit("`id`"), roomcast::testing::protocol::MAX_ID_BYTES);
    assert_eq!(limit("rooms in one `subscribe`"), roomcast::testing::protocol::MAX_ROOMS_A_COMMAND);
    assert_eq!(limit("`key`"), roomcast::testing::model::MAX_FIELD_BYTES);
    assert_eq!(limit("`data`"), roomcast::testing::model::MAX_DEPTH);
    assert_eq!(limit("a room's name"), Room::MAX_BYTES);
}
