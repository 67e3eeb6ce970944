//! A server message of the document, rebuilt into what the server had.

use std::sync::Arc;

use roomcast::testing::{
    model::{
        Batch, CommandId, Epoch, ErrorCode, Event, Limits, Member, Payload, Position, PresenceList, Progress, Receipt,
        Reply, Retained, Room, SignalNotice, Stats, Unread,
    },
    protocol::{Dialect, Message, Messages, Native, PresenceChange},
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

/// The position that a part of a message names.
fn position(part: &Value) -> Position {
    Position::new(Epoch::new(part["epoch"].as_str().unwrap()), part["offset"].as_u64().unwrap())
}

/// A server message as a client would read it; rebuilt into what the server had, and encoded again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Example<'a> {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    room: Option<String>,
    connection: Option<String>,
    pub(super) version: Option<String>,
    ping_interval: Option<u64>,
    limits: Option<ExampleLimits>,
    code: Option<String>,
    message: Option<String>,
    epoch: Option<String>,
    after: Option<u64>,
    offset: Option<u64>,
    recovered: Option<bool>,
    complete: Option<bool>,
    #[serde(default)]
    retained: bool,
    #[serde(borrow)]
    events: Option<Vec<ExampleEvent<'a>>>,
    members: Option<Vec<ExampleMember>>,
    total: Option<usize>,
    topic: Option<String>,
    user: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    ttl: Option<u32>,
    time: Option<u64>,
    after_ms: Option<u64>,
    expires_at: Option<u64>,
    transport: Option<String>,
    dialect: Option<String>,
    tls: Option<bool>,
    compression: Option<String>,
    connected_ms: Option<u64>,
    rooms: Option<Value>,
    receipts: Option<Value>,
    delivered: Option<Value>,
    messages_in: Option<u32>,
    bytes_in: Option<u64>,
    frames_out: Option<u32>,
    bytes_out: Option<u64>,
    bytes_plain: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExampleLimits {
    max_message_bytes: usize,
    max_rooms: usize,
    commands_per_second: u32,
    command_burst: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExampleEvent<'a> {
    /// Left out where there is no position.
    #[serde(default)]
    offset: u64,
    topic: String,
    key: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data64: Option<String>,
    time: u64,
    user: Option<String>,
    id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExampleMember {
    connection: String,
    user: Option<String>,
}

impl Example<'_> {
    pub(super) fn encode(&self, out: &mut Messages) {
        let reply = match self.kind.as_str() {
            "welcome" => Reply::Welcome {
                connection: self.connection.as_deref().unwrap().into(),
                ping_interval_ms: self.ping_interval.unwrap(),
                limits: self.limits(),
            },
            "subscribed" => Reply::Subscribed {
                room: self.room(),
                position: Position::new(self.epoch(), self.offset.unwrap()),
                recovered: self.recovered.unwrap(),
            },
            "unsubscribed" => Reply::Unsubscribed { room: self.room(), code: self.code.as_deref().map(error_code) },
            "published" => Reply::Published(Position::new(self.epoch(), self.offset.unwrap())),
            "gap" => Reply::Gap {
                room: self.room(),
                epoch: self.epoch(),
                after: self.after.unwrap(),
                offset: self.offset.unwrap(),
            },
            "history" => Reply::History {
                room: self.room(),
                epoch: self.epoch(),
                after: self.after.unwrap(),
                offset: self.offset.unwrap(),
                complete: self.complete.unwrap(),
                events: self.events(),
            },
            "unread" => Reply::Unread { rooms: self.unread() },
            "receipts" => Reply::Receipts { receipts: self.receipts() },
            "result" => Reply::Result { data: self.data.map(|data| Payload::Json(data.to_owned())) },
            "done" => Reply::Done { expires_at: self.expires_at },
            "pong" => Reply::Pong,
            "stats" => Reply::Stats(Stats {
                transport: one_of(&["websocket"], self.transport.as_deref().unwrap()),
                dialect: self.dialect.as_deref().unwrap().into(),
                tls: self.tls.unwrap(),
                compression: self.compression.as_deref().map(|text| one_of(&["permessage-deflate"], text)),
                connected_ms: self.connected_ms.unwrap(),
                rooms: usize::try_from(self.rooms.as_ref().unwrap().as_u64().unwrap()).unwrap(),
                messages_in: self.messages_in.unwrap(),
                bytes_in: self.bytes_in.unwrap(),
                frames_out: self.frames_out.unwrap(),
                bytes_out: self.bytes_out.unwrap(),
                bytes_plain: self.bytes_plain.unwrap(),
            }),
            "refresh" => Reply::Refresh { expires_at: self.expires_at.unwrap() },
            "reconnect" => Reply::Reconnect { after_ms: self.after_ms.unwrap() },
            "error" => Reply::Error {
                code: error_code(self.code.as_deref().unwrap()),
                message: self.message.clone().unwrap(),
                room: self.room.as_deref().map(|name| Room::parse(name).unwrap()),
            },
            "presence" if self.members.is_some() => Reply::Presence {
                room: self.room(),
                list: PresenceList { members: self.members(), total: self.total.unwrap() },
            },
            _ => return self.encode_broadcast(out),
        };
        Native.reply(&reply, self.id.map(|id| CommandId::from(id.get())).as_ref(), out);
    }

    fn encode_broadcast(&self, out: &mut Messages) {
        assert!(self.id.is_none(), "a broadcast answers nobody");
        let (room, events) = (self.room(), self.events());
        if self.kind == "signal" {
            let user = self.user.as_deref().map(Into::into);
            let connection = self.connection.as_deref().unwrap_or("another").into();
            let notice = SignalNotice {
                room,
                topic: self.topic.as_deref().unwrap().into(),
                sender: Member { connection, user },
                data: self.data.map(|data| Payload::Json(data.to_owned())),
                ttl_ms: self.ttl.unwrap(),
                time: self.time.unwrap(),
            };
            return Native.signal(&notice, 0, out);
        }
        let change = |joined, left| PresenceChange {
            room: self.room(),
            joined,
            left,
            members: vec![],
            total: self.total.unwrap(),
        };
        match self.kind.as_str() {
            "events" if self.retained => {
                Native.retained(&Retained { room, epoch: self.epoch(), offset: 0, events }, 0, out);
            }
            "events" if self.epoch.is_none() => {
                assert!(self.after.is_none() && self.offset.is_none() && events.iter().all(|event| event.offset == 0));
                Native.batch(&Batch { room, epoch: Epoch::new(""), after: 0, offset: 0, events }, 0, out);
            }
            "events" => {
                let (after, offset) = (self.after.unwrap(), self.offset.unwrap());
                assert!(events.iter().all(|event| after < event.offset && event.offset <= offset));
                Native.batch(&Batch { room, epoch: self.epoch(), after, offset, events }, 0, out);
            }
            "joined" => Native.presence(&change(self.members(), vec![]), out),
            "left" => Native.presence(&change(vec![], self.members()), out),
            "presence" => Native.presence(&change(vec![], vec![]), out),
            unknown => panic!("the server has no message {unknown}"),
        }
    }

    fn room(&self) -> Room {
        Room::parse(self.room.as_deref().unwrap()).unwrap()
    }

    fn epoch(&self) -> Epoch {
        Epoch::new(self.epoch.as_deref().unwrap())
    }

    fn limits(&self) -> Limits {
        let ExampleLimits { max_message_bytes, max_rooms, commands_per_second, command_burst } =
            *self.limits.as_ref().unwrap();
        Limits { max_message_bytes, max_rooms, commands_per_second, command_burst }
    }

    fn events(&self) -> Vec<Arc<Event>> {
        let event = |event: &ExampleEvent<'_>| {
            let payload = match (event.data, &event.data64) {
                (Some(data), None) => Payload::Json(data.to_owned()),
                (None, Some(text)) => binary(text),
                _ => panic!("an event has data or data64"),
            };
            Arc::new(Event {
                offset: event.offset,
                room: None,
                time: event.time,
                topic: event.topic.as_str().into(),
                key: event.key.as_deref().map(Into::into),
                payload,
                user: event.user.as_deref().map(Into::into),
                id: event.id.as_deref().map(Into::into),
            })
        };
        self.events.iter().flatten().map(event).collect()
    }

    fn unread(&self) -> Vec<Unread> {
        let unread = |room: &Value| Unread {
            room: Room::parse(room["room"].as_str().unwrap()).unwrap(),
            read: position(room),
            end: room["end"].as_u64().unwrap(),
        };
        self.rooms.as_ref().unwrap().as_array().unwrap().iter().map(unread).collect()
    }

    fn receipts(&self) -> Vec<Receipt> {
        let receipt = |progress: Progress| {
            move |receipt: &Value| Receipt {
                progress,
                room: Room::parse(receipt["room"].as_str().unwrap()).unwrap(),
                user: receipt["user"].as_str().unwrap().into(),
                position: position(receipt),
            }
        };
        let each = |list: &Option<Value>, progress| -> Vec<Receipt> {
            list.iter().flat_map(|list| list.as_array().unwrap()).map(receipt(progress)).collect()
        };
        [each(&self.receipts, Progress::Read), each(&self.delivered, Progress::Delivered)].concat()
    }

    fn members(&self) -> Vec<Member> {
        let member = |member: &ExampleMember| Member {
            connection: member.connection.as_str().into(),
            user: member.user.as_deref().map(Into::into),
        };
        self.members.iter().flatten().map(member).collect()
    }
}

/// The dialect's own reading of base64.
fn binary(data64: &str) -> Payload {
    let publish = serde_json::json!({"type": "publish", "room": "r", "topic": "t", "data64": data64}).to_string();
    match Native.decode(Message::Text(&publish)).unwrap().command {
        roomcast::testing::model::Command::Publish { payload, .. } => payload,
        other => panic!("{other:?}"),
    }
}

fn one_of(known: &[&'static str], text: &str) -> &'static str {
    known.iter().find(|word| **word == text).unwrap_or_else(|| panic!("{text} is none of {known:?}"))
}

fn error_code(text: &str) -> ErrorCode {
    ErrorCode::ALL.into_iter().find(|code| code.as_str() == text).unwrap_or_else(|| panic!("no error code {text}"))
}
