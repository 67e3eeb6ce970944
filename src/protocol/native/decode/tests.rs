#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::model::{MAX_FIELD_BYTES, MAX_OFFSET, Offset, Progress, StatusChange, UserStatus};

fn decode(text: &str) -> Result<Request, CommandError> {
    request(Message::Text(text))
}

fn command(text: &str) -> Command {
    decode(text).unwrap().command
}

fn refused(text: &str) -> (ErrorCode, String) {
    let error = decode(text).unwrap_err();
    (error.code, error.message)
}

fn room(name: &str) -> Room {
    Room::parse(name).unwrap()
}

fn since(epoch: &str, offset: Offset) -> Since {
    Since { epoch: Epoch::new(epoch), offset }
}

#[test]
fn every_command_is_understood() {
    assert_eq!(command(r#"{"type":"connect"}"#), Command::Connect { token: None });
    assert_eq!(command(r#"{"type":"connect","token":"abc"}"#), Command::Connect { token: Some(Token::new("abc")) });
    assert_eq!(
        command(r#"{"type":"subscribe","room":"trip:1"}"#),
        Command::Subscribe(vec![SubscribeTo { room: room("trip:1"), since: None, spelling: 0 }])
    );
    assert_eq!(
        command(r#" { "since" : {"offset":7,"epoch":"e1"}, "room":"trip:1", "type":"subscribe" } "#),
        Command::Subscribe(vec![SubscribeTo { room: room("trip:1"), since: Some(since("e1", 7)), spelling: 0 }])
    );
    assert_eq!(
        command(r#"{"type":"subscribe","rooms":[{"room":"a"},{"room":"b","since":{"epoch":"e","offset":0}}]}"#),
        Command::Subscribe(vec![
            SubscribeTo { room: room("a"), since: None, spelling: 0 },
            SubscribeTo { room: room("b"), since: Some(since("e", 0)), spelling: 0 },
        ])
    );
    assert_eq!(
        command(r#"{"type":"unsubscribe","room":"a"}"#),
        Command::Unsubscribe { room: room("a"), unasked: true }
    );
    assert_eq!(command(r#"{"type":"presence","room":"a"}"#), Command::Presence { room: room("a") });
    assert_eq!(
        command(r#"{"type":"history","room":"a","limit":5}"#),
        Command::History { room: room("a"), since: None, before: None, limit: Some(5) }
    );
    assert_eq!(
        command(r#"{"type":"history","room":"a","since":{"epoch":"e","offset":9007199254740991}}"#),
        Command::History { room: room("a"), since: Some(since("e", MAX_OFFSET)), before: None, limit: None }
    );
    let ack = |epoch: Option<&str>| Command::Ack {
        room: room("a"),
        epoch: epoch.map(Epoch::new),
        offset: 3,
        progress: Progress::Read,
    };
    assert_eq!(command(r#"{"type":"ack","room":"a","offset":3}"#), ack(None));
    assert_eq!(command(r#"{"type":"ack","room":"a","offset":3,"epoch":"e"}"#), ack(Some("e")));
    assert_eq!(command(r#"{"type":"unread"}"#), Command::Unread { rooms: Vec::new() });
    assert_eq!(command(r#"{"type":"unread","rooms":["a"]}"#), Command::Unread { rooms: vec![room("a")] });
    // Some languages have one kind of number, and write it so.
    assert_eq!(command(r#"{"type":"ack","room":"a","offset":3.0}"#), ack(None));
    assert_eq!(
        command(r#"{"type":"history","room":"a","since":{"epoch":"e","offset":9.007199254740991e15},"limit":1.0e1}"#),
        Command::History { room: room("a"), since: Some(since("e", MAX_OFFSET)), before: None, limit: Some(10) }
    );
    assert_eq!(command(r#"{"type":"refresh","token":"t"}"#), Command::Refresh { token: Token::new("t") });
    assert_eq!(command(r#"{"type":"ping"}"#), Command::Ping);
    let change = |chosen, hidden| Command::Status(StatusChange { chosen, hidden });
    assert_eq!(command(r#"{"type":"status","status":"away"}"#), change(Some(UserStatus::Away), None));
    assert_eq!(
        command(r#"{"type":"status","status":"online","hidden":false}"#),
        change(Some(UserStatus::Online), Some(false))
    );
}

#[test]
fn data_is_kept_as_it_was_written() {
    for data in
        [r#"{ "b" : 1.0e0, "a":[1 , 2 ], "\u0061":"\ud83d\ude00" }"#, "null", "12345678901234567890123", "\"x\""]
    {
        let text = format!(r#"{{"type":"publish","room":"a","topic":"t","data": {data} ,"key":"k"}}"#);
        let Command::Publish { payload: Payload::Json(raw), key, topic, .. } = command(&text) else { panic!("{data}") };
        assert_eq!((raw.get(), key.as_deref(), &*topic), (data, Some("k"), "t"));
    }
    // A page that cuts a text by its length may cut an emoji.
    let cut = command(r#"{"type":"publish","room":"a","topic":"t","data":{"text":"hi \ud83d"}}"#);
    let Command::Publish { payload: Payload::Json(raw), .. } = cut else { panic!("{cut:?}") };
    assert_eq!(raw.get(), r#"{"text":"hi \ufffd"}"#);
}

#[test]
fn a_publish_may_carry_an_id_and_a_key_of_its_own() {
    let publish = |more: &str| decode(&format!(r#"{{"type":"publish","id":1,"room":"a","topic":"t","data":1{more}}}"#));
    let both = publish(r#","event_id":"m\u002d1","idempotency_key":"k 1""#).unwrap();
    assert_eq!(both.id.as_deref(), Some("1"));
    let Command::Publish { event_id, idempotency_key, .. } = both.command else { panic!() };
    assert_eq!((event_id.as_deref(), idempotency_key), (Some("m-1"), Some(IdempotencyKey::of_client("k 1".into()))));
    for empty in ["null", r#""""#] {
        let neither = publish(&format!(r#","event_id":{empty},"idempotency_key":{empty}"#)).unwrap().command;
        assert!(matches!(neither, Command::Publish { event_id: None, idempotency_key: None, .. }), "{neither:?}");
    }
    for name in ["event_id", "idempotency_key"] {
        let of = |bytes: usize| publish(&format!(r#","{name}":"{}""#, "x".repeat(bytes)));
        assert!(of(MAX_FIELD_BYTES).is_ok());
        let error = of(MAX_FIELD_BYTES + 1).unwrap_err();
        assert!(error.code == ErrorCode::LimitExceeded && error.message.contains(name), "{error}");
        let error = publish(&format!(r#","{name}":5"#)).unwrap_err();
        assert_eq!((error.code, error.message), (ErrorCode::BadRequest, format!("{name} must be a string, not 5")));
    }
}

#[test]
fn binary_data_is_base64() {
    let publish = |data64: &str| decode(&format!(r#"{{"type":"publish","room":"a","topic":"t","data64":{data64}}}"#));
    let Command::Publish { payload, key, .. } = publish(r#""AAH/""#).unwrap().command else { panic!() };
    assert_eq!((payload, key), (Payload::Binary(vec![0, 1, 255].into()), None));
    for bad in [r#""AAH""#, r#""AAH_""#, r#""A A=""#, r#""====""#] {
        let error = publish(bad).unwrap_err();
        assert_eq!(error.code, ErrorCode::BadRequest);
        assert!(error.message.starts_with("data64 is not base64"), "{}", error.message);
    }
    assert_eq!(publish("5").unwrap_err().message, "data64 must be a string, not 5");
}

#[test]
fn an_id_is_echoed_as_written() {
    let id = |id: &str| decode(&format!(r#"{{"id":{id},"type":"ping"}}"#));
    for written in [r#""a\u0062""#, "7", "-1.5e3", r#""""#, "0"] {
        assert_eq!(id(written).unwrap().id.as_deref(), Some(written));
    }
    assert_eq!(id("null").unwrap().id, None);
    let longest = format!("\"{}\"", "x".repeat(MAX_ID_BYTES));
    assert_eq!(id(&longest).unwrap().id.as_deref(), Some(&*longest));
    assert_eq!(id(&format!("\"{}\"", "x".repeat(129))).unwrap_err().code, ErrorCode::LimitExceeded);
    assert_eq!(id(&"1".repeat(129)).unwrap_err().code, ErrorCode::LimitExceeded);
    for (wrong, got) in [("true", "a boolean"), ("{}", "an object"), ("[1]", "an array")] {
        assert_eq!(id(wrong).unwrap_err().message, format!("id must be a string or a number, not {got}"));
    }
}

#[test]
fn an_error_carries_the_id() {
    let error = decode(r#"{"type":"subscribe","id":"q1","room":5}"#).unwrap_err();
    assert_eq!((error.code, error.id.as_deref()), (ErrorCode::BadRequest, Some("\"q1\"")));
}

#[test]
fn wrong_types_are_named() {
    for (text, expected) in [
        (r#"{"room":"a"}"#, "type is missing: it must be a string"),
        (r#"{"type":7}"#, "type must be a string, not 7"),
        (r#"{"type":"subscribe","room":["a"]}"#, "room must be a string, not an array"),
        (r#"{"type":"subscribe"}"#, "subscribe needs room (a string) or rooms (an array of objects)"),
        (r#"{"type":"subscribe","room":"a","rooms":[]}"#, "subscribe takes room or rooms, not both"),
        (r#"{"type":"subscribe","rooms":{}}"#, "rooms must be an array of objects, not an object"),
        (r#"{"type":"subscribe","rooms":[]}"#, "rooms must not be empty"),
        (r#"{"type":"subscribe","rooms":["a"]}"#, "rooms[0] must be one JSON object"),
        (r#"{"type":"subscribe","rooms":[{"room":"a"},{"room":1}]}"#, "rooms[1].room must be a string, not 1"),
        (r#"{"type":"subscribe","room":"a","since":3}"#, "since must be one JSON object"),
        (r#"{"type":"subscribe","room":"a","since":{"offset":1}}"#, "since.epoch is missing: it must be a string"),
        (
            r#"{"type":"subscribe","rooms":[{"room":"a","since":{"epoch":"e","offset":-1}}]}"#,
            "rooms[0].since.offset must be an integer from 0 to 9007199254740991, not -1",
        ),
        (
            r#"{"type":"ack","room":"a","offset":9007199254740992}"#,
            "offset must be an integer from 0 to 9007199254740991, not 9007199254740992",
        ),
        (r#"{"type":"ack","room":"a","offset":1.5}"#, "offset must be an integer from 0 to 9007199254740991, not 1.5"),
        (
            r#"{"type":"ack","room":"a","offset":"1"}"#,
            "offset must be an integer from 0 to 9007199254740991, not a string",
        ),
        (
            r#"{"type":"history","room":"a","limit":true}"#,
            "limit must be an integer from 0 to 4294967295, not a boolean",
        ),
        (r#"{"type":"status"}"#, "status is missing: it must be online, away, busy or offline"),
        (
            r#"{"type":"status","status":null,"hidden":null}"#,
            "status is missing: it must be online, away, busy or offline",
        ),
        (
            r#"{"type":"status","status":"Busy"}"#,
            "there is no status \"Busy\": it is one of online, away, busy, offline",
        ),
        (r#"{"type":"status","hidden":1}"#, "hidden must be true or false, not 1"),
        (r#"{"type":"refresh"}"#, "token is missing: it must be a string"),
        (r#"{"type":"refresh","token":null}"#, "token is missing: it must be a string"),
        (r#"{"type":"publish","room":"a","topic":"","data":1}"#, "topic must not be empty"),
        (
            r#"{"type":"publish","room":"a","topic":"a\nb","data":1}"#,
            "topic must not contain the control character '\\n'",
        ),
        (
            r#"{"type":"publish","room":"a","topic":"\ud800","data":1}"#,
            "topic holds an escape that is no Unicode character",
        ),
        (
            r#"{"type":"publish","room":"a","topic":"t"}"#,
            "publish needs data (any JSON) or data64 (base64 in a string)",
        ),
        (
            r#"{"type":"publish","room":"a","topic":"t","data":null,"data64":""}"#,
            "publish takes data or data64, not both",
        ),
        ("[\"ping\"]", "a message must be one JSON object"),
        ("", "a message must be one JSON object"),
    ] {
        assert_eq!(refused(text), (ErrorCode::BadRequest, expected.to_owned()), "{text}");
    }
    for invalid in ["{", r#"{"type":"ping"} x"#, r#"{"type":"ping","type":"ping"}"#, "{\"type\":\"pi\tng\"}"] {
        let (code, message) = refused(invalid);
        assert_eq!(code, ErrorCode::BadRequest);
        assert!(message.starts_with("a message is not a valid JSON object: "), "{message}");
    }
    let error = request(Message::Binary(b"{\"type\":\"ping\"}")).unwrap_err();
    assert_eq!(error.code, ErrorCode::BadRequest);
}

#[test]
fn limits_are_told_apart() {
    let publish = |topic: &str, key: &str, data: &str| {
        decode(&format!(r#"{{"type":"publish","room":"a","topic":"{topic}","key":"{key}","data":{data}}}"#))
    };
    let long = "x".repeat(256);
    assert!(publish(&long[1..], &long[1..], "1").is_ok());
    assert_eq!(publish(&long, "", "1").unwrap_err().code, ErrorCode::LimitExceeded);
    assert_eq!(publish("t", &long, "1").unwrap_err().code, ErrorCode::LimitExceeded);
    let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
    assert_eq!(publish("t", "", &deep).unwrap_err().message, "data is nested deeper than 100 levels");

    let rooms = |count: usize| {
        let entries: Vec<String> = (0..count).map(|n| format!(r#"{{"room":"r{n}"}}"#)).collect();
        decode(&format!(r#"{{"type":"subscribe","id":1,"rooms":[{}]}}"#, entries.join(",")))
    };
    assert!(matches!(rooms(1_024).unwrap().command, Command::Subscribe(rooms) if rooms.len() == 1_024));
    let error = rooms(1_500).unwrap_err();
    assert_eq!((error.code, error.id.as_deref()), (ErrorCode::LimitExceeded, Some("1")));

    for (name, code) in [("a{b}", ErrorCode::BadRoom), ("", ErrorCode::BadRoom), ("a b", ErrorCode::BadRoom)] {
        assert_eq!(refused(&format!(r#"{{"type":"presence","room":"{name}"}}"#)).0, code);
    }
}

#[test]
fn an_unknown_command_is_named_without_its_tricks() {
    assert_eq!(refused(r#"{"type":"fly"}"#), (ErrorCode::UnknownCommand, "there is no command \"fly\"".into()));
    let (code, message) = refused(r#"{"type":"\u001b[31m\"\u202e"}"#);
    assert_eq!(code, ErrorCode::UnknownCommand);
    assert_eq!(message, r#"there is no command "\u{1b}[31m\"\u{202e}""#);
    assert!(refused(&format!(r#"{{"type":"{}"}}"#, "é".repeat(10_000))).1.len() < 100);
}

#[test]
fn unknown_fields_are_ignored() {
    assert_eq!(command(r#"{"type":"ping","colour":{"deep":[1,2]},"room":5,"data":"unused"}"#), Command::Ping);
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        ".{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            proptest::collection::hash_map(".{0,4}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_panics(text in r#"[ \{\}\[\]":,\\a-z0-9.eé-]{0,60}"#) {
        let _ = decode(&text);
    }

    #[test]
    fn a_command_with_any_values_is_understood_or_refused(
        kind in prop_oneof![Just("subscribe"), Just("publish"), Just("history"), Just("ack"), Just("unread"), Just("connect"),
            Just("signal"), Just("status")],
        values in proptest::collection::vec(any_json(), 13),
    ) {
        let names = [
            "room", "rooms", "since", "topic", "data", "offset", "limit", "id", "event_id", "idempotency_key", "ttl",
            "status", "hidden",
        ];
        let mut object: serde_json::Map<_, _> = names.iter().map(|n| (*n).to_owned()).zip(values).collect();
        object.insert("type".into(), kind.into());
        if let Err(error) = decode(&serde_json::Value::Object(object).to_string()) {
            prop_assert!(matches!(error.code, ErrorCode::BadRequest | ErrorCode::BadRoom | ErrorCode::LimitExceeded));
        }
    }

    #[test]
    fn a_publication_arrives_whole(topic in "[^\\p{Cc}]{1,40}", key in proptest::option::of(".{0,40}"), data in any_json()) {
        let text = serde_json::json!({"type": "publish", "room": "r", "topic": topic, "key": key, "data": data});
        let Command::Publish { topic: t, key: k, payload: Payload::Json(raw), .. } = command(&text.to_string()) else {
            panic!("not a publish")
        };
        prop_assert_eq!(&*t, topic);
        prop_assert_eq!(k.as_deref(), key.as_deref());
        prop_assert_eq!(raw.get(), data.to_string());
    }
}

#[test]
fn a_call_takes_binary_data_that_came_beside_it() {
    let parts = [Bytes::from_static(&[1, 2])];
    let call = |fields: &str| match named("rpc", Some(fields), &parts) {
        Ok(Command::Call(call)) => Ok(call.data),
        Ok(other) => panic!("{other:?}"),
        Err((code, _)) => Err(code),
    };
    let part = r#"{"method":"m","data":{"_placeholder":true,"num":0}}"#;
    assert_eq!(call(part), Ok(Some(Payload::Binary(parts[0].clone()))));
    for bad in [r#"{"method":"m"}"#, r#"{"method":"m","data":{"in":{"_placeholder":true,"num":0}}}"#] {
        assert_eq!(call(bad), Err(ErrorCode::BadRequest), "{bad}");
    }
    assert!(matches!(named("ping", Some("{}"), &parts), Err((ErrorCode::BadRequest, _))));
}
