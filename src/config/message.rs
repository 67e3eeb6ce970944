//! What a described dialect says: JSON with places in its strings, compiled to a flat list of steps.
//!
//! `{"type": "events", "at": "{now}", "for": "all of {room}"}`: a string that is one place becomes the value itself,
//! whatever its type; a place among other text becomes text. `"{key?}"` leaves its member or element out where there is
//! nothing. `{"*": "{data}", …}` begins with the members of an object, and adds those that it lacks. Always holds: what
//! the steps write is JSON, without a line feed of the description's own.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{
    pointer::Pointer,
    template::{bounded, claim},
};

/// A message, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageTemplate {
    steps: Vec<Step>,
}

/// A step of writing a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Bytes as they are.
    Bytes(Box<[u8]>),
    /// The value of a place, `null` where there is nothing.
    Value(Place),
    /// A string: text, already escaped, and places.
    Text(Vec<Piece>),
    /// A member (with its name and colon) or an element, left out where there is nothing, after a comma where one is due.
    Optional(Box<[u8]>, Place),
    /// A comma, unless nothing stands before.
    Comma,
    /// The members of an object, and those that it lacks.
    Spread(Place, Vec<Lacking>),
}

/// A member that is written where an object has none of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// The name.
    pub name: Box<str>,
    /// The member, name and colon included.
    pub steps: Vec<Step>,
}

/// A piece of a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text, escaped for JSON.
    Text(Box<str>),
    /// The text of a place; nothing where there is nothing.
    Place(Place),
}

/// Names, of which the first that has something counts.
pub type Place = Vec<Name>;

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// RFC 3339, UTC.
    Rfc3339,
    /// Whole seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Millis,
}

/// What a place can stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// The time at which the message is written.
    Now(Clock),
    /// The room's name.
    Room,
    /// What stands behind the first colon of the room's name, spelt as this client did.
    RoomId,
    /// What stands before it.
    RoomNamespace,
    /// The room's epoch.
    Epoch,
    /// The offset: an event's, or that which a batch or a reply ends at.
    Offset,
    /// The offset that a batch, a gap or a history continues from.
    After,
    /// An event's epoch and offset as one text.
    Position,
    /// An event's topic.
    Topic,
    /// An event's key.
    Key,
    /// An event's data, or a part of it.
    Data(Pointer),
    /// When the broker took an event in.
    Time(Clock),
    /// An event's id as its publisher gave it.
    EventId,
    /// The publishing user of an event, a member's, or the connection's own.
    User,
    /// All events of a batch, as elements of one array.
    Events,
    /// The id of the command that is answered.
    Id,
    /// The connection's name, or a member's.
    Connection,
    /// A value of the query of the connection's request.
    Query(Box<str>),
    /// A value of the claims of the connection's token.
    Claim(Pointer),
    /// Whether what followed the event that the client named comes next.
    Replayed,
    /// The interval after which a client should say something, in milliseconds.
    PingInterval,
    /// Whether what was missed follows.
    Recovered,
    /// The code of an error, or why a room was left.
    Code,
    /// The sentence of an error.
    Message,
    /// Who is in a room, or came, or went: elements with `connection` and `user`.
    Members,
    /// How many are in a room.
    Total,
    /// When a token must have been replaced, in milliseconds since 1970.
    ExpiresAt,
    /// How long to wait before coming back, in milliseconds.
    AfterMs,
}

impl MessageTemplate {
    /// Reads a message.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub(crate) fn parse(text: &str, may_name: &[&str]) -> Result<Self, String> {
        bounded(text)?;
        let node: Node = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        let mut compiler = Compiler { steps: Vec::new(), may_name };
        compiler.node(&node)?;
        Ok(Self { steps: compiler.steps })
    }

    /// Its steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether what it writes is an array.
    pub(crate) fn is_array(&self) -> bool {
        matches!(self.steps.first(), Some(Step::Bytes(bytes)) if bytes.starts_with(b"["))
    }

    /// Whether it names this somewhere.
    pub(crate) fn names(&self, name: &Name) -> bool {
        self.any(&|named| named == name)
    }

    /// Whether it names something of which that is true.
    pub(crate) fn any(&self, is: &dyn Fn(&Name) -> bool) -> bool {
        fn in_steps(steps: &[Step], is: &dyn Fn(&Name) -> bool) -> bool {
            steps.iter().any(|step| match step {
                Step::Bytes(_) | Step::Comma => false,
                Step::Value(place) | Step::Optional(_, place) => place.iter().any(is),
                Step::Text(pieces) => pieces.iter().any(|p| matches!(p, Piece::Place(place) if place.iter().any(is))),
                Step::Spread(place, lacking) => {
                    place.iter().any(is) || lacking.iter().any(|lacking| in_steps(&lacking.steps, is))
                }
            })
        }
        in_steps(&self.steps, is)
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["now", "topic", "key", "data", "room"];

    fn steps(text: &str) -> Result<Vec<Step>, String> {
        MessageTemplate::parse(text, NAMES).map(|message| message.steps)
    }

    fn bytes(text: &str) -> Step {
        Step::Bytes(text.as_bytes().into())
    }

    #[test]
    fn what_never_changes_is_one_step() {
        assert_eq!(steps(r#"{ "b": [1, "x\"", null], "a": {} }"#), Ok(vec![bytes(r#"{"b":[1,"x\"",null],"a":{}}"#)]));
        assert_eq!(steps("\"{{a}}\""), Ok(vec![bytes("\"{a}\"")]));
    }

    #[test]
    fn places_are_values_or_texts() {
        let expected = vec![
            bytes(r#"{"t":"#),
            Step::Value(vec![Name::Topic]),
            bytes(r#","at":"#),
            Step::Value(vec![Name::Now(Clock::Seconds)]),
            bytes(r#","s":"#),
            Step::Text(vec![Piece::Text("of ".into()), Piece::Place(vec![Name::Key, Name::RoomId])]),
            bytes("}"),
        ];
        assert_eq!(steps(r#"{"t":"{topic}","at":"{now:s}","s":"of {key|room:id}"}"#), Ok(expected));
    }

    #[test]
    fn members_can_be_left_out() {
        let optional = |lead: &str| Step::Optional(lead.as_bytes().into(), vec![Name::Key]);
        assert_eq!(
            steps(r#"{"k":"{key?}","a":1,"l":"{key?}","b":["{key?}"]}"#),
            Ok(vec![
                bytes("{"),
                optional("\"k\":"),
                Step::Comma,
                bytes("\"a\":1"),
                optional("\"l\":"),
                bytes(",\"b\":["),
                optional(""),
                bytes("]}"),
            ])
        );
    }

    #[test]
    fn an_object_is_spread() {
        let data = vec![Name::Data(Pointer::default())];
        let topic = vec![Step::Comma, bytes("\"topic\":"), Step::Value(vec![Name::Topic])];
        assert_eq!(
            steps(r#"{"*":"{data}","topic":"{topic}"}"#),
            Ok(vec![bytes("{"), Step::Spread(data, vec![Lacking { name: "topic".into(), steps: topic }]), bytes("}"),])
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, why) in [
            ("{", "it is not JSON: EOF"),
            (r#"{"a":"{nobody}"}"#, "`{nobody}` has no meaning here; there are `{now}`, `{topic}`"),
            (r#"{"a":"{code}"}"#, "`{code}` has no meaning here"),
            (r#"{"a":"{topic:x}"}"#, "`{topic:x}` has no meaning here"),
            (r#"{"a":"{now:h}"}"#, "a time is written"),
            (r#"{"a":"x{topic"}"#, "it has a `{` without a `}`"),
            (r#"{"a":"x}"}"#, "it has a `}` without a `{`"),
            (r#""{topic?}""#, "`{topic?}` is no member"),
            (r#"{"a":1,"*":"{data}"}"#, "`*` must be an object's first member"),
            (r#"{"*":"x{data}"}"#, "`*` takes one place"),
            (r#"{"a":"{data:x}"}"#, "a JSON pointer begins with `/`"),
        ] {
            let error = steps(text).unwrap_err();
            assert!(error.starts_with(why), "{text}: {error}");
        }
    }
}
