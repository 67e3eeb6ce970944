//! A client's message as a command, by the description.
//!
//! Pure. Always holds: the first rule that fits decides; a message that none fits, or that lacks what its rule needs, is refused with a code and
//! a sentence.

use std::cell::OnceCell;

use serde_json::value::RawValue;

use crate::{
    dialect::{Action, CommandRule, Description, Part, Pointer, Source, Template, fits, text_of},
    model::{
        Command, CommandError, CommandId, Epoch, ErrorCode, FieldError, IdempotencyKey, MAX_OFFSET, MethodCall, Offset,
        Payload, Request, Room, Signal, Since, Spelling, StatusChange, SubscribeTo, Token, UserStatusError,
        check_length, check_name, check_topic, whole_number, with_whole_pairs,
    },
    protocol::{MAX_ID_BYTES, Message, native::id_bytes},
};

struct DescribedDecodeError {
    code: ErrorCode,
    message: String,
}

impl DescribedDecodeError {
    fn new(message: impl Into<String>) -> Self {
        Self { code: ErrorCode::BadRequest, message: message.into() }
    }
}

impl From<FieldError> for DescribedDecodeError {
    fn from(error: FieldError) -> Self {
        Self { code: error.code(), message: error.to_string() }
    }
}

pub(super) fn request(description: &Description, message: Message<'_>) -> Result<Request, CommandError> {
    let id = OnceCell::new();
    read(description, message, &id).map_err(|DescribedDecodeError { code, message }| {
        let id = id.into_inner();
        CommandError { code, message, id }
    })
}

fn read(
    description: &Description,
    message: Message<'_>,
    known: &OnceCell<CommandId>,
) -> Result<Request, DescribedDecodeError> {
    let text = match message {
        Message::Text(text) => text,
        // Servers in Go do not look at which of the two it is, and some clients send their JSON as bytes.
        Message::Binary(bytes) => std::str::from_utf8(bytes)
            .map_err(|_| DescribedDecodeError::new("the message is binary, and no JSON: it is not UTF-8"))?,
    };
    // Wherever a half of a pair stands, in a name or in what a rule looks at, the message is understood.
    let text = with_whole_pairs(text);
    let whole: &RawValue = serde_json::from_str(&text)
        .map_err(|error| DescribedDecodeError::new(format!("the message is not JSON: {error}")))?;
    let id = description.id.as_ref().map(|pointer| command_id(pointer, whole)).transpose()?.flatten();
    if let Some(id) = &id {
        let _ = known.set(id.clone());
    }
    let rule =
        description.commands.iter().find(|rule| fits(&rule.when, whole, "")).ok_or_else(|| DescribedDecodeError {
            code: ErrorCode::UnknownCommand,
            message: "no command fits this message: a field that names the command is missing or has another value"
                .to_owned(),
        })?;
    Ok(Request { id, command: command(description, rule, whole)? })
}

fn command(description: &Description, rule: &CommandRule, whole: &RawValue) -> Result<Command, DescribedDecodeError> {
    let room = |template| room(description, template, whole);
    Ok(match &rule.does {
        Action::Subscribe { room: template, since } => {
            let (room, spelling) = room(template)?;
            Command::Subscribe(vec![SubscribeTo { room, since: position("since", since.as_ref(), whole)?, spelling }])
        }
        // Clients that are told nothing of it would hear of nothing any more.
        Action::Unsubscribe(template) => {
            Command::Unsubscribe { room: room(template)?.0, unasked: !description.idempotent }
        }
        Action::Presence(template) => Command::Presence { room: room(template)?.0 },
        Action::Publish { room: template, topic, key, event_id, idempotency_key, data } => {
            let (room, _) = room(template)?;
            let topic = needed("topic", topic, whole)?;
            check_topic(&topic)?;
            let key = bounded("key", key.as_ref(), whole)?;
            let event_id = bounded("event_id", event_id.as_ref(), whole)?;
            let idempotency_key = bounded("idempotency_key", idempotency_key.as_ref(), whole)?;
            let data = data.find(whole).map_err(not_json)?.ok_or_else(|| missing("data", &data.to_string()))?;
            let payload = Payload::json(data.to_owned())?;
            let idempotency_key = idempotency_key.map(IdempotencyKey::of_client);
            Command::Publish { room, topic: topic.into(), payload, key, event_id, idempotency_key }
        }
        Action::Signal { room: template, topic, data, ttl } => {
            let ((room, _), topic) = (room(template)?, needed("topic", topic, whole)?);
            check_topic(&topic)?;
            let data = if data.is_whole() { None } else { data.find(whole).map_err(not_json)? };
            let data = data.filter(|data| data.get() != "null").map(Signal::data_of).transpose()?;
            let ttl_ms = ttl.as_ref().map(|ttl| fill(ttl, whole)).transpose()?.flatten();
            let ttl_ms = ttl_ms.map(|ttl| signal_ttl(&ttl)).transpose()?;
            Command::Signal { room, topic: topic.into(), data, ttl_ms }
        }
        Action::Ack { room: template, offset, epoch, progress } => {
            let (epoch, offset) = event_at(offset, epoch.as_ref(), whole)?;
            Command::Ack { room: room(template)?.0, epoch, offset, progress: *progress }
        }
        Action::Delete { room: template, offset, epoch } => {
            let (epoch, offset) = event_at(offset, epoch.as_ref(), whole)?;
            Command::Delete { room: room(template)?.0, epoch, offset }
        }
        Action::Status(template) => {
            let status = needed("status", template, whole)?.parse();
            let status = status.map_err(|error: UserStatusError| DescribedDecodeError::new(error.to_string()))?;
            Command::Status(StatusChange { chosen: Some(status), hidden: None })
        }
        Action::Call { method, data, idempotency_key } => {
            let method = needed("method", method, whole)?;
            check_name("method", &method)?;
            let idempotency_key = bounded("idempotency_key", idempotency_key.as_ref(), whole)?;
            let idempotency_key = idempotency_key.map(IdempotencyKey::of_client);
            let data = data.find(whole).map_err(not_json)?.map(|data| Payload::json(data.to_owned())).transpose()?;
            Command::Call(MethodCall { method: method.into(), data, idempotency_key })
        }
        Action::History { room: template, since, before, limit } => {
            let (room, _) = room(template)?;
            let limit = limit.as_ref().map(|limit| fill(limit, whole)).transpose()?.flatten();
            let limit = limit.map(|limit| history_limit(&limit)).transpose()?;
            let (since, before) =
                (position("since", since.as_ref(), whole)?, position("before", before.as_ref(), whole)?);
            if since.is_some() && before.is_some() {
                return Err(DescribedDecodeError::new(
                    "since and before are two parts of a history: ask for one of them",
                ));
            }
            Command::History { room, since, before, limit }
        }
        Action::Unread(template) => {
            // Without a value there: what its user has read in.
            let name = template.as_ref().map(|template| fill(template, whole)).transpose()?.flatten();
            let named = template.as_ref().filter(|_| name.is_some_and(|name| !name.is_empty()));
            Command::Unread { rooms: named.map(room).transpose()?.map(|(room, _)| room).into_iter().collect() }
        }
        Action::Connect(pointer) => Command::Connect { token: Some(token(pointer, whole)?) },
        Action::Refresh(pointer) => Command::Refresh { token: token(pointer, whole)? },
        Action::Ping => Command::Ping,
        Action::Nothing => Command::Heard,
    })
}

fn token(pointer: &Pointer, whole: &RawValue) -> Result<Token, DescribedDecodeError> {
    let mut token = String::new();
    match pointer.find(whole).map_err(not_json)? {
        Some(value) if value.get().starts_with('"') => text_of(value, &mut token).map_err(not_json)?,
        _ => return Err(missing("token", &pointer.to_string())),
    };
    Ok(Token::new(token))
}

/// Where the client stopped, if it says so.
fn position(name: &str, template: Option<&Template>, whole: &RawValue) -> Result<Option<Since>, DescribedDecodeError> {
    let text = template.map(|template| fill(template, whole)).transpose()?.flatten();
    let since = text.filter(|text| !text.is_empty()).map(|text| Since::parse(&text)).transpose();
    since.map_err(|error| DescribedDecodeError::new(format!("{name}: {error}")))
}

fn history_limit(text: &str) -> Result<usize, DescribedDecodeError> {
    let limit = whole_number(text).and_then(|limit| u32::try_from(limit).ok());
    let limit =
        limit.ok_or_else(|| DescribedDecodeError::new(format!("limit must be an integer from 0 to {}", u32::MAX)))?;
    Ok(limit as usize)
}

/// The offset of an event, and the epoch of that where it is given.
fn event_at(
    offset: &Template,
    epoch: Option<&Template>,
    whole: &RawValue,
) -> Result<(Option<Epoch>, Offset), DescribedDecodeError> {
    let offset = whole_number(&needed("offset", offset, whole)?)
        .filter(|offset| *offset <= MAX_OFFSET)
        .ok_or_else(|| DescribedDecodeError::new(format!("offset must be an integer from 0 to {MAX_OFFSET}")))?;
    let epoch = epoch.map(|epoch| fill(epoch, whole)).transpose()?.flatten();
    Ok((epoch.filter(|epoch| !epoch.is_empty()).map(|epoch| Epoch::new(&epoch)), offset))
}

fn signal_ttl(text: &str) -> Result<u32, DescribedDecodeError> {
    Signal::ttl_of(text).ok_or_else(|| {
        DescribedDecodeError::new(format!("ttl must be milliseconds, an integer from 0 to {}", Signal::MAX_TTL_MS))
    })
}

fn room(
    description: &Description,
    template: &Template,
    whole: &RawValue,
) -> Result<(Room, Spelling), DescribedDecodeError> {
    let (name, spelling) = without_prefix(needed("room", template, whole)?, &description.prefixes);
    let room = Room::parse(&name)
        .map_err(|error| DescribedDecodeError { code: ErrorCode::BadRoom, message: error.to_string() })?;
    Ok((room, spelling))
}

/// A room's name without the one prefix that a client wrote before its id, and which of them that was.
pub(super) fn without_prefix(name: String, prefixes: &[String]) -> (String, Spelling) {
    let (namespace, id) = name.split_once(':').map_or(("", &*name), |(namespace, id)| (namespace, id));
    let written = (1..).zip(prefixes).find_map(|(spelling, prefix)| Some((spelling, id.strip_prefix(&**prefix)?)));
    match written.filter(|(_, id)| !id.is_empty()) {
        Some((spelling, id)) if namespace.is_empty() => (id.to_owned(), spelling),
        Some((spelling, id)) => (format!("{namespace}:{id}"), spelling),
        None => (name, 0),
    }
}

fn needed(what: &str, template: &Template, whole: &RawValue) -> Result<String, DescribedDecodeError> {
    let pointers = || {
        let all = template.parts().iter().filter_map(|part| match part {
            Part::Placeholder(sources) => Some(sources),
            Part::Text(_) => None,
        });
        let names = all.flatten().filter_map(|s| if let Source::Value(p) = s { Some(p.to_string()) } else { None });
        names.collect::<Vec<_>>().join(" or ")
    };
    fill(template, whole)?.filter(|text| !text.is_empty()).ok_or_else(|| missing(what, &pointers()))
}

/// What the client gave for a field of an event, if anything.
fn bounded(
    name: &'static str,
    template: Option<&Template>,
    whole: &RawValue,
) -> Result<Option<Box<str>>, DescribedDecodeError> {
    let text = template.map(|template| fill(template, whole)).transpose()?.flatten();
    text.as_deref().map_or(Ok(()), |text| check_length(name, text))?;
    Ok(text.map(Into::into))
}

fn fill(template: &Template, whole: &RawValue) -> Result<Option<String>, DescribedDecodeError> {
    template.fill(|source, out| {
        let Source::Value(pointer) = source else { return Ok(false) };
        match pointer.find(whole).map_err(not_json)? {
            Some(value) => text_of(value, out).map_err(not_json),
            None => Ok(false),
        }
    })
}

/// A command's id as it is written: a string or a number.
fn command_id(pointer: &Pointer, whole: &RawValue) -> Result<Option<CommandId>, DescribedDecodeError> {
    let Some(value) = pointer.find(whole).map_err(not_json)?.filter(|value| value.get() != "null") else {
        return Ok(None);
    };
    match id_bytes(value) {
        Some(length) if length <= MAX_ID_BYTES => Ok(Some(value.get().into())),
        Some(length) => {
            let message = format!("{pointer} has at most {MAX_ID_BYTES} bytes, this one has {length}");
            Err(DescribedDecodeError { code: ErrorCode::LimitExceeded, message })
        }
        None => Err(DescribedDecodeError::new(format!("{pointer} must be a string or a number"))),
    }
}

fn missing(what: &str, pointers: &str) -> DescribedDecodeError {
    DescribedDecodeError::new(format!("{what} is missing: {pointers} must be a string or a number"))
}

fn not_json(error: serde_json::Error) -> DescribedDecodeError {
    DescribedDecodeError::new(format!("the message is not JSON: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_as_many_bytes_as_in_the_native_protocol() {
        let pointer = Pointer::parse("/ref").unwrap();
        let id = |written: &str| {
            let whole: Box<RawValue> = serde_json::from_str(&format!("{{\"ref\":{written}}}")).unwrap();
            command_id(&pointer, &whole).map_err(|error| error.code)
        };
        let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
        assert_eq!(id(&text(MAX_ID_BYTES)).unwrap().as_deref(), Some(&*text(MAX_ID_BYTES)), "its quotes do not count");
        assert_eq!(id(&text(MAX_ID_BYTES + 1)), Err(ErrorCode::LimitExceeded));
        assert_eq!(id(&"1".repeat(MAX_ID_BYTES + 1)), Err(ErrorCode::LimitExceeded));
        assert_eq!((id("null"), id("-7"), id("true")), (Ok(None), Ok(Some("-7".into())), Err(ErrorCode::BadRequest)));
    }
}
