//! JSON pointers (RFC 6901), and the value that one names in a text that is JSON.
//!
//! Never rebuilds a value: what is found is a part of the text.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::whole_digits;

/// The longest pointer, template and message of a description, in bytes.
const MAX_TEXT: usize = 4_096;

/// A JSON pointer (RFC 6901).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pointer(Vec<Box<str>>);

impl Pointer {
    /// Reads a pointer.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(text: &str) -> Result<Self, String> {
        check_size(text)?;
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

    /// Whether it names all there is.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.is_empty()
    }

    /// The value that it names. Of members with the same name it is the last, as most parsers have it.
    ///
    /// # Errors
    /// Not all of `whole` is JSON.
    pub fn find<'a>(&self, whole: &'a RawValue) -> Result<Option<&'a RawValue>, serde_json::Error> {
        Ok(self.walk(whole)?.filter(|(_, is_named)| *is_named).map(|(value, _)| value))
    }

    /// The same, or the value on the way there at which the way ends: it is neither an object nor an array, or one whose elements have no names.
    ///
    /// # Errors
    /// Not all of `whole` is JSON.
    pub fn reach<'a>(&self, whole: &'a RawValue) -> Result<Option<&'a RawValue>, serde_json::Error> {
        Ok(self.walk(whole)?.map(|(value, _)| value))
    }

    /// The value at which the way ends, and whether it is the one that is named; `None`: a member or element is not there.
    fn walk<'a>(&self, whole: &'a RawValue) -> Result<Option<(&'a RawValue, bool)>, serde_json::Error> {
        let mut at = whole;
        for token in &self.0 {
            let mut parser = serde_json::Deserializer::from_str(at.get());
            let found = match at.get().as_bytes().first() {
                Some(b'{') => parser.deserialize_map(Child(token)),
                Some(b'[') => parser.deserialize_seq(Child(token)),
                _ => return Ok(Some((at, false))),
            };
            match found? {
                Some(child) => at = child,
                // Empty it may be an object's, as some languages write one.
                None if is_list(at) && Child(token).index().is_none() => return Ok(Some((at, false))),
                None => return Ok(None),
            }
        }
        Ok(Some((at, true)))
    }
}

/// As it is written.
impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|token| write!(f, "/{}", token.replace('~', "~0").replace('/', "~1")))
    }
}

/// Adds the text of a value that has one: a string's own, a whole number's digits (`7` for `7.0` too), another number's and a
/// switch's as it is written. Whether it has one.
///
/// # Errors
/// The string holds an escape that is no Unicode character.
pub fn text_of(value: &RawValue, out: &mut String) -> Result<bool, serde_json::Error> {
    match value.get().as_bytes().first() {
        Some(b'n' | b'{' | b'[') | None => return Ok(false),
        Some(b'"') => out.push_str(&serde_json::from_str::<std::borrow::Cow<'_, str>>(value.get())?),
        Some(b't' | b'f') => out.push_str(value.get()),
        // Written with a point or an exponent it is the same number, and names the same room.
        Some(_) => match Some(value.get()).filter(|json| json.contains(['.', 'e', 'E', '-'])).and_then(whole_digits) {
            Some(digits) => out.push_str(&digits),
            None => out.push_str(value.get()),
        },
    }
    Ok(true)
}

/// Refuses a text of a description that is too long.
pub(super) fn check_size(text: &str) -> Result<(), String> {
    if text.len() > MAX_TEXT { Err(format!("it has more than {MAX_TEXT} bytes")) } else { Ok(()) }
}

/// Whether it is an array that has elements.
fn is_list(value: &RawValue) -> bool {
    value.get().strip_prefix('[').is_some_and(|rest| !rest.trim_start().starts_with(']'))
}

/// Finds one member or element and passes by the others.
struct Child<'k>(&'k str);

impl Child<'_> {
    /// The element's place (RFC 6901: digits without leading zeros).
    fn index(&self) -> Option<usize> {
        let plain = self.0 == "0" || (!self.0.starts_with(['0', '+']) && !self.0.is_empty());
        self.0.parse().ok().filter(|_| plain)
    }
}

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
        let wanted = self.index();
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_those_of_rfc_6901() {
        let tokens = |text: &str| Pointer::parse(text).map(|p| p.0.iter().map(|t| t.to_string()).collect::<Vec<_>>());
        assert_eq!(tokens(""), Ok(vec![]));
        assert_eq!(tokens("/"), Ok(vec![String::new()]));
        assert_eq!(tokens("/a~1b/m~0n/~01/0"), Ok(["a/b", "m~n", "~1", "0"].map(str::to_owned).to_vec()));
        assert_eq!(Pointer::parse("/a~1b/m~0n/~01").unwrap().to_string(), "/a~1b/m~0n/~01");
        for bad in ["a", "/~", "/~2", "/a~"] {
            assert!(tokens(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_whole_number_has_one_text() {
        for (json, text) in [
            ("7", "7"),
            ("7.0", "7"),
            ("0.7e1", "7"),
            ("-7", "-7"),
            ("-7.0", "-7"),
            ("-70e-1", "-7"),
            ("-0.0", "0"),
            ("-7.5", "-7.5"),
            ("7.5", "7.5"),
            ("1e99", "1e99"),
            ("true", "true"),
            ("\"7.0\"", "7.0"),
            ("\"e\"", "e"),
        ] {
            let mut out = String::new();
            assert!(text_of(serde_json::from_str(json).unwrap(), &mut out).unwrap(), "{json}");
            assert_eq!(out, text, "{json}");
        }
    }

    #[test]
    fn a_pointer_finds_a_part_of_the_text() {
        let whole = r#"{"a":1,"b":[10,{"c": "x"}],"a":2,"":{"~":null}}"#;
        let whole: &RawValue = serde_json::from_str(whole).unwrap();
        let find = |pointer: &str| Pointer::parse(pointer).unwrap().find(whole).unwrap().map(RawValue::get);
        for (pointer, found) in [
            ("", Some(whole.get())),
            ("/a", Some("2")),
            ("/b/0", Some("10")),
            ("/b/1/c", Some("\"x\"")),
            ("/b/01", None),
            ("/b/2", None),
            ("/a/c", None),
            ("//~0", Some("null")),
            ("/d", None),
        ] {
            assert_eq!(find(pointer), found, "{pointer}");
        }
    }
}
