//! Carries out the steps of a message.

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
        match name {
            Field::Data(pointer) => match (self.data(pointer), self.occasion.payload()) {
                (Some(value), _) => out.extend_from_slice(value.get().as_bytes()),
                (None, Some(Payload::Binary(bytes))) if pointer.is_whole() => {
                    out.push(b'"');
                    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
                    out.push(b'"');
                }
                _ => return false,
            },
            Field::Events => {
                let Some(batch) = self.occasion.batch() else { return false };
                out.push(b'[');
                for event in &batch.events {
                    let scene = Scene { occasion: Occasion::Event(batch, event), ..*self };
                    let Some(rule) = scene.rule_of(event) else { continue };
                    comma(out);
                    write(rule.message.steps(), &scene, out);
                }
                out.push(b']');
            }
            Field::Messages => {
                let Occasion::Http(answer) = self.occasion else { return false };
                out.push(b'[');
                out.extend_from_slice(answer.messages);
                out.push(b']');
            }
            Field::Code if self.occasion.is_http() => match self.occasion.close() {
                Some(closed) => number(out, closed.code()),
                None => return false,
            },
            Field::Id => match self.id {
                Some(id) => out.extend_from_slice(id.as_bytes()),
                None => return false,
            },
            Field::Members => match self.occasion.members() {
                Some((members, _)) => {
                    // Members are few, and their two fields always texts.
                    out.extend_from_slice(&serde_json::to_vec(members).unwrap_or_else(|_| b"[]".to_vec()));
                }
                None => return false,
            },
            Field::Replayed => match self.occasion {
                Occasion::Opening(_, replayed) => number(out, replayed),
                _ => return false,
            },
            Field::Claim(pointer) => match self.occasion {
                Occasion::Opening(opening, _) => match claim(opening, pointer) {
                    Some(value) => out.extend_from_slice(value.get().as_bytes()),
                    None => return false,
                },
                _ => return false,
            },
            Field::Recovered => match self.occasion {
                Occasion::Reply(Reply::Subscribed { recovered, .. }) => number(out, recovered),
                _ => return false,
            },
            Field::Complete => match self.occasion {
                Occasion::History(_, complete) => number(out, complete),
                _ => return false,
            },
            Field::Now(clock) if *clock != Clock::Rfc3339 => number(out, clock_of(self.now, *clock)),
            Field::Time(clock) if *clock != Clock::Rfc3339 => match self.occasion.time() {
                Some(time) => number(out, clock_of(time, *clock)),
                None => return false,
            },
            Field::Ttl => match self.occasion {
                Occasion::Signal(notice) => number(out, notice.ttl_ms),
                _ => return false,
            },
            Field::End | Field::Unread => match (name, self.occasion) {
                (Field::End, Occasion::Unread(unread)) => number(out, unread.end),
                (_, Occasion::Unread(unread)) => number(out, unread.count()),
                _ => return false,
            },
            Field::Offset => {
                return self.occasion.offset().is_some_and(|offset| {
                    number(out, offset);
                    true
                });
            }
            Field::After if self.occasion.epoch().is_none() => return false,
            Field::After | Field::Total | Field::PingInterval | Field::ExpiresAt | Field::AfterMs => {
                let value = match (name, self.occasion) {
                    (Field::After, Occasion::Batch(batch) | Occasion::History(batch, _)) => batch.after,
                    (Field::After, Occasion::Reply(Reply::Gap { after, .. })) => *after,
                    (Field::PingInterval, Occasion::Opening(opening, _)) => opening.ping_interval_ms,
                    (Field::ExpiresAt, Occasion::Reply(Reply::Done { expires_at: Some(at) })) => *at,
                    (Field::ExpiresAt, Occasion::Reply(Reply::Refresh { expires_at })) => *expires_at,
                    (Field::AfterMs, Occasion::Reply(Reply::Reconnect { after_ms })) => *after_ms,
                    (Field::Total, _) => match self.occasion.members() {
                        Some((_, total)) => total as u64,
                        None => return false,
                    },
                    _ => return false,
                };
                number(out, value);
            }
            _ => {
                let mut text = String::new();
                if !self.text(name, &mut text) {
                    return false;
                }
                quote(&text, out);
            }
        }
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

    fn placeholder(&self, placeholder: &Placeholder, out: &mut Vec<u8>) -> bool {
        placeholder.iter().any(|field| self.value(field, out))
    }
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
                            placeholder.iter().any(|field| scene.text(field, &mut text));
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
