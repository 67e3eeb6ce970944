//! Whatever a client sends, the native dialect answers with a command or an error that names its code; what it accepted
//! can be sent to others, and they can read it.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use roomcast::testing::{
    model::{
        Batch, Command, Epoch, Event, IdempotencyKey, MAX_DEPTH, MAX_FIELD_BYTES, MAX_OFFSET, Payload, Publication,
        Reply, Room, Signal,
    },
    protocol::{Dialect, MAX_ID_BYTES, MAX_ROOMS_A_COMMAND, Message, Messages, Native},
};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    assert!(Native.decode(Message::Binary(data)).is_err());
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (id, reply) = match Native.decode(Message::Text(text)) {
        Ok(request) => {
            check(request.command);
            (request.id, Reply::Pong)
        }
        Err(error) => {
            assert!(error.message.len() < 1_000 && !error.message.chars().any(char::is_control), "{error}");
            (error.id, Reply::Error { code: error.code, message: error.message, room: None })
        }
    };
    assert!(id.as_ref().is_none_or(|id| id.len() <= MAX_ID_BYTES + 2));
    let mut out = Messages::default();
    Native.reply(&reply, id.as_ref(), &mut out);
    let written = only(&out);
    let raw: std::collections::BTreeMap<&str, &serde_json::value::RawValue> = serde_json::from_slice(written).unwrap();
    assert_eq!(raw.get("id").map(|id| id.get()), id.as_deref());
});

fn check(command: Command) {
    match command {
        // Other dialects' alone.
        Command::Heard | Command::Answer(_) => panic!("the native dialect has no such command"),
        Command::Subscribe(rooms) => {
            assert!((1..=MAX_ROOMS_A_COMMAND).contains(&rooms.len()));
            for entry in rooms {
                check_room(&entry.room);
                assert!(entry.since.is_none_or(|since| since.offset <= MAX_OFFSET));
            }
        }
        Command::Publish { room, topic, payload, key, event_id, idempotency_key } => {
            check_room(&room);
            assert!((1..=MAX_FIELD_BYTES).contains(&topic.len()) && !topic.chars().any(char::is_control));
            let once = idempotency_key.as_ref().map(IdempotencyKey::text);
            let texts = [key.as_deref(), event_id.as_deref(), once];
            assert!(texts.into_iter().flatten().all(|text| text.len() <= MAX_FIELD_BYTES));
            check_event(room, Publication { topic, key, payload, user: None, id: event_id, idempotency_key });
        }
        Command::Signal { room, topic, data, ttl_ms } => {
            check_room(&room);
            assert!((1..=MAX_FIELD_BYTES).contains(&topic.len()) && !topic.chars().any(char::is_control));
            assert!(ttl_ms.is_none_or(|ttl_ms| ttl_ms <= Signal::MAX_TTL_MS));
            assert!(data.is_none_or(|data| match data {
                Payload::Json(data) => data.get().len() <= Signal::MAX_DATA,
                Payload::Binary(_) => false,
            }));
        }
        Command::Unsubscribe { room, .. } | Command::Presence { room } => check_room(&room),
        Command::History { room, since, .. } => {
            check_room(&room);
            assert!(since.is_none_or(|since| since.offset <= MAX_OFFSET));
        }
        Command::Unread { rooms } => rooms.iter().for_each(check_room),
        Command::Ack { room, epoch, offset, .. } | Command::Delete { room, epoch, offset } => {
            assert!(epoch.is_none_or(|epoch| epoch.as_str().len() <= 64 && !epoch.is_none()));
            check_room(&room);
            assert!(offset <= MAX_OFFSET);
        }
        Command::Call(call) => {
            assert!((1..=MAX_FIELD_BYTES).contains(&call.method.len()) && !call.method.chars().any(char::is_control));
        }
        Command::Connect { .. } | Command::Refresh { .. } | Command::Ping | Command::Stats | Command::Status(_) => {}
    }
}

fn check_room(room: &Room) {
    let name = room.as_str();
    assert!((1..=Room::MAX_BYTES).contains(&name.len()));
    assert!(!name.contains(|c: char| c.is_control() || c.is_whitespace() || c == '{' || c == '}'));
}

/// What one client publishes, a strict parser of another one reads, unchanged.
fn check_event(room: Room, publication: Publication) {
    let event = Arc::new(Event::from_publication(publication, 1, 0, None));
    let mut out = Messages::default();
    let batch = Batch { room, epoch: Epoch::new("e"), after: 0, offset: 1, events: vec![Arc::clone(&event)] };
    Native.batch(&batch, 0, &mut out);
    let written: Value = serde_json::from_slice(only(&out)).unwrap();
    let read = &written["events"][0];
    assert_eq!((read["topic"].as_str(), read["key"].as_str()), (Some(&*event.topic), event.key.as_deref()));
    assert_eq!(read["id"].as_str(), event.id.as_deref());
    match &event.payload {
        Payload::Json(data) => {
            assert_eq!(read["data"], serde_json::from_str::<Value>(data.get()).unwrap());
            assert!(depth(&read["data"]) <= MAX_DEPTH);
        }
        Payload::Binary(bytes) => assert_eq!(read["data64"].as_str().map(str::len), Some(bytes.len().div_ceil(3) * 4)),
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn only(out: &Messages) -> &[u8] {
    let mut messages = out.iter();
    let (_, message) = messages.next().unwrap();
    assert!(messages.next().is_none());
    message
}
