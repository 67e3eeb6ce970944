//! Replies and batches as text. Written by hand: `type` comes first, and data is copied, not parsed.
//!
//! Pure. Always holds: what is written for a whole room contains nothing of its receiver.

use std::io::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use crate::{
    model::{
        Batch, CommandId, Event, Member, Payload, PresenceList, Progress, Receipt, Reply, Retained, Room, SignalNotice,
        Unread,
    },
    protocol::{MessageKind, Messages, PresenceChange},
};

/// How binary data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    /// As base64 in `data64`.
    Base64,
    /// As messages behind the text, with a marker in `data`: `{"_placeholder":true,"num":0}`.
    Beside,
}

/// A reply to one connection.
pub(super) fn reply(reply: &Reply, id: Option<&CommandId>, binary: Binary, out: &mut Messages) {
    let write = |out: &mut Messages, kind: &str, id, fields: &dyn Fn(Object<'_>) -> Object<'_>| {
        write(out, kind, id, binary, fields);
    };
    match reply {
        Reply::Welcome { connection, ping_interval_ms, limits } => write(out, "welcome", id, &|o| {
            o.text("connection", connection)
                .text("version", env!("CARGO_PKG_VERSION"))
                .number("ping_interval", *ping_interval_ms)
                .object("limits", |o| {
                    o.number("max_message_bytes", limits.max_message_bytes as u64)
                        .number("max_rooms", limits.max_rooms as u64)
                        .number("commands_per_second", u64::from(limits.commands_per_second))
                        .number("command_burst", u64::from(limits.command_burst))
                })
        }),
        Reply::Subscribed { room, position, recovered } => write(out, "subscribed", id, &|o| {
            o.text("room", room.as_str())
                .text("epoch", position.epoch.as_str())
                .number("offset", position.offset)
                .flag("recovered", *recovered)
        }),
        Reply::Unsubscribed { room, code } => write(out, "unsubscribed", id, &|o| {
            o.text("room", room.as_str()).optional("code", code.map(|code| code.as_str()))
        }),
        Reply::Published(position) => {
            write(out, "published", id, &|o| o.text("epoch", position.epoch.as_str()).number("offset", position.offset))
        }
        Reply::Gap { room, epoch, after, offset } => write(out, "gap", id, &|o| {
            let o = o.text("room", room.as_str());
            if epoch.is_none() {
                return o;
            }
            o.text("epoch", epoch.as_str()).number("after", *after).number("offset", *offset)
        }),
        Reply::Presence { room, list: PresenceList { members, total } } => write(out, "presence", id, &|o| {
            o.text("room", room.as_str()).array("members", members, member).number("total", *total as u64)
        }),
        Reply::History { room, epoch, after, offset, complete, events } => write(out, "history", id, &|o| {
            o.text("room", room.as_str())
                .text("epoch", epoch.as_str())
                .number("after", *after)
                .number("offset", *offset)
                .flag("complete", *complete)
                .array("events", events, |e, o| event(e, o))
        }),
        Reply::Unread { rooms } => write(out, "unread", id, &|o| o.array("rooms", rooms, unread)),
        Reply::Receipts { receipts } => {
            let of = |progress| receipts.iter().filter(move |receipt| receipt.progress == progress).collect::<Vec<_>>();
            let (read, delivered) = (of(Progress::Read), of(Progress::Delivered));
            write(out, "receipts", id, &|o| {
                let o = o.array("receipts", &read, |it, o| receipt(it, o));
                if delivered.is_empty() { o } else { o.array("delivered", &delivered, |it, o| receipt(it, o)) }
            });
        }
        Reply::Done { expires_at } => write(out, "done", id, &|o| match expires_at {
            Some(at) => o.number("expires_at", *at),
            None => o,
        }),
        Reply::Result { data } => write(out, "result", id, &|o| match data {
            Some(data) => payload(data, o),
            None => o,
        }),
        Reply::Pong => write(out, "pong", id, &|o| o),
        Reply::Stats(stats) => write(out, "stats", id, &|o| {
            o.text("transport", stats.transport)
                .text("dialect", &stats.dialect)
                .flag("tls", stats.tls)
                .optional("compression", stats.compression)
                .number("connected_ms", stats.connected_ms)
                .number("rooms", stats.rooms as u64)
                .number("messages_in", u64::from(stats.messages_in))
                .number("bytes_in", stats.bytes_in)
                .number("frames_out", u64::from(stats.frames_out))
                .number("bytes_out", stats.bytes_out)
                .number("bytes_plain", stats.bytes_plain)
        }),
        Reply::Refresh { expires_at } => write(out, "refresh", id, &|o| o.number("expires_at", *expires_at)),
        Reply::Reconnect { after_ms } => write(out, "reconnect", id, &|o| o.number("after_ms", *after_ms)),
        Reply::Answer(answer) => out.add_prepared(answer),
        Reply::Error { code, message, room } => write(out, "error", id, &|o| {
            o.text("code", code.as_str()).text("message", message).optional("room", room.as_ref().map(Room::as_str))
        }),
    }
}

/// A batch for all members of the room.
pub(super) fn batch(batch: &Batch, binary: Binary, out: &mut Messages) {
    write(out, "events", None, binary, |o| {
        let o = o.text("room", batch.room.as_str());
        if !batch.is_logged() {
            return o.array("events", &batch.events, |e, o| unlogged(e, o));
        }
        // What changes from message to message stands together, at the end: deflate then refers to the message before with few
        // matches, and to the event's offset for the two that are like it. Measured by `roomcast-bench envelope`.
        let o = o.text("epoch", batch.epoch.as_str()).array("events", &batch.events, |e, o| event(e, o));
        o.number("after", batch.after).number("offset", batch.offset)
    });
}

/// Retained values for new subscribers. Without `after` and `offset`, because they do not move a client's position.
pub(super) fn retained(retained: &Retained, binary: Binary, out: &mut Messages) {
    write(out, "events", None, binary, |o| {
        o.text("room", retained.room.as_str()).text("epoch", retained.epoch.as_str()).flag("retained", true).array(
            "events",
            &retained.events,
            |e, o| event(e, o),
        )
    });
}

/// The members that joined and left. In a large room only the total is sent.
pub(super) fn presence(change: &PresenceChange, out: &mut Messages) {
    let (room, total) = (change.room.as_str(), change.total as u64);
    if !change.members.is_empty() {
        write(out, "presence", None, Binary::Base64, |o| {
            o.text("room", room).array("members", &change.members, member).number("total", total)
        });
    } else if change.joined.is_empty() && change.left.is_empty() {
        write(out, "presence", None, Binary::Base64, |o| o.text("room", room).number("total", total));
    }
    for (kind, members) in [("joined", &change.joined), ("left", &change.left)] {
        if !members.is_empty() {
            write(out, kind, None, Binary::Base64, |o| {
                o.text("room", room).array("members", members, member).number("total", total)
            });
        }
    }
}

/// A signal, for all members but its sender. One whose user is known needs no name of a connection.
pub(super) fn signal(notice: &SignalNotice, binary: Binary, out: &mut Messages) {
    write(out, "signal", None, binary, |o| {
        let o = o.text("room", notice.room.as_str()).text("topic", &notice.topic);
        let o = match &notice.sender.user {
            Some(user) => o.text("user", user),
            None => o.text("connection", &notice.sender.connection),
        };
        let o = match &notice.data {
            Some(data) => payload(data, o),
            None => o,
        };
        o.number("ttl", u64::from(notice.ttl_ms)).number("time", notice.time)
    });
}

fn unread<'a>(unread: &Unread, object: Object<'a>) -> Object<'a> {
    let object = object.text("room", unread.room.as_str()).text("epoch", unread.read.epoch.as_str());
    object.number("offset", unread.read.offset).number("end", unread.end).number("unread", unread.count())
}

fn receipt<'a>(receipt: &Receipt, object: Object<'a>) -> Object<'a> {
    let object = object.text("room", receipt.room.as_str()).text("epoch", receipt.position.epoch.as_str());
    object.number("offset", receipt.position.offset).text("user", &receipt.user)
}

fn event<'a>(event: &Event, object: Object<'a>) -> Object<'a> {
    unlogged(event, object).number("offset", event.offset)
}

/// An event that has no position.
fn unlogged<'a>(event: &Event, object: Object<'a>) -> Object<'a> {
    let object = object.text("topic", &event.topic).optional("key", event.key.as_deref());
    let object = payload(&event.payload, object);
    object.number("time", event.time).optional("user", event.user.as_deref()).optional("id", event.id.as_deref())
}

fn payload<'a>(payload: &Payload, object: Object<'a>) -> Object<'a> {
    match payload {
        Payload::Json(data) => object.raw("data", data.get()),
        Payload::Binary(bytes) => object.binary(bytes),
    }
}

fn member<'a>(member: &Member, object: Object<'a>) -> Object<'a> {
    object.text("connection", &member.connection).optional("user", member.user.as_deref())
}

/// Writes one text message: an object of that `type`, the command's `id` next. What is written beside it follows.
fn write(
    out: &mut Messages,
    kind: &str,
    id: Option<&CommandId>,
    binary: Binary,
    fields: impl FnOnce(Object<'_>) -> Object<'_>,
) {
    let mut beside = Vec::new();
    out.push(MessageKind::Text, |out| {
        let beside = (binary == Binary::Beside).then_some(&mut beside);
        braced(out, beside, |object| {
            let object = object.text("type", kind);
            fields(match id {
                Some(id) => object.raw("id", id),
                None => object,
            })
        });
    });
    for bytes in beside {
        out.push(MessageKind::Binary, |out| out.extend_from_slice(&bytes));
    }
}

/// The inside of a JSON object that is being written. Names are ours and need no escape.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    /// The binary data beside the text.
    beside: Option<&'a mut Vec<Bytes>>,
    empty: bool,
}

impl Object<'_> {
    fn field(self, name: &str, value: impl FnOnce(&mut Vec<u8>)) -> Self {
        self.nested(name, |out, _| value(out))
    }

    fn nested(mut self, name: &str, value: impl FnOnce(&mut Vec<u8>, Option<&mut Vec<Bytes>>)) -> Self {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        value(self.out, self.beside.as_deref_mut());
        self
    }

    fn text(self, name: &str, text: &str) -> Self {
        self.field(name, |out| quote(text, out))
    }

    fn optional(self, name: &str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    fn number(self, name: &str, number: u64) -> Self {
        self.field(name, |out| {
            // A Vec takes every write.
            let _ = write!(out, "{number}");
        })
    }

    fn flag(self, name: &str, flag: bool) -> Self {
        self.raw(name, if flag { "true" } else { "false" })
    }

    /// A value that is JSON already.
    fn raw(self, name: &str, json: &str) -> Self {
        self.field(name, |out| out.extend_from_slice(json.as_bytes()))
    }

    /// An event's binary data.
    fn binary(mut self, bytes: &Bytes) -> Self {
        let Some(beside) = self.beside.as_deref_mut() else { return self.base64("data64", bytes) };
        let number = beside.len() as u64;
        beside.push(bytes.clone());
        self.object("data", |o| o.flag("_placeholder", true).number("num", number))
    }

    fn base64(self, name: &str, bytes: &[u8]) -> Self {
        self.field(name, |out| {
            out.push(b'"');
            let start = out.len();
            // Four characters for every three bytes begun; the slice is exactly that long, so encoding cannot fail.
            out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
            let _ = STANDARD.encode_slice(bytes, &mut out[start..]);
            out.push(b'"');
        })
    }

    fn object(self, name: &str, fields: impl FnOnce(Object<'_>) -> Object<'_>) -> Self {
        self.nested(name, |out, beside| braced(out, beside, fields))
    }

    fn array<T>(self, name: &str, items: &[T], mut fields: impl for<'a> FnMut(&T, Object<'a>) -> Object<'a>) -> Self {
        self.nested(name, |out, mut beside| {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                braced(out, beside.as_deref_mut(), |object| fields(item, object));
            }
            out.push(b']');
        })
    }
}

fn braced(out: &mut Vec<u8>, beside: Option<&mut Vec<Bytes>>, fields: impl FnOnce(Object<'_>) -> Object<'_>) {
    out.push(b'{');
    fields(Object { out, beside, empty: true });
    out.push(b'}');
}

/// Writes `text` as a JSON string (RFC 8259 section 7).
fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        match special[0] {
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            byte => {
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
        rest = &special[1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
