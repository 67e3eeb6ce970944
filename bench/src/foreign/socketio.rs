//! Socket.IO over a WebSocket of Engine.IO 4, as `bench/peers/socketio/server.mjs` has it: a room is joined by an event.

use serde_json::value::RawValue;

use super::utterance::Utterance;

/// What one message says.
pub(super) fn hear<'a>(message: &'a [u8], room: &str) -> Utterance<'a> {
    let Ok(text) = std::str::from_utf8(message) else { return Utterance::Wrong };
    match text.split_at_checked(2) {
        // Open, and connected: "0{…}" and "40{…}".
        Some(("0{", _)) => Utterance::Answer("40".to_owned()),
        Some(("40", _)) => Utterance::Answer(format!(r#"420["join","{room}"]"#)),
        Some(("43", _)) => Utterance::Joined,
        Some(("42", event)) => {
            let arguments: Vec<&RawValue> = serde_json::from_str(event).unwrap_or_default();
            arguments.get(1).map_or(Utterance::Wrong, |data| Utterance::Event(data.get()))
        }
        None if text == "2" => Utterance::Answer("3".to_owned()),
        _ => Utterance::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_known_and_what_else_is_said() {
        assert_eq!(hear(br#"42["event",{"n":7},"1-0"]"#, "a"), Utterance::Event(r#"{"n":7}"#));
        assert_eq!(hear(br#"0{"sid":"x"}"#, "a"), Utterance::Answer("40".to_owned()));
        assert_eq!(hear(br#"40{"sid":"x"}"#, "a"), Utterance::Answer(r#"420["join","a"]"#.to_owned()));
        assert_eq!(hear(b"430[]", "a"), Utterance::Joined);
        assert_eq!(hear(b"2", "a"), Utterance::Answer("3".to_owned()));
        for wrong in [&b"44{}"[..], b"41", b"42[", b"42[\"event\"]", b"\xff"] {
            assert_eq!(hear(wrong, "a"), Utterance::Wrong);
        }
    }
}
