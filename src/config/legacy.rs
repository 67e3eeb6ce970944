//! `[[legacy]]`: which plain messages of other publishers are taken in, and how one becomes an event.
//!
//! Pure. Templates and pointers are read when the configuration is, so that a message can fail to fit, but a description
//! cannot fail to be understood.

use super::{
    error::Problem,
    item::Item,
    section::section,
    value::{Choice, List, Maybe, PointerKind, TemplateKind, TextKind},
};
use crate::{
    dialect::{Offers, Pointer, Source, Template},
    model::{Room, check_topic},
};

/// The longest channel pattern, in bytes.
const MAX_PATTERN: usize = 4_096;

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// JSON (RFC 8259).
    Json,
    /// Any UTF-8: the data is one string.
    Text,
}

/// One `[[legacy]]` of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Legacy {
    /// The channels; of several `[[legacy]]` that match, the first counts.
    pub channels: Vec<ChannelPattern>,
    /// The event's room.
    pub room: Template,
    /// Its room where the message lacks what `room` names: the first of these that the message has all values for.
    pub or_rooms: Vec<Template>,
    /// Its topic.
    pub topic: Template,
    /// Its key.
    pub key: Option<Template>,
    /// Its id, by which a repeated message is known.
    pub id: Option<Template>,
    /// Which part of the message is the data.
    pub data: Pointer,
    /// How the message is written.
    pub encoding: Encoding,
}

section! {
    /// Plain messages (`PUBLISH`) in the Redis of `[redis]` that become events. The first `[[legacy]]` that matches wins.
    pub struct LegacyTable in "legacy" {
        /// The channels, by name or with `*` for any characters.
        channels: Option<Vec<ChannelPattern>> = None, Maybe(List(ChannelPatternKind)), restart, unset("must be set", "[\"trip:*\"]");
        /// The event's room: text with `{channel}`, `{channel:1}` (what the first `*` stands for) and `{/json/pointer}` (RFC
        /// 6901: a string, number or switch of the message).
        room: Option<Template> = None, Maybe(TemplateKind(Offers::Channel)), restart, unset("must be set", "\"trip:{channel:1}\"");
        /// The event's room where the message has not what `room` names, or `null` or an empty text there: the first of these that it has
        /// all values for, written like `room`.
        or_rooms: Vec<Template> = Vec::new(), List(TemplateKind(Offers::Channel)), restart, unset("none", "[\"{/room}\", \"everyone\"]");
        /// The event's topic, written like `room`.
        topic: Option<Template> = None, Maybe(TemplateKind(Offers::Channel)), restart, unset("must be set", "\"{/topic}\"");
        /// The event's key, written like `room`. A message without what it names, or with a key of more than 255 bytes, makes an event
        /// without a key.
        key: Option<Template> = None, Maybe(TemplateKind(Offers::Channel)), restart, unset("no key", "\"{/data/id}\"");
        /// The event's id, written like `room`. A second message with the id of an earlier one is not a second event, for
        /// as long as `redis.idempotency_age` says. An id that is empty, blank, 0, a switch or longer than 255 bytes is none.
        id: Option<Template> = None, Maybe(TemplateKind(Offers::Channel)), restart, unset("every message is an event", "\"{/event_id}\"");
        /// A JSON pointer to the part of the message that is the event's data; empty: all of it.
        data: Pointer = Pointer::default(), PointerKind, restart;
        /// How messages are written: `json`, or `text`, which becomes a string.
        encoding: Encoding = Encoding::Json, Choice(&[("json", Encoding::Json), ("text", Encoding::Text)]), restart;
    }
}

/// The names of channels: literal text, and `*` for any characters. Redis' other signs are refused, so that the pod and
/// Redis cannot understand a pattern differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelPattern(Box<str>);

impl ChannelPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_PATTERN {
            return Err(format!("it has more than {MAX_PATTERN} bytes"));
        }
        match text.chars().find(|c| c.is_control() || matches!(c, '?' | '[' | ']' | '\\')) {
            _ if text.is_empty() => Err("it is empty".to_owned()),
            Some(c) => Err(format!("it must not contain {c:?}")),
            None => Ok(Self(text.into())),
        }
    }

    /// The pattern, as `PSUBSCRIBE` takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many parts of a name it leaves open.
    fn stars(&self) -> usize {
        self.0.matches('*').count()
    }

    /// What each `*` stands for in a channel's name, as short as possible from the left; `None`: it does not match.
    #[must_use]
    pub fn captures<'a>(&self, channel: &'a str) -> Option<Vec<&'a str>> {
        let mut literals = self.0.split('*');
        let mut rest = channel.strip_prefix(literals.next()?)?;
        let Some(last) = literals.next_back() else { return rest.is_empty().then(Vec::new) };
        let mut found = Vec::new();
        for literal in literals {
            let (matched, after) = rest.split_once(literal)?;
            found.push(matched);
            rest = after;
        }
        found.push(rest.strip_suffix(last)?);
        Some(found)
    }
}

/// A [`ChannelPattern`] as a value of a key.
pub(crate) struct ChannelPatternKind;

impl TextKind for ChannelPatternKind {
    type Value = ChannelPattern;
    const NAME: &'static str = "channel pattern";
    const ALLOWED: &'static str = "a channel's name, `*` for any characters, none of `? [ ] \\`";

    fn read(&self, text: &str) -> Result<ChannelPattern, String> {
        ChannelPattern::parse(text)
    }

    fn write(&self, value: &ChannelPattern) -> String {
        value.as_str().to_owned()
    }
}

impl Legacy {
    /// Reads one `[[legacy]]`.
    pub(super) fn read(item: &Item) -> Result<Self, Vec<Problem>> {
        let mut table = LegacyTable::default();
        let mut problems = item.fill(&mut table, &[]);
        let problem = |name: &str, why: String| item.problem(name, why);
        let LegacyTable { channels, room, or_rooms, topic, key, id, data, encoding } = table;
        let (Some(channels), Some(room), Some(topic), true) = (channels, room, topic, problems.is_empty()) else {
            return Err(problems);
        };
        let stars = channels.iter().map(ChannelPattern::stars).min().unwrap_or_default();
        if channels.is_empty() {
            problems.push(problem("channels", "it names no channel".to_owned()));
        }
        let templates = [("room", Some(&room)), ("topic", Some(&topic)), ("key", key.as_ref()), ("id", id.as_ref())];
        let others = or_rooms.iter().map(|room| ("or_rooms", Some(room)));
        for (name, template) in templates.into_iter().chain(others) {
            for source in template.into_iter().flat_map(Template::sources) {
                match source {
                    Source::Matched(index) if *index >= stars => problems.push(problem(
                        name,
                        format!("`{{channel:{}}}` needs as many `*` in each of `channels`", index + 1),
                    )),
                    Source::Value(_) if encoding == Encoding::Text => {
                        problems.push(problem(
                            name,
                            "a text has no values to point to; use `encoding = \"json\"`".to_owned(),
                        ));
                    }
                    _ => {}
                }
            }
        }
        if encoding == Encoding::Text && data != Pointer::default() {
            problems.push(problem("data", "a text has no parts to point to; leave it out".to_owned()));
        }
        let rooms = or_rooms.iter().map(|room| ("or_rooms", room));
        for (name, room) in [("room", &room)].into_iter().chain(rooms) {
            if let Err(error) = Room::parse(&room.example()) {
                problems.push(problem(name, format!("it makes no room names: {error}")));
            }
        }
        if let Err(error) = check_topic(&topic.example()) {
            problems.push(problem("topic", format!("it makes no topics: {error}")));
        }
        if problems.is_empty() {
            Ok(Self { channels, room, or_rooms, topic, key, id, data, encoding })
        } else {
            Err(problems)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_says_what_its_stars_stand_for() {
        for (pattern, channel, expected) in [
            ("/records", "/records", Some(vec![])),
            ("/records", "/records2", None),
            ("trip:*", "trip:7", Some(vec!["7"])),
            ("trip:*", "trip:", Some(vec![""])),
            ("trip:*", "trips:7", None),
            ("*", "é", Some(vec!["é"])),
            ("*:trip:*:end", "a:trip:b:end:end", Some(vec!["a", "b:end"])),
            ("*:*", "a:b:c", Some(vec!["a", "b:c"])),
            ("a*a", "a", None),
            ("a**", "abc", Some(vec!["", "bc"])),
        ] {
            assert_eq!(ChannelPattern::parse(pattern).unwrap().captures(channel), expected, "{pattern} {channel}");
        }
        for bad in ["", "a?", "[a]", "a\\b", "a\n"] {
            assert!(ChannelPattern::parse(bad).is_err(), "{bad:?}");
        }
    }
}
