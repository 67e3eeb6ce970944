//! Carries out the steps of a message.
//!
//! Pure. Never looks for a value by a name: a step has the field. Always holds: what is written is JSON, whatever the values are; a
//! placeholder without a value is `null`, or leaves its member out.

use std::fmt::Display;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;

use super::{
    clock::{clock_of, rfc3339},
    json_text::{comma, number, quote},
    occasion::Occasion,
    request::claim,
    spread::copy_members,
};
use crate::{
    dialect::{Clock, EventRule, Field, Lacking, Piece, Placeholder, Pointer, Step, fits, text_of},
    model::{CommandId, Disconnect, Event, Payload, Reply, Room, UnixMillis},
};

/// What the placeholders of a message are filled from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) occasion: Occasion<'a>,
    pub(super) id: Option<&'a CommandId>,
    /// The prefix that the receivers write before the room's id.
    pub(super) prefix: &'a str,
    pub(super) now: UnixMillis,
    pub(super) events: &'a [EventRule],
}

impl<'a> Scene<'a> {
    /// The rule by which an event is written.
    pub(super) fn rule_of(&self, event: &Event) -> Option<&'a EventRule> {
        let room = self.occasion.room().map_or("", Room::as_str);
        self.events.iter().filter(|rule| rule.is_for(room, &event.topic)).find(|rule| match &event.payload {
            Payload::Json(data) => fits(&rule.when, data, &event.topic),
            Payload::Binary(_) => rule.when.is_empty(),
        })
    }

    fn data(&self, pointer: &Pointer) -> Option<&'a RawValue> {
        match self.occasion.payload()? {
            Payload::Json(data) => {
                pointer.find(data).ok().flatten().filter(|value| value.get() != "null" || pointer.is_whole())
            }
            Payload::Binary(_) => None,
        }
    }

    /// Writes a field's value as JSON; whether it has one.
    fn value(&self, name: &Field, out: &mut Vec<u8>) -> bool {
        let occasion = self.occasion;
        match name {
            Field::Data(pointer) => self.data_value(pointer, out),
            Field::Events => self.event_values(out),
            Field::Messages => {
                let Occasion::Http(answer) = occasion else { return false };
                out.push(b'[');
                out.extend_from_slice(answer.messages);
                out.push(b']');
                true
            }
            Field::Code if occasion.is_http() => number_of(occasion.close().map(Disconnect::code), out),
            Field::Id => {
                let Some(id) = self.id else { return false };
                out.extend_from_slice(id.as_bytes());
                true
            }
            Field::Members => {
                let Some((members, _)) = occasion.members() else { return false };
                // Members are few, and their two fields always texts.
                out.extend_from_slice(&serde_json::to_vec(members).unwrap_or_else(|_| b"[]".to_vec()));
                true
            }
            Field::Claim(pointer) => {
                let Occasion::Opening(opening, _) = occasion else { return false };
                let Some(value) = claim(opening, pointer) else { return false };
                out.extend_from_slice(value.get().as_bytes());
                true
            }
            Field::Replayed | Field::Recovered | Field::Complete => {
                let flag = match (name, occasion) {
                    (Field::Replayed, Occasion::Opening(_, replayed)) => Some(replayed),
                    (Field::Recovered, Occasion::Reply(Reply::Subscribed { recovered, .. })) => Some(*recovered),
                    (Field::Complete, Occasion::History(_, complete)) => Some(complete),
                    _ => None,
                };
                number_of(flag, out)
            }
            Field::Now(clock) if *clock != Clock::Rfc3339 => number_of(Some(clock_of(self.now, *clock)), out),
            Field::Time(clock) if *clock != Clock::Rfc3339 => {
                number_of(occasion.time().map(|time| clock_of(time, *clock)), out)
            }
            Field::After if occasion.epoch().is_none() => false,
            Field::Offset
            | Field::After
            | Field::Total
            | Field::End
            | Field::Unread
            | Field::Ttl
            | Field::PingInterval
            | Field::ExpiresAt
            | Field::AfterMs => number_of(self.count(name), out),
            _ => {
                let mut text = String::new();
                let there = self.text(name, &mut text);
                if there {
                    quote(&text, out);
                }
                there
            }
        }
    }

    /// The number that a field of that kind stands for.
    fn count(&self, name: &Field) -> Option<u64> {
        match (name, self.occasion) {
            (Field::Offset, occasion) => occasion.offset(),
            (Field::Total, occasion) => occasion.members().map(|(_, total)| total as u64),
            (Field::After, Occasion::Batch(batch) | Occasion::History(batch, _)) => Some(batch.after),
            (Field::After, Occasion::Reply(Reply::Gap { after, .. })) => Some(*after),
            (Field::End, Occasion::Unread(unread)) => Some(unread.end),
            (Field::Unread, Occasion::Unread(unread)) => Some(unread.count()),
            (Field::Ttl, Occasion::Signal(notice)) => Some(notice.ttl_ms.into()),
            (Field::PingInterval, Occasion::Opening(opening, _)) => Some(opening.ping_interval_ms),
            (Field::ExpiresAt, Occasion::Reply(Reply::Done { expires_at })) => *expires_at,
            (Field::ExpiresAt, Occasion::Reply(Reply::Refresh { expires_at })) => Some(*expires_at),
            (Field::AfterMs, Occasion::Reply(Reply::Reconnect { after_ms })) => Some(*after_ms),
            _ => None,
        }
    }

    /// Writes a part of the data; whether there is one. Binary data has one part, the whole.
    fn data_value(&self, pointer: &Pointer, out: &mut Vec<u8>) -> bool {
        match (self.data(pointer), self.occasion.payload()) {
            (Some(value), _) => out.extend_from_slice(value.get().as_bytes()),
            (None, Some(Payload::Binary(bytes))) if pointer.is_whole() => {
                out.push(b'"');
                out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
                out.push(b'"');
            }
            _ => return false,
        }
        true
    }

    /// Writes each event of a batch by its rule; whether there is a batch.
    fn event_values(&self, out: &mut Vec<u8>) -> bool {
        let Some(batch) = self.occasion.batch() else { return false };
        out.push(b'[');
        for event in &batch.events {
            let scene = Scene { occasion: Occasion::Event(batch, event), ..*self };
            let Some(rule) = scene.rule_of(event) else { continue };
            comma(out);
            write(rule.message.steps(), &scene, out);
        }
        out.push(b']');
        true
    }

    /// Adds a name's text; whether there was one.
    fn text(&self, name: &Field, out: &mut String) -> bool {
        let text: Option<&str> = match name {
            Field::Room => self.occasion.room().map(Room::as_str),
            Field::RoomId => {
                let Some(room) = self.occasion.room() else { return false };
                out.push_str(self.prefix);
                Some(room.as_str().split_once(':').map_or(room.as_str(), |(_, id)| id))
            }
            Field::RoomNamespace => self.occasion.room().map(Room::namespace),
            Field::Epoch => self.occasion.epoch(),
            Field::Topic => match self.occasion {
                Occasion::Signal(notice) => Some(&*notice.topic),
                _ => self.occasion.event().map(|event| &*event.topic),
            },
            Field::Key => self.occasion.event().and_then(|event| event.key.as_deref()),
            Field::EventId => self.occasion.event().and_then(|event| event.id.as_deref()),
            Field::User => match self.occasion {
                Occasion::Opening(opening, _) | Occasion::Refused(opening, ..) => {
                    opening.grant.user().map(|user| &**user)
                }
                Occasion::Signal(notice) => notice.sender.user.as_deref(),
                Occasion::Receipt(receipt) => Some(&*receipt.user),
                _ => self.occasion.event().and_then(|event| event.user.as_deref()),
            },
            Field::Connection => match self.occasion {
                Occasion::Opening(opening, _) | Occasion::Refused(opening, ..) => Some(opening.connection),
                Occasion::Signal(notice) => Some(&notice.sender.connection),
                _ => None,
            },
            Field::Code => match self.occasion {
                Occasion::Refused(_, code, _) => Some(code.as_str()),
                Occasion::Reply(Reply::Error { code, .. } | Reply::Unsubscribed { code: Some(code), .. }) => {
                    Some(code.as_str())
                }
                _ => None,
            },
            Field::Message => match self.occasion {
                Occasion::Refused(.., message) => Some(message),
                Occasion::Reply(Reply::Error { message, .. }) => Some(message),
                _ => self.occasion.close().map(Disconnect::reason),
            },
            Field::Cursor => self.occasion.cursor(),
            Field::Query(_) | Field::Path(_) => {
                let value = match name {
                    Field::Query(query) => self.occasion.query(query),
                    Field::Path(star) => self.occasion.segment(*star),
                    _ => None,
                };
                return value.is_some_and(|value| {
                    out.push_str(&value);
                    true
                });
            }
            Field::Since if self.occasion.is_retained() => return false,
            Field::Position | Field::Since => {
                let (Some(epoch), Some(offset)) = (self.occasion.epoch(), self.occasion.offset()) else { return false };
                out.push_str(&format!("{epoch}:{offset}"));
                return true;
            }
            Field::Now(Clock::Rfc3339) => {
                rfc3339(self.now, out);
                return true;
            }
            Field::Time(Clock::Rfc3339) => {
                let Some(time) = self.occasion.time() else { return false };
                rfc3339(time, out);
                return true;
            }
            Field::Data(pointer) => {
                return self.data(pointer).is_some_and(|value| text_of(value, out).unwrap_or(false));
            }
            Field::Claim(pointer) => {
                let Occasion::Opening(opening, _) = self.occasion else { return false };
                return claim(opening, pointer).is_some_and(|value| text_of(value, out).unwrap_or(false));
            }
            Field::Id => {
                let Some(value) = self.id.and_then(|id| serde_json::from_str::<&RawValue>(id).ok()) else {
                    return false;
                };
                return text_of(value, out).unwrap_or(false);
            }
            _ => {
                let mut bytes = Vec::new();
                let there = self.value(name, &mut bytes);
                out.push_str(&String::from_utf8_lossy(&bytes));
                return there;
            }
        };
        out.push_str(text.unwrap_or_default());
        text.is_some()
    }

    /// Writes the first value that a placeholder has, an empty text only where it has no other; whether it has one.
    fn placeholder(&self, placeholder: &Placeholder, out: &mut Vec<u8>) -> bool {
        let (start, mut is_empty) = (out.len(), false);
        for field in placeholder {
            if self.value(field, out) {
                if out.get(start..) != Some(EMPTY) {
                    return true;
                }
                is_empty = true;
            }
            out.truncate(start);
        }
        if is_empty {
            out.extend_from_slice(EMPTY);
        }
        is_empty
    }
}

/// A text that says nothing.
const EMPTY: &[u8] = b"\"\"";

/// Writes a number or a switch; whether there is one.
fn number_of(value: Option<impl Display>, out: &mut Vec<u8>) -> bool {
    let there = value.is_some();
    if let Some(value) = value {
        number(out, value);
    }
    there
}

/// Carries out steps.
pub(super) fn write(steps: &[Step], scene: &Scene<'_>, out: &mut Vec<u8>) {
    for step in steps {
        match step {
            Step::Bytes(bytes) => out.extend_from_slice(bytes),
            Step::Value(placeholder) => {
                if !scene.placeholder(placeholder, out) {
                    out.extend_from_slice(b"null");
                }
            }
            Step::Text(pieces) => {
                out.push(b'"');
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                        Piece::Placeholder(placeholder) => {
                            let mut text = String::new();
                            placeholder.iter().any(|field| scene.text(field, &mut text) && !text.is_empty());
                            let start = out.len();
                            quote(&text, out);
                            // Without the quotes around it.
                            out.pop();
                            out.remove(start);
                        }
                    }
                }
                out.push(b'"');
            }
            Step::Optional(lead, placeholder) => {
                let start = out.len();
                comma(out);
                out.extend_from_slice(lead);
                if !scene.placeholder(placeholder, out) {
                    out.truncate(start);
                }
            }
            Step::Comma => comma(out),
            Step::Spread(placeholder, lacking) => spread(placeholder, lacking, scene, out),
        }
    }
}

/// The members of an object as they are written, and those that it lacks.
fn spread(placeholder: &Placeholder, lacking: &[Lacking], scene: &Scene<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    let mut has = vec![false; lacking.len()];
    if scene.placeholder(placeholder, out) {
        let object = out.split_off(start);
        copy_members(&object, lacking, &mut has, out);
    }
    for (lacking, has) in lacking.iter().zip(has) {
        if !has {
            write(&lacking.steps, scene, out);
        }
    }
}
