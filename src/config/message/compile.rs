//! From a message's text to its steps.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Clock, Lacking, Name, Piece, Place, Step};
use crate::config::{
    pointer::Pointer,
    template::{bounded, claim},
};

/// The steps that write a message. `may_name`: what its places may be.
pub(super) fn steps(text: &str, may_name: &[&str]) -> Result<Vec<Step>, String> {
    bounded(text)?;
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

/// A string that is one place: the place, and whether it may be left out.
enum Whole {
    Always(Place),
    Optional(Place),
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
                Some(Whole::Always(place)) => self.steps.push(Step::Value(place)),
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
                    let place = match value {
                        Node::Text(text) => self.whole(text)?,
                        _ => None,
                    };
                    let Some(Whole::Always(place)) = place else {
                        return Err("`*` takes one place, such as `\"{data}\"`".to_owned());
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
                    self.steps.push(Step::Spread(place, lacking));
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
            && let Some(Whole::Optional(place)) = self.whole(text)?
        {
            self.steps.push(Step::Optional(lead.into(), place));
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

    /// The place that a string is, if it is nothing else.
    fn whole(&self, text: &str) -> Result<Option<Whole>, String> {
        let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        let Some(inside) = inside.filter(|inside| !inside.contains(['{', '}'])) else { return Ok(None) };
        Ok(Some(match inside.strip_suffix('?') {
            Some(inside) => Whole::Optional(self.place(inside)?),
            None => Whole::Always(self.place(inside)?),
        }))
    }

    /// A string with places among its text; `{{` and `}}` are plain braces.
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
            pieces.push(Piece::Place(self.place(names)?));
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

    fn place(&self, names: &str) -> Result<Place, String> {
        names.split('|').map(|name| self.name(name)).collect()
    }

    fn name(&self, text: &str) -> Result<Name, String> {
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
            ("now", _) => Name::Now(clock.ok_or("a time is written `{now}`, `{now:s}` or `{now:ms}`")?),
            ("time", _) => Name::Time(clock.ok_or("a time is written `{time}`, `{time:s}` or `{time:ms}`")?),
            ("room", None) => Name::Room,
            ("room", Some("id")) => Name::RoomId,
            ("room", Some("namespace")) => Name::RoomNamespace,
            ("data", detail) => Name::Data(Pointer::parse(detail.unwrap_or_default())?),
            ("query", Some("token")) => return Err("a token must not be said to anybody".to_owned()),
            ("query", Some(name)) if !name.is_empty() => Name::Query(name.into()),
            ("claim", Some(name)) => Name::Claim(claim(name)?),
            ("replayed", None) => Name::Replayed,
            ("epoch", None) => Name::Epoch,
            ("offset", None) => Name::Offset,
            ("after", None) => Name::After,
            ("position", None) => Name::Position,
            ("topic", None) => Name::Topic,
            ("key", None) => Name::Key,
            ("event_id", None) => Name::EventId,
            ("user", None) => Name::User,
            ("events", None) => Name::Events,
            ("id", None) => Name::Id,
            ("connection", None) => Name::Connection,
            ("ping_interval", None) => Name::PingInterval,
            ("recovered", None) => Name::Recovered,
            ("code", None) => Name::Code,
            ("message", None) => Name::Message,
            ("members", None) => Name::Members,
            ("total", None) => Name::Total,
            ("expires_at", None) => Name::ExpiresAt,
            ("after_ms", None) => Name::AfterMs,
            _ => return Err(allowed()),
        })
    }
}

/// What is known of what stands before a member or element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Something,
    Unknown,
}

fn lead(name: &str) -> Vec<u8> {
    format!("\"{}\":", escaped(name)).into_bytes()
}

/// A text as it stands between the quotes of a JSON string.
fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}
