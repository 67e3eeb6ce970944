//! Conditions on the values of a JSON text: a JSON pointer, and what the value there must be. They tell messages and events
//! apart, and decide by claims.
//!
//! Pure. Always holds: a value that is missing, or that has no text, meets no condition.

use serde_json::value::RawValue;

use super::pointer::{Pointer, text_of};

/// A condition on one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The value.
    pub at: Pointer,
    /// What the value must be.
    pub is: Expected,
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Anything but `null` and an empty text.
    Anything,
    /// A value with this text ([`super::text_of`]).
    Text(Box<str>),
    /// The topic of the event whose data holds the value.
    Topic,
}

/// Whether `whole` meets all conditions. `topic` is the topic of the event whose data `whole` is.
#[must_use]
pub fn fits(when: &[Condition], whole: &RawValue, topic: &str) -> bool {
    when.iter().all(|Condition { at, is }| {
        let Ok(Some(value)) = at.find(whole) else { return false };
        let text = match is {
            Expected::Anything => return !matches!(value.get(), "null" | "\"\""),
            Expected::Topic => topic,
            Expected::Text(text) => text,
        };
        // Most strings have no escapes: compare them in place.
        if value.get().starts_with('"') && !value.get().contains('\\') {
            return value.get().strip_prefix('"').and_then(|v| v.strip_suffix('"')) == Some(text);
        }
        let mut is = String::new();
        matches!(text_of(value, &mut is), Ok(true)) && is == text
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn condition(text: &str) -> Condition {
        let (at, is) = text.split_once('=').unwrap();
        let is = match is {
            "*" => Expected::Anything,
            "{topic}" => Expected::Topic,
            text => Expected::Text(text.into()),
        };
        Condition { at: Pointer::parse(at).unwrap(), is }
    }

    #[test]
    fn all_conditions_must_be_met() {
        let whole: &RawValue =
            serde_json::from_str(r#"{"a":"x","b":{"c":7,"d":null,"g":""},"e":true,"f":"\u0078"}"#).unwrap();
        let holds = |texts: &[&str]| fits(&texts.iter().map(|text| condition(text)).collect::<Vec<_>>(), whole, "x");
        for good in [&["/a=x"][..], &["/b/c=7"], &["/e=true"], &["/f=x"], &["/a=*", "/b=*"], &["/a={topic}"], &[]] {
            assert!(holds(good), "{good:?}");
        }
        for bad in [
            &["/a=y"][..],
            &["/b/d=*"],
            &["/b/g=*"],
            &["/b=x"],
            &["/z=*"],
            &["/a=x", "/b/c=8"],
            &["/a=topic"],
            &["/e={topic}"],
        ] {
            assert!(!holds(bad), "{bad:?}");
        }
    }
}
