//! Plain messages of other publishers: each becomes a room and a publication, or an error says why not.
//!
//! Pure. Knows the descriptions of `[[legacy]]`, no connection and no lease. Always holds: a publication keeps every rule for
//! publishers, its data is the message's own bytes but for halves of surrogate pairs, and an error contains nothing of the message. What an
//! event can go without (a key, an id) never keeps it out.

use serde_json::value::RawValue;

use crate::{
    config::{Encoding, Legacy},
    dialect::{Source, Template, text_of},
    model::{Payload, Publication, Room, check_length, check_topic, with_whole_pairs},
};

/// Takes plain messages that become no events, on the pod that holds the lease. Must not block.
pub trait PlainMessageSink: Send + Sync + std::fmt::Debug {
    /// Takes a message.
    fn take(&self, message: &[u8]);
}

/// Why a message becomes no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlainMessageError {
    /// It is not JSON.
    #[error("it is not JSON")]
    NotJson,
    /// A value that is needed is not there, or has no text.
    #[error("{0} names a value that is missing, or is neither a string nor a number nor a switch")]
    Missing(&'static str),
    /// Its room is archived: an event that comes so could not be kept before it is published.
    #[error("its room has `archive`, which takes events over the API and from clients only")]
    Archived,
    /// What was made breaks the rules of a room's name, a topic, a key, an id or data.
    #[error("what it gives as {0} is not allowed there: see docs/PROTOCOL.md")]
    NotAllowed(&'static str),
}

/// The description that takes in a message that came by `pattern`: the first one that the channel matches, unless that one
/// gets it by another of its patterns. So a message that Redis sends once for each pattern is taken once.
#[must_use]
pub fn taker<'a, 'b>(legacy: &'a [Legacy], pattern: &str, channel: &'b str) -> Option<(&'a Legacy, Vec<&'b str>)> {
    let all = legacy.iter().flat_map(|legacy| legacy.channels.iter().map(move |pattern| (legacy, pattern)));
    let mut matching = all.filter_map(|(legacy, own)| Some((legacy, own, own.captures(channel)?)));
    let (legacy, own, captures) = matching.next()?;
    (own.as_str() == pattern).then_some((legacy, captures))
}

/// The room and the publication of a message on `channel`, whose pattern's stars stand for `captures`.
///
/// # Errors
/// [`PlainMessageError`].
pub fn map(
    legacy: &Legacy,
    channel: &str,
    captures: &[&str],
    message: &[u8],
) -> Result<(Room, Publication), PlainMessageError> {
    // What is no UTF-8 is U+FFFD, to its readers as well.
    let text = &*String::from_utf8_lossy(message);
    let text = match legacy.encoding {
        Encoding::Json => &*with_whole_pairs(text),
        Encoding::Text => text,
    };
    let whole = match legacy.encoding {
        Encoding::Json => Some(serde_json::from_str::<&RawValue>(text).map_err(|_| PlainMessageError::NotJson)?),
        Encoding::Text => None,
    };
    let message = PlainMessage { channel, captures, whole };
    let fill =
        |name: &'static str, template: &Template| message.fill(template)?.ok_or(PlainMessageError::Missing(name));
    let room = match legacy.or_rooms.as_slice() {
        [] => fill("room", &legacy.room)?,
        others => message.first_of(&legacy.room, others)?,
    };
    let room = Room::parse(&room).map_err(|_| PlainMessageError::NotAllowed("room"))?;
    let topic = fill("topic", &legacy.topic)?;
    check_topic(&topic).map_err(|_| PlainMessageError::NotAllowed("topic"))?;
    let key = legacy.key.as_ref().map(|template| message.key(template)).transpose()?.flatten();
    let id = legacy.id.as_ref().map(|template| message.id(template)).transpose()?.flatten();
    let data = match whole {
        Some(whole) => legacy.data.find(whole).map_err(not_json)?.ok_or(PlainMessageError::Missing("data"))?.to_owned(),
        None => serde_json::value::to_raw_value(text).map_err(|_| PlainMessageError::NotAllowed("data"))?,
    };
    let payload = Payload::foreign_json(data).map_err(|_| PlainMessageError::NotAllowed("data"))?;
    let idempotency_key = id.clone().map(Into::into);
    Ok((room, Publication { topic: topic.into(), key, payload, user: None, id, idempotency_key }))
}

struct PlainMessage<'a> {
    channel: &'a str,
    captures: &'a [&'a str],
    /// `None`: a text.
    whole: Option<&'a RawValue>,
}

impl PlainMessage<'_> {
    /// The first of these templates that the message has texts for. A value that is neither there as a text nor missing fits none, unless the
    /// placeholder names another one that is: what is for one receiver must not go to many because it was written wrongly.
    fn first_of(&self, template: &Template, others: &[Template]) -> Result<String, PlainMessageError> {
        const MISSING: PlainMessageError = PlainMessageError::Missing("room");
        for template in [template].into_iter().chain(others) {
            // Of the placeholder that is being filled.
            let mut is_wrong = false;
            let filled = template.fill(|source, out| {
                let begin = out.len();
                let found = self.find(source, out)?;
                let has_text = found && out.len() > begin;
                is_wrong = !has_text && (is_wrong || (!found && self.has(source)?));
                Ok(has_text)
            })?;
            match filled {
                Some(filled) => return Ok(filled),
                None if is_wrong => return Err(MISSING),
                None => {}
            }
        }
        Err(MISSING)
    }

    /// Whether the message has anything but `null` there, or on the way there something that has no such part.
    fn has(&self, source: &Source) -> Result<bool, PlainMessageError> {
        let (Source::Value(pointer), Some(whole)) = (source, self.whole) else { return Ok(false) };
        Ok(pointer.reach(whole).map_err(not_json)?.is_some_and(|value| value.get() != "null"))
    }

    /// The event's key; `None`: the message gives none, or one that is too long.
    fn key(&self, template: &Template) -> Result<Option<Box<str>>, PlainMessageError> {
        Ok(self.fill(template)?.filter(|key| check_length("key", key).is_ok()).map(Into::into))
    }

    /// The event's id; `None`: the message gives none, or what tells no event from another: a switch, the number 0, blanks, or a text that is
    /// too long. Taken for an id it would make repeats of all events but the first.
    fn id(&self, template: &Template) -> Result<Option<Box<str>>, PlainMessageError> {
        let filled = template.fill(|source, out| Ok(!self.is_switch(source)? && self.find(source, out)?))?;
        let tells = |id: &String| !id.trim().is_empty() && id != "0" && check_length("id", id).is_ok();
        Ok(filled.filter(tells).map(Into::into))
    }

    fn is_switch(&self, source: &Source) -> Result<bool, PlainMessageError> {
        let (Source::Value(pointer), Some(whole)) = (source, self.whole) else { return Ok(false) };
        let value = pointer.find(whole).map_err(not_json)?;
        Ok(value.is_some_and(|value| matches!(value.get(), "true" | "false")))
    }

    /// The template with its places filled in; `None`: a value is missing, or has no text.
    fn fill(&self, template: &Template) -> Result<Option<String>, PlainMessageError> {
        template.fill(|source, out| self.find(source, out))
    }

    /// Writes the text of a source, if it has one.
    fn find(&self, source: &Source, out: &mut String) -> Result<bool, PlainMessageError> {
        match source {
            Source::Channel => out.push_str(self.channel),
            Source::Matched(index) => match self.captures.get(*index) {
                Some(matched) => out.push_str(matched),
                None => return Ok(false),
            },
            Source::Value(pointer) => {
                let value = self.whole.map(|whole| pointer.find(whole)).transpose().map_err(not_json)?.flatten();
                return value.map_or(Ok(false), |value| text_of(value, out).map_err(not_json));
            }
            Source::Query(_) | Source::User | Source::Claim(_) => return Ok(false),
        }
        Ok(true)
    }
}

fn not_json(_: serde_json::Error) -> PlainMessageError {
    PlainMessageError::NotJson
}

#[cfg(test)]
mod tests;
