//! The rules for the fields of an event, for every way to publish.

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{DELETED, ErrorCode, Payload, with_whole_pairs};

/// Why a field of a publication is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The field is empty.
    #[error("{0} must not be empty")]
    Empty(&'static str),
    /// The field is longer than [`MAX_FIELD_BYTES`].
    #[error("{field} has at most {MAX_FIELD_BYTES} bytes, this one has {bytes}")]
    TooLong {
        /// Its name on the wire.
        field: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// The data is longer than its kind of message may have.
    #[error("the data of {of} has at most {most} bytes, this one has {bytes}")]
    TooMuchData {
        /// What it belongs to.
        of: &'static str,
        /// The most bytes.
        most: usize,
        /// Its length.
        bytes: usize,
    },
    /// The field contains a control character.
    #[error("{field} must not contain the control character {character:?}")]
    Control {
        /// Its name on the wire.
        field: &'static str,
        /// The character.
        character: char,
    },
    /// The topic is one that only the pod itself uses.
    #[error("topic must not be {DELETED:?}: that is for what deletes events")]
    Reserved,
    /// The data is nested deeper than [`MAX_DEPTH`], so that receivers' parsers could refuse it.
    #[error("data is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The data fits the grammar of JSON, but has no value: a number out of range, or, where another pod sent it, half of a surrogate pair.
    #[error("data holds what parsers refuse: {0}")]
    NoValue(String),
}

/// The longest topic, key, event id and idempotency key, in bytes of UTF-8.
pub const MAX_FIELD_BYTES: usize = 255;

/// The deepest nesting of JSON data. Receivers' parsers have limits (serde_json's is 128 levels, and a frame needs two of them):
/// a publisher must not exceed them.
pub const MAX_DEPTH: usize = 100;

impl FieldError {
    /// The code on the wire.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TooLong { .. } | Self::TooMuchData { .. } => ErrorCode::LimitExceeded,
            Self::Empty(_) | Self::Reserved | Self::Control { .. } | Self::TooDeep | Self::NoValue(_) => {
                ErrorCode::BadRequest
            }
        }
    }
}

/// A topic: 1 to [`MAX_FIELD_BYTES`] bytes without control characters.
///
/// # Errors
/// The rule that it breaks.
pub fn check_topic(topic: &str) -> Result<(), FieldError> {
    if topic == DELETED {
        return Err(FieldError::Reserved);
    }
    check_name("topic", topic)
}

/// A topic, or what is named like one.
///
/// # Errors
/// The rule that it breaks; it names `field`.
pub fn check_name(field: &'static str, name: &str) -> Result<(), FieldError> {
    if name.is_empty() {
        return Err(FieldError::Empty(field));
    }
    check_length(field, name)?;
    match name.chars().find(|c| c.is_control()) {
        Some(character) => Err(FieldError::Control { field, character }),
        None => Ok(()),
    }
}

/// A key, event id or idempotency key: at most [`MAX_FIELD_BYTES`] bytes.
///
/// # Errors
/// [`FieldError::TooLong`] names `field`.
pub fn check_length(field: &'static str, text: &str) -> Result<(), FieldError> {
    if text.len() > MAX_FIELD_BYTES {
        return Err(FieldError::TooLong { field, bytes: text.len() });
    }
    Ok(())
}

/// An event's id or idempotency key, where its publisher gave one. An empty one counts as left out: as a key it would make repeats of all
/// events but the first.
///
/// # Errors
/// [`FieldError::TooLong`] names `field`.
pub fn given_id(field: &'static str, id: Option<&str>) -> Result<Option<Box<str>>, FieldError> {
    let Some(id) = id.filter(|id| !id.is_empty()) else { return Ok(None) };
    check_length(field, id)?;
    Ok(Some(id.into()))
}

/// The deepest nesting of data that others publish by their own ways: they cannot be told of a limit, and browsers read far more.
const MAX_FOREIGN_DEPTH: usize = 1_000;

impl Payload {
    /// JSON data that other publishers send by their own ways, kept as it is written but for halves of surrogate pairs. It may be deeper than
    /// [`MAX_DEPTH`].
    ///
    /// # Errors
    /// [`FieldError::TooDeep`], [`FieldError::NoValue`].
    pub fn foreign_json(data: Box<RawValue>) -> Result<Self, FieldError> {
        Self::checked(data, |json| check_values(json, MAX_FOREIGN_DEPTH))
    }

    /// JSON data of a publisher, kept as it is written but for halves of surrogate pairs, which are U+FFFD. A receiver parses a whole frame,
    /// with events of other publishers in it: so data that a strict parser refuses must not enter a frame.
    ///
    /// # Errors
    /// [`FieldError::TooDeep`], [`FieldError::NoValue`].
    pub fn json(data: Box<RawValue>) -> Result<Self, FieldError> {
        Self::checked(data, |json| check_levels(json, MAX_DEPTH))
    }

    /// Data that passes `check`, once it has whole pairs only. They are looked for in what did not pass: good data costs nothing.
    fn checked(data: Box<RawValue>, check: impl Fn(&str) -> Result<(), FieldError>) -> Result<Self, FieldError> {
        let Err(error) = check(data.get()) else { return Ok(Self::Json(data)) };
        let Cow::Owned(whole) = with_whole_pairs(data.get()) else { return Err(error) };
        check(&whole)?;
        RawValue::from_string(whole).map(Self::Json).map_err(|_| error)
    }

    /// Whether a payload keeps the rules of [`Payload::json`], where another pod sent it. Bytes always do.
    ///
    /// # Errors
    /// [`FieldError::TooDeep`], [`FieldError::NoValue`].
    pub fn check(&self) -> Result<(), FieldError> {
        let Self::Json(data) = self else { return Ok(()) };
        check_levels(data.get(), MAX_DEPTH)
    }
}

/// Checks a text by parsing it: its depth, its numbers and its strings.
fn check_levels(json: &str, most: usize) -> Result<(), FieldError> {
    let mut parser = serde_json::Deserializer::from_str(json);
    match Levels(most).deserialize(&mut parser) {
        Ok(()) => Ok(()),
        // The depth is the only error of ours; all others are the parser's.
        Err(error) if error.is_data() => Err(FieldError::TooDeep),
        Err(error) => Err(FieldError::NoValue(error.to_string())),
    }
}

/// Checks the depth, the numbers and the strings of a text whose grammar is good. Needs no recursion.
fn check_values(json: &str, max_depth: usize) -> Result<(), FieldError> {
    fn parses<'a, T: serde::Deserialize<'a>>(text: Option<&'a str>) -> Result<(), FieldError> {
        let value = serde_json::from_str::<T>(text.unwrap_or_default());
        value.map(drop).map_err(|error| FieldError::NoValue(error.to_string()))
    }
    let (bytes, mut at, mut depth) = (json.as_bytes(), 0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'[' | b'{' if depth == max_depth => return Err(FieldError::TooDeep),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                let mut escaped = false;
                while let Some(byte) = bytes.get(at) {
                    at += if *byte == b'\\' { 2 } else { 1 };
                    escaped |= *byte == b'\\';
                    if *byte == b'"' {
                        break;
                    }
                }
                // Only an escape can be half of a surrogate pair.
                if escaped {
                    parses::<String>(json.get(start..at))?;
                }
            }
            b'-' | b'0'..=b'9' => {
                while matches!(bytes.get(at), Some(b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
                    at += 1;
                }
                parses::<f64>(json.get(start..at))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks that a value has at most so many levels.
struct Levels(usize);

impl Levels {
    fn below<E: serde::de::Error>(&self) -> Result<Self, E> {
        self.0.checked_sub(1).map(Self).ok_or_else(|| E::custom("too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Levels {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Levels {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let below = self.below()?;
        while items.next_element_seed(Self(below.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let below = self.below()?;
        while fields.next_key_seed(Self(0))?.is_some() {
            fields.next_value_seed(Self(below.0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn texts_follow_the_rules() {
        assert_eq!(check_topic(""), Err(FieldError::Empty("topic")));
        assert_eq!(check_topic("a\u{7f}"), Err(FieldError::Control { field: "topic", character: '\u{7f}' }));
        assert_eq!(check_topic(&"x".repeat(256)), Err(FieldError::TooLong { field: "topic", bytes: 256 }));
        assert_eq!(check_topic(&"x".repeat(255)), Ok(()));
        assert_eq!(check_length("key", ""), Ok(()));
        assert_eq!(given_id("id", Some("")), Ok(None));
        assert_eq!(given_id("id", Some("0")), Ok(Some("0".into())));
        assert_eq!(given_id("id", Some(&"x".repeat(256))), Err(FieldError::TooLong { field: "id", bytes: 256 }));
        assert_eq!(check_length("key", &"é".repeat(128)).map_err(|e| e.code()), Err(ErrorCode::LimitExceeded));
    }

    fn checked(json: &str) -> Result<(), FieldError> {
        Payload::json(RawValue::from_string(json.to_owned()).unwrap()).map(|payload| {
            assert!(matches!(payload, Payload::Json(raw) if raw.get() == json));
        })
    }

    #[test]
    fn foreign_data_is_deeper_and_has_values_all_the_same() {
        let check = |json: &str| Payload::foreign_json(RawValue::from_string(json.to_owned()).unwrap()).map(drop);
        let nested =
            |levels: usize, open: &str, close: &str| format!("{}1{}", open.repeat(levels), close.repeat(levels));
        for (open, close) in [("[", "]"), ("{\"a[\":", "}")] {
            assert_eq!(check(&nested(MAX_FOREIGN_DEPTH, open, close)), Ok(()));
            assert_eq!(check(&nested(MAX_FOREIGN_DEPTH + 1, open, close)), Err(FieldError::TooDeep));
        }
        for good in
            [r#""""#, r#""\\""#, r#"{"a\"[":[1,-0.5e-3,"\ud834\udd1e",true,null]}"#, " [ ] ", "12345678901234567890123"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["[1e400]", "-1e999", r#"["\ud834",1e400]"#] {
            assert!(matches!(check(bad), Err(FieldError::NoValue(_))), "{bad}");
        }
    }

    #[test]
    fn data_is_bounded_in_depth() {
        let nested = |levels: usize, open: &str, close: &str| {
            checked(&format!("{}1{}", open.repeat(levels), close.repeat(levels)))
        };
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[0,", ",\"]]\"]")] {
            assert_eq!(nested(MAX_DEPTH, open, close), Ok(()));
            assert_eq!(nested(MAX_DEPTH + 1, open, close), Err(FieldError::TooDeep));
            assert_eq!(nested(50_000, open, close), Err(FieldError::TooDeep));
        }
    }

    #[test]
    fn data_is_a_value_to_every_parser() {
        for fine in ["null", "-0.0e-999", "12345678901234567890123", r#""\ud83d\ude00\u0000""#, r#"{"a":1,"a":2}"#] {
            assert_eq!(checked(fine), Ok(()), "{fine}");
        }
        for broken in ["1e999", "[-1e400]", r#"["\ud83d",1e999]"#] {
            assert!(matches!(checked(broken), Err(FieldError::NoValue(_))), "{broken}");
        }
    }

    #[test]
    fn half_of_a_pair_is_replaced_in_data_of_every_publisher() {
        for (given, kept) in [
            (r#""cut \ud83d""#, r#""cut \ufffd""#),
            (r#"{"\udc00":"\ud83d\ude00"}"#, r#"{"\ufffd":"\ud83d\ude00"}"#),
            (r#"["\ud83d\u0061"]"#, r#"["\ufffd\u0061"]"#),
        ] {
            let raw = || RawValue::from_string(given.to_owned()).unwrap();
            for payload in [Payload::json(raw()), Payload::foreign_json(raw())] {
                assert!(matches!(payload, Ok(Payload::Json(data)) if data.get() == kept), "{given}");
            }
            assert!(matches!(Payload::Json(raw()).check(), Err(FieldError::NoValue(_))), "what a pod sends is whole");
        }
        let deep = format!("{}\"\\ud83d\"{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1));
        assert_eq!(checked(&deep), Err(FieldError::TooDeep));
    }
}
