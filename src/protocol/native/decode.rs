//! Decodes a client's text into a command. Fields that a command does not use are ignored, so that later versions can add some.
//! A field of the wrong type is an error that names the field.

mod ack;
mod binary_part;
mod call;
mod delete;
mod signal;
mod status;

use std::{borrow::Cow, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{
    model::{
        Command, CommandError, CommandId, Epoch, ErrorCode, FieldError, IdempotencyKey, Payload, RawArray, Request,
        Room, Since, SubscribeTo, Token, check_length, check_topic, given_id, whole_number,
    },
    protocol::Message,
};

/// The longest `id` of a command, in bytes as written, without a string's quotes.
pub const MAX_ID_BYTES: usize = 128;

/// The most rooms in one `subscribe`, whatever a connection may hold.
pub const MAX_ROOMS_A_COMMAND: usize = 1_024;

/// The most bytes of an unknown `type` that the error repeats.
const MAX_QUOTED: usize = 40;

/// Decodes a client's message.
pub(super) fn request(message: Message<'_>) -> Result<Request, CommandError> {
    let fault = |fault: NativeDecodeError| CommandError { code: fault.code, message: fault.message, id: None };
    let Message::Text(text) = message else {
        return Err(fault(NativeDecodeError::new(
            "a message is text, not binary; binary data travels as base64 in data64",
        )));
    };
    let fields: Fields<'_> = object(text, "a message").map_err(fault)?;
    let id = fields.id.command_id().map_err(fault)?;
    match fields.command() {
        Ok(command) => Ok(Request { id, command }),
        Err(NativeDecodeError { code, message }) => Err(CommandError { code, message, id }),
    }
}

/// Decodes a command whose `type` and binary data are outside of its other fields.
pub(super) fn named(kind: &str, fields: Option<&str>, parts: &[Bytes]) -> Result<Command, (ErrorCode, String)> {
    let command = || {
        let fields: Fields<'_> = object(fields.unwrap_or("{}"), "an event's argument")?;
        match kind {
            "publish" => fields.publish(parts),
            "rpc" => fields.call(parts),
            _ if parts.is_empty() => fields.command_of(kind),
            _ => Err(NativeDecodeError::new(format!("{} takes no binary data", quotable(kind)))),
        }
    };
    command().map_err(|NativeDecodeError { code, message }| (code, message))
}

/// What is wrong with a message.
struct NativeDecodeError {
    code: ErrorCode,
    message: String,
}

impl NativeDecodeError {
    fn new(message: impl Into<String>) -> Self {
        Self { code: ErrorCode::BadRequest, message: message.into() }
    }

    /// Adds the place in the message.
    fn within(self, place: impl fmt::Display) -> Self {
        Self { message: format!("{place}.{}", self.message), ..self }
    }
}

impl From<FieldError> for NativeDecodeError {
    fn from(error: FieldError) -> Self {
        Self { code: error.code(), message: error.to_string() }
    }
}

/// The fields of all commands, not parsed yet.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Field<'a>,
    #[serde(borrow, default)]
    id: Field<'a>,
    #[serde(borrow, default)]
    room: Field<'a>,
    #[serde(borrow, default)]
    rooms: Field<'a>,
    #[serde(borrow, default)]
    since: Field<'a>,
    #[serde(borrow, default)]
    topic: Field<'a>,
    #[serde(borrow, default)]
    key: Field<'a>,
    #[serde(borrow, default)]
    event_id: Field<'a>,
    #[serde(borrow, default)]
    idempotency_key: Field<'a>,
    #[serde(borrow, default)]
    data: Field<'a>,
    #[serde(borrow, default)]
    data64: Field<'a>,
    #[serde(borrow, default)]
    offset: Field<'a>,
    #[serde(borrow, default)]
    epoch: Field<'a>,
    #[serde(borrow, default)]
    limit: Field<'a>,
    #[serde(borrow, default)]
    token: Field<'a>,
    #[serde(borrow, default)]
    ttl: Field<'a>,
    #[serde(borrow, default)]
    status: Field<'a>,
    #[serde(borrow, default)]
    hidden: Field<'a>,
    #[serde(borrow, default)]
    method: Field<'a>,
    #[serde(borrow, default)]
    delivered: Field<'a>,
}

impl Fields<'_> {
    fn command(&self) -> Result<Command, NativeDecodeError> {
        self.command_of(&self.kind.text("type")?)
    }

    fn command_of(&self, kind: &str) -> Result<Command, NativeDecodeError> {
        Ok(match kind {
            "connect" => Command::Connect { token: self.token.optional_text("token")?.map(Token::new) },
            "subscribe" => Command::Subscribe(self.subscribe()?),
            "unsubscribe" => Command::Unsubscribe { room: self.room.room()?, unasked: true },
            "publish" => self.publish(&[])?,
            "signal" => self.signal()?,
            "status" => self.status()?,
            "rpc" => self.call(&[])?,
            "delete" => self.delete()?,
            "presence" => Command::Presence { room: self.room.room()? },
            "history" => {
                let (since, limit) = (self.since.since()?, self.limit.limit()?);
                Command::History { room: self.room.room()?, since, before: None, limit }
            }
            "ack" => self.ack()?,
            "unread" => self.unread()?,
            "refresh" => Command::Refresh { token: Token::new(self.token.text("token")?) },
            "ping" => Command::Ping,
            "stats" => Command::Stats,
            unknown => {
                let message = format!("there is no command \"{}\"", quotable(unknown));
                return Err(NativeDecodeError { code: ErrorCode::UnknownCommand, message });
            }
        })
    }

    fn subscribe(&self) -> Result<Vec<SubscribeTo>, NativeDecodeError> {
        match (self.room.given(), self.rooms.given()) {
            (Some(_), None) => {
                Ok(vec![SubscribeTo { room: self.room.room()?, since: self.since.since()?, spelling: 0 }])
            }
            (None, Some(rooms)) => {
                let Ok(RawArray::<MAX_ROOMS_A_COMMAND>(entries)) = serde_json::from_str(rooms.get()) else {
                    return Err(wrong_type("rooms", "an array of objects", rooms));
                };
                if entries.is_empty() {
                    return Err(NativeDecodeError::new("rooms must not be empty"));
                }
                if entries.len() > MAX_ROOMS_A_COMMAND {
                    let message =
                        format!("rooms has at most {MAX_ROOMS_A_COMMAND} entries; subscribe in several steps");
                    return Err(NativeDecodeError { code: ErrorCode::LimitExceeded, message });
                }
                entries.iter().enumerate().map(|(index, entry)| subscribe_to(index, entry)).collect()
            }
            (Some(_), Some(_)) => Err(NativeDecodeError::new("subscribe takes room or rooms, not both")),
            (None, None) => {
                Err(NativeDecodeError::new("subscribe needs room (a string) or rooms (an array of objects)"))
            }
        }
    }

    fn publish(&self, parts: &[Bytes]) -> Result<Command, NativeDecodeError> {
        let room = self.room.room()?;
        let topic = self.topic.text("topic")?;
        check_topic(&topic)?;
        let key = self.key.bounded_text("key")?;
        let event_id = self.event_id.id_text("event_id")?;
        let idempotency_key = self.idempotency_key.id_text("idempotency_key")?.map(IdempotencyKey::of_client);
        // `"data": null` is data, so absence alone counts here.
        let payload = match (self.data.0, self.data64.given()) {
            (Some(data), None) if !parts.is_empty() => Self::binary_part(data, parts)?,
            (Some(data), None) => Payload::json(data.to_owned())?,
            (None, Some(_)) => self.data64.base64("data64")?,
            (Some(_), Some(_)) => return Err(NativeDecodeError::new("publish takes data or data64, not both")),
            (None, None) => {
                return Err(NativeDecodeError::new("publish needs data (any JSON) or data64 (base64 in a string)"));
            }
        };
        Ok(Command::Publish { room, topic: topic.into(), payload, key, event_id, idempotency_key })
    }
}

/// The entry `rooms[index]`.
fn subscribe_to(index: usize, entry: &RawValue) -> Result<SubscribeTo, NativeDecodeError> {
    #[derive(Deserialize)]
    struct Entry<'a> {
        #[serde(borrow, default)]
        room: Field<'a>,
        #[serde(borrow, default)]
        since: Field<'a>,
    }
    let place = format_args!("rooms[{index}]");
    let entry: Entry<'_> = object(entry.get(), place)?;
    let within = |fault: NativeDecodeError| fault.within(place);
    let (room, since) = (entry.room.room().map_err(within)?, entry.since.since().map_err(within)?);
    Ok(SubscribeTo { room, since, spelling: 0 })
}

/// A field's value as written; `None`: absent.
#[derive(Default, Clone, Copy)]
struct Field<'a>(Option<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|raw| Self(Some(raw)))
    }
}

impl<'a> Field<'a> {
    /// The value, where there is one: `null` counts as absent.
    fn given(self) -> Option<&'a RawValue> {
        self.0.filter(|raw| raw.get() != "null")
    }

    fn required(self, name: &str, expected: &str) -> Result<&'a RawValue, NativeDecodeError> {
        self.given().ok_or_else(|| NativeDecodeError::new(format!("{name} is missing: it must be {expected}")))
    }

    fn optional_text(self, name: &str) -> Result<Option<Cow<'a, str>>, NativeDecodeError> {
        self.given().map(|raw| string(name, raw)).transpose()
    }

    fn bounded_text(self, name: &'static str) -> Result<Option<Box<str>>, NativeDecodeError> {
        let Some(text) = self.optional_text(name)? else { return Ok(None) };
        check_length(name, &text)?;
        Ok(Some(text.into()))
    }

    fn id_text(self, name: &'static str) -> Result<Option<Box<str>>, NativeDecodeError> {
        Ok(given_id(name, self.optional_text(name)?.as_deref())?)
    }

    fn text(self, name: &str) -> Result<Cow<'a, str>, NativeDecodeError> {
        string(name, self.required(name, "a string")?)
    }

    fn room(self) -> Result<Room, NativeDecodeError> {
        let name = self.text("room")?;
        Room::parse(&name).map_err(|e| NativeDecodeError { code: ErrorCode::BadRoom, message: e.to_string() })
    }

    fn limit(self) -> Result<Option<usize>, NativeDecodeError> {
        let integer = |raw: &RawValue| {
            let limit = whole_number(raw.get()).and_then(|limit| u32::try_from(limit).ok());
            limit.ok_or_else(|| wrong_type("limit", "an integer from 0 to 4294967295", raw))
        };
        Ok(self.given().map(integer).transpose()?.map(|limit| limit as usize))
    }

    fn since(self) -> Result<Option<Since>, NativeDecodeError> {
        #[derive(Deserialize)]
        struct Position<'a> {
            #[serde(borrow, default)]
            epoch: Field<'a>,
            #[serde(borrow, default)]
            offset: Field<'a>,
        }
        let position = |raw: &RawValue| {
            let position: Position<'_> = object(raw.get(), "since")?;
            let within = |fault: NativeDecodeError| fault.within("since");
            let epoch = position.epoch.text("epoch").map_err(within)?;
            Ok(Since { epoch: Epoch::new(&epoch), offset: position.offset.offset().map_err(within)? })
        };
        self.given().map(position).transpose()
    }

    fn base64(self, name: &str) -> Result<Payload, NativeDecodeError> {
        let text = self.text(name)?;
        let bytes = STANDARD.decode(text.as_bytes());
        bytes.map(|bytes| Payload::Binary(bytes.into())).map_err(|error| {
            NativeDecodeError::new(format!(
                "{name} is not base64 (standard alphabet, with padding; RFC 4648 section 4): {error}"
            ))
        })
    }

    fn command_id(self) -> Result<Option<CommandId>, NativeDecodeError> {
        let Some(raw) = self.given() else { return Ok(None) };
        let length = id_bytes(raw).ok_or_else(|| wrong_type("id", "a string or a number", raw))?;
        if length > MAX_ID_BYTES {
            let message = format!("id has at most {MAX_ID_BYTES} bytes, this one has {length}");
            return Err(NativeDecodeError { code: ErrorCode::LimitExceeded, message });
        }
        Ok(Some(raw.get().into()))
    }
}

/// The bytes of a command's id as it is written, without a string's quotes; `None`: it is neither a string nor a number.
pub fn id_bytes(raw: &RawValue) -> Option<usize> {
    let text = raw.get();
    match text.as_bytes() {
        [b'"', .., b'"'] => Some(text.len() - 2),
        [b'-' | b'0'..=b'9', ..] => Some(text.len()),
        _ => None,
    }
}

/// Parses an object; serde alone would also take an array as one.
fn object<'a, T: Deserialize<'a>>(json: &'a str, name: impl fmt::Display) -> Result<T, NativeDecodeError> {
    if !json.trim_ascii_start().starts_with('{') {
        return Err(NativeDecodeError::new(format!("{name} must be one JSON object")));
    }
    serde_json::from_str(json)
        .map_err(|error| NativeDecodeError::new(format!("{name} is not a valid JSON object: {error}")))
}

/// A JSON string's text, borrowed where nothing in it is escaped.
fn string<'a>(name: &str, raw: &'a RawValue) -> Result<Cow<'a, str>, NativeDecodeError> {
    let text = raw.get();
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return Err(wrong_type(name, "a string", raw));
    };
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    let owned = serde_json::from_str(text).map(Cow::Owned);
    owned.map_err(|_| NativeDecodeError::new(format!("{name} holds an escape that is no Unicode character")))
}

fn wrong_type(name: &str, expected: &str, raw: &RawValue) -> NativeDecodeError {
    let got = match raw.get().as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => &quotable(raw.get()),
    };
    NativeDecodeError::new(format!("{name} must be {expected}, not {got}"))
}

/// A peer's text, short and without anything that could disturb a terminal or a log.
fn quotable(text: &str) -> String {
    let mut quoted = String::new();
    for c in text.chars() {
        if quoted.len() >= MAX_QUOTED {
            quoted.push('…');
            break;
        }
        quoted.extend(c.escape_debug());
    }
    quoted
}

#[cfg(test)]
mod tests;
