//! `[[legacy]]`: which plain messages of other publishers are taken in, and how one becomes an event.
//!
//! Pure. Templates and pointers are read when the configuration is, so that a message can fail to fit, but a description
//! cannot fail to be understood.

use super::{
    error::{Place, Problem},
    file::{Item, unknown},
    layers::bad_value,
    section::{Section, section},
    value::{Choice, Kind, List, Maybe, Raw, quoted},
};
use crate::model::{Room, check_topic};

/// The longest pattern, template and pointer, in bytes.
const MAX_TEXT: usize = 1_024;

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
    pub struct Table in "legacy" {
        /// The channels, by name or with `*` for any characters.
        channels: Option<Vec<ChannelPattern>> = None, Maybe(List(Channel)), restart, unset("must be set", "[\"trip:*\"]");
        /// The event's room: text with `{channel}`, `{channel:1}` (what the first `*` stands for) and `{/json/pointer}` (RFC
        /// 6901: a string, number or switch of the message).
        room: Option<Template> = None, Maybe(Written), restart, unset("must be set", "\"trip:{channel:1}\"");
        /// The event's topic, written like `room`.
        topic: Option<Template> = None, Maybe(Written), restart, unset("must be set", "\"{/topic}\"");
        /// The event's key, written like `room`. A message without what it names makes an event without a key.
        key: Option<Template> = None, Maybe(Written), restart, unset("no key", "\"{/data/id}\"");
        /// The event's id, written like `room`. A second message with the id of an earlier one is not a second event, for
        /// as long as `redis.idempotency_age` says.
        id: Option<Template> = None, Maybe(Written), restart, unset("every message is an event", "\"{/event_id}\"");
        /// A JSON pointer to the part of the message that is the event's data; empty: all of it.
        data: Pointer = Pointer::default(), Path, restart;
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
        bounded(text)?;
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

/// A JSON pointer (RFC 6901).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pointer(Vec<Box<str>>);

impl Pointer {
    /// Reads a pointer.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(text: &str) -> Result<Self, String> {
        bounded(text)?;
        if text.is_empty() {
            return Ok(Self::default());
        }
        let tokens = text.strip_prefix('/').ok_or("a JSON pointer begins with `/`")?.split('/');
        let token = |token: &str| {
            // A tilde is `~0`, a slash `~1`.
            let mut parts = token.split('~');
            let mut out = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                let (sign, rest) = match (part.strip_prefix('0'), part.strip_prefix('1')) {
                    (Some(rest), _) => ('~', rest),
                    (_, Some(rest)) => ('/', rest),
                    _ => return Err("in a JSON pointer `~` is written `~0`, and `/` in a name `~1`".to_owned()),
                };
                out.push(sign);
                out.push_str(rest);
            }
            Ok(out.into_boxed_str())
        };
        Ok(Self(tokens.map(token).collect::<Result<_, _>>()?))
    }

    /// Names and indices, from the outside; none: the whole.
    #[must_use]
    pub fn tokens(&self) -> &[Box<str>] {
        &self.0
    }
}

/// A text with places to be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: Box<str>,
    parts: Vec<Part>,
}

/// A part of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// As it is.
    Text(Box<str>),
    /// The channel's name.
    Channel,
    /// What a `*` of the pattern stands for, counted from 0.
    Matched(usize),
    /// A value of the message.
    Value(Pointer),
}

impl Template {
    /// Reads a template such as `trip:{channel:1}`.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(text: &str) -> Result<Self, String> {
        bounded(text)?;
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, place) = rest.split_at(at);
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            let inside = place.strip_prefix('{').ok_or("it has a `}` without a `{`")?;
            let (name, after) = inside.split_once('}').ok_or("it has a `{` without a `}`")?;
            let matched = name.strip_prefix("channel:").map(|n| n.parse::<usize>().ok().and_then(|n| n.checked_sub(1)));
            parts.push(match matched {
                _ if name == "channel" => Part::Channel,
                Some(Some(index)) => Part::Matched(index),
                _ if name.starts_with('/') => Part::Value(Pointer::parse(name)?),
                _ => return Err(format!("it must not contain `{{{name}}}`")),
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        if parts.is_empty() { Err("it is empty".to_owned()) } else { Ok(Self { text: text.into(), parts }) }
    }

    /// Its parts, in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// With every place filled in alike.
    fn example(&self) -> String {
        let part = |part: &Part| if let Part::Text(text) = part { text.to_string() } else { "x".to_owned() };
        self.parts.iter().map(part).collect()
    }
}

fn bounded(text: &str) -> Result<(), String> {
    if text.len() > MAX_TEXT { Err(format!("it has more than {MAX_TEXT} bytes")) } else { Ok(()) }
}

macro_rules! kind {
    ($kind:ident, $value:ty, $shown:expr, $name:literal, $allowed:literal) => {
        pub(super) struct $kind;

        impl Kind for $kind {
            type Value = $value;

            fn parse(&self, raw: &Raw) -> Result<$value, String> {
                match raw {
                    Raw::Text(text) => <$value>::parse(text),
                    _ => Err("it is not text".to_owned()),
                }
            }

            fn render(&self, value: &$value) -> Option<String> {
                let shown: fn(&$value) -> String = $shown;
                Some(quoted(&shown(value)))
            }

            fn name(&self) -> String {
                $name.to_owned()
            }

            fn allowed(&self) -> String {
                $allowed.to_owned()
            }
        }
    };
}

kind!(
    Channel,
    ChannelPattern,
    |value| value.0.to_string(),
    "channel pattern",
    "a channel's name, `*` for any characters, none of `? [ ] \\`"
);
kind!(
    Written,
    Template,
    |value| value.text.to_string(),
    "template",
    "text with `{channel}`, `{channel:N}` (what the Nth `*` stands for) and `{/json/pointer}`"
);
kind!(Path, Pointer, Pointer::written, "JSON pointer", "a JSON pointer (RFC 6901) such as `/data/0`, or an empty text");

impl Pointer {
    /// As it was written.
    #[must_use]
    pub fn written(&self) -> String {
        self.0.iter().map(|token| format!("/{}", token.replace('~', "~0").replace('/', "~1"))).collect()
    }
}

impl Legacy {
    /// Reads one `[[legacy]]`.
    pub(super) fn read(item: &Item) -> Result<Self, Vec<Problem>> {
        let mut table = Table::default();
        let keys = table.keys();
        let mut problems = Vec::new();
        for entry in &item.entries {
            let place = Place::Line(item.file.clone(), entry.line);
            match keys.iter().find(|key| key.name == entry.name) {
                Some(key) => {
                    if let Err(why) = table.set(key.name, &entry.value) {
                        problems.push(bad_value(key, &entry.value, place, &why));
                    }
                }
                None => problems.push(unknown(&item.file, entry, &keys)),
            }
        }
        // A problem at a key's line, or at the table's where the key is missing.
        let problem = |name: &str, why: String| {
            let entry = item.entries.iter().find(|entry| entry.name == name);
            let line = entry.map_or(item.line, |entry| entry.line);
            let key = if entry.is_some() { format!("legacy.{name}") } else { "legacy".to_owned() };
            let given = entry.map(|entry| entry.value.shown());
            Problem { place: Place::Line(item.file.clone(), line), key, given, why }
        };
        for key in keys.iter().filter(|key| key.unset == "must be set") {
            if !item.entries.iter().any(|entry| entry.name == key.name) {
                problems.push(problem(
                    key.name,
                    format!("it has no `{0}`: write for example `{0} = {1}`", key.name, key.example),
                ));
            }
        }
        let Table { channels, room, topic, key, id, data, encoding } = table;
        let (Some(channels), Some(room), Some(topic), true) = (channels, room, topic, problems.is_empty()) else {
            return Err(problems);
        };
        let stars = channels.iter().map(ChannelPattern::stars).min().unwrap_or_default();
        if channels.is_empty() {
            problems.push(problem("channels", "it names no channel".to_owned()));
        }
        let templates = [("room", Some(&room)), ("topic", Some(&topic)), ("key", key.as_ref()), ("id", id.as_ref())];
        for (name, template) in templates {
            for part in template.map_or(&[][..], Template::parts) {
                match part {
                    Part::Matched(index) if *index >= stars => problems.push(problem(
                        name,
                        format!("`{{channel:{}}}` needs as many `*` in each of `channels`", index + 1),
                    )),
                    Part::Value(_) if encoding == Encoding::Text => {
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
        if let Err(error) = Room::parse(&room.example()) {
            problems.push(problem("room", format!("it makes no room names: {error}")));
        }
        if let Err(error) = check_topic(&topic.example()) {
            problems.push(problem("topic", format!("it makes no topics: {error}")));
        }
        if problems.is_empty() { Ok(Self { channels, room, topic, key, id, data, encoding }) } else { Err(problems) }
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

    #[test]
    fn pointers_are_those_of_rfc_6901() {
        let tokens = |text: &str| Pointer::parse(text).map(|p| p.0.iter().map(|t| t.to_string()).collect::<Vec<_>>());
        assert_eq!(tokens(""), Ok(vec![]));
        assert_eq!(tokens("/"), Ok(vec![String::new()]));
        assert_eq!(tokens("/a~1b/m~0n/~01/0"), Ok(["a/b", "m~n", "~1", "0"].map(str::to_owned).to_vec()));
        assert_eq!(Pointer::parse("/a~1b/m~0n/~01").unwrap().written(), "/a~1b/m~0n/~01");
        for bad in ["a", "/~", "/~2", "/a~"] {
            assert!(tokens(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn templates_have_places() {
        let parts = Template::parse("a{channel}{channel:2}b{/x/y}c").unwrap().parts;
        let text = |text: &str| Part::Text(text.into());
        let value = Part::Value(Pointer::parse("/x/y").unwrap());
        assert_eq!(parts, [text("a"), Part::Channel, Part::Matched(1), text("b"), value, text("c")]);
        for bad in ["", "{", "}", "a}b{", "{}", "{channel:0}", "{channel:x}", "{chanel}", "{/~}", "{{channel}}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}
