//! What a plain message of another publisher becomes: a room and a publication, or why not.
//!
//! Pure. Knows the descriptions of `[[legacy]]`, no connection and no lease. Always holds: what comes out keeps every rule
//! of what a publisher may write, the data is the message's own bytes, and a reason holds nothing of the message.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::{
    config::{Encoding, Legacy, Part, Pointer, Template},
    model::{Payload, Publication, Room, check_length, check_topic},
};

/// Why a message is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is not UTF-8.
    #[error("it is not UTF-8")]
    NotText,
    /// It is not JSON.
    #[error("it is not JSON")]
    NotJson,
    /// A value that is needed is not there, or has no text.
    #[error("{0} names a value that is missing, or is neither a string nor a number nor a switch")]
    Missing(&'static str),
    /// What was made breaks the rules of a room's name, a topic, a key, an id or data.
    #[error("what it gives as {0} is not allowed there: see docs/PROTOCOL.md")]
    NotAllowed(&'static str),
}

/// What takes in a message that came over `pattern`: the first description that the channel matches, unless that one hears
/// it by another of its patterns. So a message that Redis sends once for every pattern is taken once.
#[must_use]
pub fn taker<'a, 'b>(legacy: &'a [Legacy], pattern: &str, channel: &'b str) -> Option<(&'a Legacy, Vec<&'b str>)> {
    let all = legacy.iter().flat_map(|legacy| legacy.channels.iter().map(move |pattern| (legacy, pattern)));
    let mut matching = all.filter_map(|(legacy, own)| Some((legacy, own, own.captures(channel)?)));
    let (legacy, own, captures) = matching.next()?;
    (own.as_str() == pattern).then_some((legacy, captures))
}

/// What a message on `channel` becomes, whose pattern's stars stand for `captures`.
///
/// # Errors
/// [`Unfit`].
pub fn map(legacy: &Legacy, channel: &str, captures: &[&str], message: &[u8]) -> Result<(Room, Publication), Unfit> {
    let text = std::str::from_utf8(message).map_err(|_| Unfit::NotText)?;
    let whole = match legacy.encoding {
        Encoding::Json => Some(serde_json::from_str::<&RawValue>(text).map_err(|_| Unfit::NotJson)?),
        Encoding::Text => None,
    };
    let message = Message { channel, captures, whole };
    let fill = |name: &'static str, template: &Template| message.fill(template)?.ok_or(Unfit::Missing(name));
    let optional = |name: &'static str, template: &Option<Template>| -> Result<Option<Box<str>>, Unfit> {
        let Some(filled) = template.as_ref().map(|template| message.fill(template)).transpose()?.flatten() else {
            return Ok(None);
        };
        check_length(name, &filled).map_err(|_| Unfit::NotAllowed(name))?;
        Ok(Some(filled.into()))
    };
    let room = Room::parse(&fill("room", &legacy.room)?).map_err(|_| Unfit::NotAllowed("room"))?;
    let topic = fill("topic", &legacy.topic)?;
    check_topic(&topic).map_err(|_| Unfit::NotAllowed("topic"))?;
    let key = optional("key", &legacy.key)?;
    let id = optional("id", &legacy.id)?;
    let data = match whole {
        Some(whole) => find(whole, &legacy.data)?.ok_or(Unfit::Missing("data"))?.to_owned(),
        None => serde_json::value::to_raw_value(text).map_err(|_| Unfit::NotAllowed("data"))?,
    };
    let payload = Payload::json(data).map_err(|_| Unfit::NotAllowed("data"))?;
    let idempotency_key = id.clone();
    Ok((room, Publication { topic: topic.into(), key, payload, user: None, id, idempotency_key }))
}

struct Message<'a> {
    channel: &'a str,
    captures: &'a [&'a str],
    /// `None`: a text.
    whole: Option<&'a RawValue>,
}

impl Message<'_> {
    /// The template with its places filled in; `None`: a value is missing, or has no text.
    fn fill(&self, template: &Template) -> Result<Option<String>, Unfit> {
        let mut out = String::new();
        for part in template.parts() {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Channel => out.push_str(self.channel),
                Part::Matched(index) => match self.captures.get(*index) {
                    Some(matched) => out.push_str(matched),
                    None => return Ok(None),
                },
                Part::Value(pointer) => {
                    let Some(whole) = self.whole else { return Ok(None) };
                    match find(whole, pointer)?.map(RawValue::get) {
                        None | Some("null") => return Ok(None),
                        Some(value) if value.starts_with(['{', '[']) => return Ok(None),
                        Some(value) if value.starts_with('"') => {
                            out.push_str(&serde_json::from_str::<String>(value).map_err(|_| Unfit::NotJson)?);
                        }
                        Some(value) => out.push_str(value),
                    }
                }
            }
        }
        Ok(Some(out))
    }
}

/// The value that a pointer names. Of members with the same name it is the last, as most parsers have it.
fn find<'a>(whole: &'a RawValue, pointer: &Pointer) -> Result<Option<&'a RawValue>, Unfit> {
    let mut at = whole;
    for token in pointer.tokens() {
        let mut parser = serde_json::Deserializer::from_str(at.get());
        let found = match at.get().as_bytes().first() {
            Some(b'{') => parser.deserialize_map(Child(token)),
            Some(b'[') => parser.deserialize_seq(Child(token)),
            _ => return Ok(None),
        };
        match found.map_err(|_| Unfit::NotJson)? {
            Some(child) => at = child,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// Finds one member or element and passes by the others.
struct Child<'k>(&'k str);

impl<'de> Visitor<'de> for Child<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is) = members.next_key_seed(Is(self.0))? {
            if is {
                found = Some(members.next_value()?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        // RFC 6901: digits without leading zeros.
        let plain = self.0 == "0" || (!self.0.starts_with(['0', '+']) && !self.0.is_empty());
        let wanted = self.0.parse::<usize>().ok().filter(|_| plain);
        let (mut found, mut index) = (None, 0);
        loop {
            if Some(index) == wanted {
                match elements.next_element()? {
                    Some(element) => found = Some(element),
                    None => return Ok(None),
                }
            } else if elements.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            index += 1;
        }
    }
}

/// Whether a member's name is this one.
struct Is<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests;
