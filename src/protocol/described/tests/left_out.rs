//! What a publisher left out, or wrote as nothing, is filled in.

use super::*;

const WALKS: &str = r#"
[[dialect]]
name = "walks"
paths = ["/ws"]
[[dialect.command]]
when = { "/type" = "join", "/room" = "*" }
does = "subscribe"
room = "{/room}"
[[dialect.command]]
when = { "/type" = "join" }
does = "subscribe"
room = "event:{/event_id}"
[[dialect.event]]
when = { "/topic" = "{topic}" }
write = '{"*": "{data}", "walk_id": "{room:id}", "timestamp": "{time}"}'
[[dialect.event]]
write = '{"at": "{data:/at|time}", "by": "{data:/a|data:/b}", "k": "{data:/a?}", "s": "<{data:/a|data:/b}>", "only": "{data:/a}"}'
"#;

fn said(topic: &str, data: &str) -> String {
    text(|out| dialect(WALKS).batch(&batch(&[(topic, None, data)]), 0, out)).remove(0)
}

#[test]
fn members_that_are_null_or_empty_are_filled_in() {
    for (data, expected) in [
        (
            r#"{"topic":"t","walk_id":"","n":1}"#,
            r#"{"topic":"t","n":1,"walk_id":"9","timestamp":"2026-02-03T10:30:00Z"}"#,
        ),
        (
            r#"{ "walk_id" : null, "topic" : "t" , "note":null,"a":"","timestamp":"" }"#,
            r#"{"topic":"t","note":null,"a":"","walk_id":"9","timestamp":"2026-02-03T10:30:00Z"}"#,
        ),
        (r#"{"topic":"t","walk_id":"x","timestamp":0}"#, r#"{"topic":"t","walk_id":"x","timestamp":0}"#),
        (
            r#"{"topic":"t","walk\u005fid":"","walk_id":"x", "timestamp":" "}"#,
            r#"{"topic":"t","walk_id":"x","timestamp":" "}"#,
        ),
    ] {
        assert_eq!(said("t", data), expected);
    }
}

#[test]
fn an_empty_text_counts_where_there_is_nothing_else() {
    assert_eq!(
        said("t", r#"{"at":"","a":"","b":"b"}"#),
        r#"{"at":"2026-02-03T10:30:00Z","by":"b","k":"","s":"<b>","only":""}"#
    );
    assert_eq!(said("t", r#"{"at":"x","a":""}"#), r#"{"at":"x","by":"","k":"","s":"<>","only":""}"#);
    assert_eq!(said("t", r#"{"at":7}"#), r#"{"at":7,"by":null,"s":"<>","only":null}"#);
}

#[test]
fn a_command_that_needs_a_value_passes_by_a_message_where_it_is_empty() {
    let decode = |message: &str| dialect(WALKS).decode(Message::Text(message)).map(|request| request.command);
    for room in ["\"\"", "null"] {
        let message = format!(r#"{{"type":"join","room":{room},"event_id":"9"}}"#);
        assert_eq!(decode(&message), Ok(to("event:9", 0)), "{room}");
    }
    assert_eq!(decode(r#"{"type":"join","room":"chat:1","event_id":"9"}"#), Ok(to("chat:1", 0)));
    assert_eq!(decode(r#"{"type":"join","room":"","event_id":""}"#).unwrap_err().code, ErrorCode::BadRequest);
}

#[test]
fn a_message_with_half_of_a_pair_is_understood() {
    let command = dialect(CHAT).decode(Message::Text(r#"{"type":"say","to":1,"text":"hi \ud83d","\ud83d":"\ude00"}"#));
    let Ok(Request { command: Command::Publish { payload: Payload::Json(data), .. }, .. }) = command else {
        panic!("{command:?}")
    };
    assert_eq!(data.get(), r#""hi \ufffd""#);
}
