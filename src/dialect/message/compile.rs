//! From a message's text to its steps.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::step::{Clock, Field, Lacking, Piece, Placeholder, Step};
use crate::dialect::{
    pointer::{Pointer, check_size},
    template::claim,
};

/// The steps that write a message. Its placeholders may name the fields `may_name`.
pub(super) fn steps(text: &str, may_name: &[&str]) -> Result<Vec<Step>, String> {
    check_size(text)?;
    let node: Node = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
    let mut compiler = Compiler { steps: Vec::new(), may_name };
    compiler.node(&node)?;
    Ok(compiler.steps)
}

/// JSON as it is written, members in their order.
enum Node {
    Object(Vec<(String, Node)>),
    Array(Vec<Node>),
    Text(String),
    Other(String),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Other("null".to_owned()))
            }

            fn visit_bool<E>(self, switch: bool) -> Result<Node, E> {
                Ok(Node::Other(switch.to_string()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
                Ok(Node::Other(number.to_string()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
                Ok(Node::Other(number.to_string()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Node, E> {
                Ok(Node::Other(number.to_string()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Node, E> {
                Ok(Node::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Node::Array(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Node::Object(members))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

struct Compiler<'a> {
    steps: Vec<Step>,
    may_name: &'a [&'a str],
}

/// A string that is one placeholder, and whether it may be left out.
enum Whole {
    Always(Placeholder),
    Optional(Placeholder),
}

impl Compiler<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        if let Some(Step::Bytes(last)) = self.steps.last_mut() {
            *last = [last, bytes].concat().into();
        } else {
            self.steps.push(Step::Bytes(bytes.into()));
        }
    }

    fn node(&mut self, node: &Node) -> Result<(), String> {
        match node {
            Node::Other(text) => self.bytes(text.as_bytes()),
            Node::Text(text) => match self.whole(text)? {
                Some(Whole::Always(placeholder)) => self.steps.push(Step::Value(placeholder)),
                Some(Whole::Optional(_)) => return Err(format!("`{text}` is no member or element: leave out its `?`")),
                None => self.text(text)?,
            },
            Node::Array(items) => {
                self.bytes(b"[");
                let mut certain = Before::Nothing;
                for item in items {
                    certain = self.item(certain, &[], item)?;
                }
                self.bytes(b"]");
            }
            Node::Object(members) => {
                self.bytes(b"{");
                let mut before = Before::Nothing;
                let mut members = members.iter();
                if let Some((name, value)) = members.as_slice().first()
                    && name == "*"
                {
                    let placeholder = match value {
                        Node::Text(text) => self.whole(text)?,
                        _ => None,
                    };
                    let Some(Whole::Always(placeholder)) = placeholder else {
                        return Err("`*` takes one placeholder, such as `\"{data}\"`".to_owned());
                    };
                    let lacking = members.by_ref().skip(1).map(|(name, value)| {
                        if name == "*" {
                            return Err("`*` must be an object's first member".to_owned());
                        }
                        let mut inner = Compiler { steps: Vec::new(), may_name: self.may_name };
                        inner.item(Before::Unknown, &lead(name), value)?;
                        Ok(Lacking { name: name.as_str().into(), steps: inner.steps })
                    });
                    let lacking = lacking.collect::<Result<_, String>>()?;
                    self.steps.push(Step::Spread(placeholder, lacking));
                }
                for (name, value) in members {
                    if name == "*" {
                        return Err("`*` must be an object's first member".to_owned());
                    }
                    before = self.item(before, &lead(name), value)?;
                }
                self.bytes(b"}");
            }
        }
        Ok(())
    }

    /// A member or an element.
    fn item(&mut self, before: Before, lead: &[u8], value: &Node) -> Result<Before, String> {
        if let Node::Text(text) = value
            && let Some(Whole::Optional(placeholder)) = self.whole(text)?
        {
            self.steps.push(Step::Optional(lead.into(), placeholder));
            return Ok(if before == Before::Something { before } else { Before::Unknown });
        }
        match before {
            Before::Nothing => {}
            Before::Something => self.bytes(b","),
            Before::Unknown => self.steps.push(Step::Comma),
        }
        self.bytes(lead);
        self.node(value)?;
        Ok(Before::Something)
    }

    /// The placeholder that a string is, if it is nothing else.
    fn whole(&self, text: &str) -> Result<Option<Whole>, String> {
        let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        let Some(inside) = inside.filter(|inside| !inside.contains(['{', '}'])) else { return Ok(None) };
        Ok(Some(match inside.strip_suffix('?') {
            Some(inside) => Whole::Optional(self.placeholder(inside)?),
            None => Whole::Always(self.placeholder(inside)?),
        }))
    }

    /// A string with placeholders among its text; `{{` and `}}` are plain braces.
    fn text(&mut self, text: &str) -> Result<(), String> {
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = brace.strip_prefix("{{").or_else(|| brace.strip_prefix("}}")) {
                plain.push_str(&brace[..1]);
                rest = after;
                continue;
            }
            let inside = brace.strip_prefix('{').ok_or("it has a `}` without a `{`; a plain one is written `}}`")?;
            let (names, after) = inside.split_once('}').ok_or("it has a `{` without a `}`; a plain one is `{{`")?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(escaped(&std::mem::take(&mut plain)).into()));
            }
            pieces.push(Piece::Placeholder(self.placeholder(names)?));
            rest = after;
        }
        plain.push_str(rest);
        if pieces.is_empty() {
            let plain = escaped(&plain);
            self.bytes(format!("\"{plain}\"").as_bytes());
            return Ok(());
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(escaped(&plain).into()));
        }
        self.steps.push(Step::Text(pieces));
        Ok(())
    }

    fn placeholder(&self, names: &str) -> Result<Placeholder, String> {
        names.split('|').map(|name| self.field(name)).collect()
    }

    fn field(&self, text: &str) -> Result<Field, String> {
        let (word, detail) = text.split_once(':').map_or((text, None), |(word, detail)| (word, Some(detail)));
        let allowed = || {
            let all: Vec<_> = self.may_name.iter().map(|name| format!("`{{{name}}}`")).collect();
            format!("`{{{text}}}` has no meaning here; there are {}", all.join(", "))
        };
        if !self.may_name.contains(&word) {
            return Err(allowed());
        }
        let clock = match detail {
            None => Some(Clock::Rfc3339),
            Some("s") => Some(Clock::Seconds),
            Some("ms") => Some(Clock::Millis),
            Some(_) => None,
        };
        Ok(match (word, detail) {
            ("now", _) => Field::Now(clock.ok_or("a time is written `{now}`, `{now:s}` or `{now:ms}`")?),
            ("time", _) => Field::Time(clock.ok_or("a time is written `{time}`, `{time:s}` or `{time:ms}`")?),
            ("room", None) => Field::Room,
            ("room", Some("id")) => Field::RoomId,
            ("room", Some("namespace")) => Field::RoomNamespace,
            ("data", detail) => Field::Data(Pointer::parse(detail.unwrap_or_default())?),
            ("query", Some("token")) => return Err("a message must not contain a token".to_owned()),
            ("query", Some(name)) if !name.is_empty() => Field::Query(name.into()),
            ("path", Some(star)) => match star.parse() {
                Ok(star) if star > 0 => Field::Path(star),
                _ => return Err("a segment of the path is written `{path:1}`, `{path:2}`".to_owned()),
            },
            ("claim", Some(name)) => Field::Claim(claim(name)?),
            ("replayed", None) => Field::Replayed,
            ("epoch", None) => Field::Epoch,
            ("offset", None) => Field::Offset,
            ("after", None) => Field::After,
            ("position", None) => Field::Position,
            ("since", None) => Field::Since,
            ("topic", None) => Field::Topic,
            ("key", None) => Field::Key,
            ("event_id", None) => Field::EventId,
            ("user", None) => Field::User,
            ("events", None) => Field::Events,
            ("id", None) => Field::Id,
            ("connection", None) => Field::Connection,
            ("ping_interval", None) => Field::PingInterval,
            ("recovered", None) => Field::Recovered,
            ("complete", None) => Field::Complete,
            ("code", None) => Field::Code,
            ("message", None) => Field::Message,
            ("members", None) => Field::Members,
            ("total", None) => Field::Total,
            ("expires_at", None) => Field::ExpiresAt,
            ("after_ms", None) => Field::AfterMs,
            ("ttl", None) => Field::Ttl,
            ("end", None) => Field::End,
            ("unread", None) => Field::Unread,
            ("messages", None) => Field::Messages,
            ("cursor", None) => Field::Cursor,
            _ => return Err(allowed()),
        })
    }
}

/// What the steps before a member or element will have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Something,
    Unknown,
}

fn lead(name: &str) -> Vec<u8> {
    format!("\"{}\":", escaped(name)).into_bytes()
}

/// The text, escaped for the inside of a JSON string.
fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}
