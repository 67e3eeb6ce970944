#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json, value::RawValue};

use super::*;
use crate::model::{Epoch, ErrorCode, Limits, Position, Room};

fn texts(out: &Messages) -> Vec<String> {
    out.iter()
        .map(|(kind, bytes)| {
            assert_eq!(kind, MessageKind::Text);
            String::from_utf8(bytes.to_vec()).unwrap()
        })
        .collect()
}

fn replied(message: &Reply, id: Option<&str>) -> String {
    let mut out = Messages::default();
    reply(message, id.map(CommandId::from).as_ref(), Binary::Base64, &mut out);
    texts(&out).remove(0)
}

fn room() -> Room {
    Room::parse("trip:1").unwrap()
}

fn event(offset: u64, data: &str) -> Arc<Event> {
    Arc::new(Event {
        offset,
        room: None,
        time: 1_700_000_000_123,
        topic: "moved".into(),
        key: None,
        payload: Payload::Json(RawValue::from_string(data.to_owned()).unwrap()),
        user: None,
        id: None,
    })
}

#[test]
fn replies_have_their_shape() {
    let limits = Limits { max_message_bytes: 1, max_rooms: 2, commands_per_second: 3, command_burst: 4 };
    let epoch = Epoch::new("e");
    let ann = Member { connection: "c1".into(), user: Some("ann".into()) };
    let anonymous = Member { connection: "c2".into(), user: None };
    let error = Reply::Error { code: ErrorCode::Forbidden, message: "no \"entry\"\n".into(), room: Some(room()) };
    for (reply, id, expected) in [
        (
            Reply::Welcome { connection: "c1".into(), ping_interval_ms: 25_000, limits },
            None,
            concat!(
                r#"{"type":"welcome","connection":"c1","version":""#,
                env!("CARGO_PKG_VERSION"),
                r#"","ping_interval":25000,"limits":{"max_message_bytes":1,"max_rooms":2,"#,
                r#""commands_per_second":3,"command_burst":4}}"#
            ),
        ),
        (
            Reply::Subscribed { room: room(), position: Position::new(epoch.clone(), 7), recovered: true },
            Some("\"a\""),
            r#"{"type":"subscribed","id":"a","room":"trip:1","epoch":"e","offset":7,"recovered":true}"#,
        ),
        (
            Reply::Unsubscribed { room: room(), code: None },
            Some("1"),
            r#"{"type":"unsubscribed","id":1,"room":"trip:1"}"#,
        ),
        (
            Reply::Unsubscribed { room: room(), code: Some(ErrorCode::Forbidden) },
            None,
            r#"{"type":"unsubscribed","room":"trip:1","code":"forbidden"}"#,
        ),
        (
            Reply::Published(Position::new(epoch.clone(), 9)),
            Some("2"),
            r#"{"type":"published","id":2,"epoch":"e","offset":9}"#,
        ),
        (
            Reply::Gap { room: room(), epoch: epoch.clone(), after: 1, offset: 4 },
            None,
            r#"{"type":"gap","room":"trip:1","epoch":"e","after":1,"offset":4}"#,
        ),
        (
            Reply::Presence { room: room(), list: PresenceList { members: vec![ann, anonymous], total: 5 } },
            None,
            r#"{"type":"presence","room":"trip:1","members":[{"connection":"c1","user":"ann"},{"connection":"c2"}],"total":5}"#,
        ),
        (
            Reply::History { room: room(), epoch, after: 1, offset: 2, complete: true, events: vec![event(2, "[ 1]")] },
            None,
            r#"{"type":"history","room":"trip:1","epoch":"e","after":1,"offset":2,"complete":true,"events":[{"topic":"moved","data":[ 1],"time":1700000000123,"offset":2}]}"#,
        ),
        (Reply::Done { expires_at: None }, Some("3"), r#"{"type":"done","id":3}"#),
        (Reply::Done { expires_at: Some(5) }, None, r#"{"type":"done","expires_at":5}"#),
        (Reply::Pong, None, r#"{"type":"pong"}"#),
        (Reply::Reconnect { after_ms: 250 }, None, r#"{"type":"reconnect","after_ms":250}"#),
        (error, None, r#"{"type":"error","code":"forbidden","message":"no \"entry\"\u000a","room":"trip:1"}"#),
        (
            Reply::Error { code: ErrorCode::BadRequest, message: String::new(), room: None },
            Some("4"),
            r#"{"type":"error","id":4,"code":"bad_request","message":""}"#,
        ),
    ] {
        assert_eq!(replied(&reply, id), expected);
    }
}

#[test]
fn a_batch_covers_its_range() {
    let full = Event {
        key: Some("bus".into()),
        payload: Payload::Binary(vec![0, 1, 255, 7].into()),
        user: Some("ann".into()),
        id: Some("p1".into()),
        ..Event::clone(&event(5, "0"))
    };
    let events = vec![event(3, "null"), Arc::new(full)];
    let mut out = Messages::default();
    batch(
        &Batch { room: room(), epoch: Epoch::new("e"), after: 1, offset: 6, events: events.clone() },
        Binary::Base64,
        &mut out,
    );
    retained(&Retained { room: room(), epoch: Epoch::new("e"), offset: 6, events }, Binary::Base64, &mut out);
    let list = r#"[{"topic":"moved","data":null,"time":1700000000123,"offset":3},{"topic":"moved","key":"bus","data64":"AAH/Bw==","time":1700000000123,"user":"ann","id":"p1","offset":5}]"#;
    assert_eq!(
        texts(&out),
        [
            format!(r#"{{"type":"events","room":"trip:1","epoch":"e","events":{list},"after":1,"offset":6}}"#),
            format!(r#"{{"type":"events","room":"trip:1","epoch":"e","retained":true,"events":{list}}}"#),
        ]
    );
}

#[test]
fn presence_names_members_or_counts() {
    let member = |name: &str| Member { connection: name.into(), user: None };
    let mut out = Messages::default();
    let mut change =
        PresenceChange { room: room(), joined: vec![member("a")], left: vec![member("b")], members: vec![], total: 3 };
    presence(&change, &mut out);
    change.joined.clear();
    change.left.clear();
    presence(&change, &mut out);
    change.members = vec![member("c")];
    presence(&change, &mut out);
    assert_eq!(
        texts(&out),
        [
            r#"{"type":"joined","room":"trip:1","members":[{"connection":"a"}],"total":3}"#,
            r#"{"type":"left","room":"trip:1","members":[{"connection":"b"}],"total":3}"#,
            r#"{"type":"presence","room":"trip:1","total":3}"#,
            r#"{"type":"presence","room":"trip:1","members":[{"connection":"c"}],"total":3}"#,
        ]
    );
}

proptest! {
    #[test]
    fn every_text_and_byte_comes_back(
        topic in any::<String>(), key in any::<Option<String>>(), id in any::<Option<String>>(), bytes in any::<Vec<u8>>(),
    ) {
        let event = Event {
            topic: topic.clone().into(),
            key: key.clone().map(Into::into),
            id: id.clone().map(Into::into),
            payload: Payload::Binary(bytes.clone().into()),
            ..Event::clone(&event(1, "0"))
        };
        let mut out = Messages::default();
        // An empty one stands for events without a log.
        let epoch = Epoch::new(&format!("e{topic}"));
        batch(&Batch { room: room(), epoch: epoch.clone(), after: 0, offset: 1, events: vec![event.into()] }, Binary::Base64, &mut out);
        let parsed: Value = serde_json::from_str(&texts(&out)[0]).unwrap();
        let mut expected = json!({"offset": 1, "topic": topic, "data64": STANDARD.encode(&bytes), "time": 1_700_000_000_123_u64});
        for (name, value) in [("key", key), ("id", id)] {
            if let Some(value) = value {
                expected[name] = value.into();
            }
        }
        prop_assert_eq!(&parsed["events"], &json!([expected]));
        prop_assert_eq!(parsed["epoch"].as_str(), Some(epoch.as_str()));
    }
}
