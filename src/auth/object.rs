//! JSON objects whose names occur once.
//!
//! Two readers of an object with a name twice may each take another value, so that what one checked is not what the
//! other uses. RFC 7515 section 4 and RFC 7519 section 4 let a reader refuse them.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The members of an object, in its order, their values not read yet.
#[derive(Debug)]
pub struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// Reads a text that is one object; `None` if it is not.
    #[must_use]
    pub fn parse(json: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// The member of this name; `null` counts as absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.value(name).filter(|value| value.get() != "null")
    }

    /// The member of this name, `null` or not.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| *value)
    }

    /// The names of its members.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    /// Whether there is such a member, `null` or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(own, _)| own == name)
    }
}

/// A name, borrowed unless it is escaped.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Self::Value = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    if members.iter().any(|(own, _)| *own == name) {
                        return Err(A::Error::custom("a name occurs twice"));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Members).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_with_each_name_once() {
        let object = Object::parse(br#" {"a":1,"b":null,"\u0063":"x"} "#).expect("an object");
        assert_eq!(object.get("a").map(RawValue::get), Some("1"));
        assert_eq!(object.get("c").map(RawValue::get), Some("\"x\""));
        assert!(object.get("b").is_none() && object.has("b") && !object.has("d"));
        let twice: [&[u8]; 8] =
            [b"", b"1", b"[]", b"{", b"{}{}", br#"{"a":1,"a":1}"#, br#"{"a":1,"\u0061":2}"#, b"{\"\xff\":1}"];
        for bad in twice {
            assert!(Object::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn nesting_costs_no_stack() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Object::parse(deep.as_bytes()).is_some_and(|object| object.has("a")));
    }
}
