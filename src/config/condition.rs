//! What values must be: JSON pointers, each with the text of the value there. How messages and events are told apart, and
//! what claims decide.
//!
//! Pure. Always holds: a value that is not there, or has no text, fits nothing but what asks for no value.

use serde_json::value::RawValue;

use super::{
    pointer::{Pointer, text_of},
    value::{Kind, Raw, quoted},
};

/// What a value must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Which value.
    pub at: Pointer,
    /// What it must be.
    pub is: Expected,
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// There, and not `null`.
    Anything,
    /// Its text ([`super::text_of`]).
    Text(Box<str>),
    /// The topic of the event whose data it is in.
    Topic,
}

/// Whether the values that conditions name are as they must be; `topic`: that of the event whose data they are in.
#[must_use]
pub fn fits(when: &[Condition], whole: &RawValue, topic: &str) -> bool {
    when.iter().all(|Condition { at, is }| {
        let Ok(Some(value)) = at.find(whole) else { return false };
        let text = match is {
            Expected::Anything => return value.get() != "null",
            Expected::Topic => topic,
            Expected::Text(text) => text,
        };
        // Mostly nothing in it is escaped.
        if value.get().starts_with('"') && !value.get().contains('\\') {
            return value.get().strip_prefix('"').and_then(|v| v.strip_suffix('"')) == Some(text);
        }
        let mut is = String::new();
        matches!(text_of(value, &mut is), Ok(true)) && is == text
    })
}

/// A condition as text: `/role=presenter`.
fn written(text: &str) -> Result<Condition, String> {
    let (at, is) = text.split_once('=').ok_or("it is neither a table nor text such as `/role=presenter`")?;
    let at = Pointer::parse(at.trim()).map_err(|why| format!("`{at}`: {why}"))?;
    let is = if is.trim() == "*" { Expected::Anything } else { Expected::Text(is.trim().into()) };
    Ok(Condition { at, is })
}

/// Conditions as a value of a key: a table of pointers; in a variable or a flag, pointers and values with commas between.
pub(crate) struct Conditions;

impl Kind for Conditions {
    type Value = Vec<Condition>;

    fn parse(&self, raw: &Raw) -> Result<Vec<Condition>, String> {
        let entries = match raw {
            Raw::Table(entries) => entries,
            Raw::Text(text) => return text.split(',').map(written).collect(),
            _ => return Err("it is not a table".to_owned()),
        };
        entries
            .iter()
            .map(|entry| {
                let at = Pointer::parse(&entry.name).map_err(|why| format!("`{}`: {why}", entry.name))?;
                let is = match &entry.value {
                    Raw::Text(text) if text == "*" => Expected::Anything,
                    Raw::Text(text) if text == "{topic}" => Expected::Topic,
                    Raw::Text(text) => Expected::Text(text.as_str().into()),
                    Raw::Integer(number) => Expected::Text(number.to_string().into()),
                    Raw::Bool(switch) => Expected::Text(switch.to_string().into()),
                    other => return Err(format!("`{}` cannot be {}", entry.name, other.shown())),
                };
                Ok(Condition { at, is })
            })
            .collect()
    }

    fn render(&self, value: &Vec<Condition>) -> Option<String> {
        let each = value.iter().map(|Condition { at, is }| {
            let is = match is {
                Expected::Text(text) => text,
                Expected::Anything => "*",
                Expected::Topic => "{topic}",
            };
            format!("{} = {}", quoted(&at.to_string()), quoted(is))
        });
        Some(format!("{{ {} }}", each.collect::<Vec<_>>().join(", "))).filter(|_| !value.is_empty())
    }

    fn name(&self) -> String {
        "table".to_owned()
    }

    fn allowed(&self) -> String {
        "a table of JSON pointers, each with a text, a number, a switch, or `\"*\"` for anything".to_owned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_are_as_they_must_be_or_not() {
        let whole: &RawValue = serde_json::from_str(r#"{"a":"x","b":{"c":7,"d":null},"e":true,"f":"\u0078"}"#).unwrap();
        let holds = |text: &str| fits(&Conditions.parse(&Raw::Text(text.to_owned())).unwrap(), whole, "topic");
        for good in ["/a=x", "/b/c=7", "/e=true", "/f=x", "/a=*,/b=*", "/a = x , /b/c = 7"] {
            assert!(holds(good), "{good}");
        }
        for bad in ["/a=y", "/b/d=*", "/b=x", "/z=*", "/a=x,/b/c=8", "/a=topic"] {
            assert!(!holds(bad), "{bad}");
        }
        for wrong in ["", "x", "a=x", "/~=x"] {
            assert!(Conditions.parse(&Raw::Text(wrong.to_owned())).is_err(), "{wrong}");
        }
    }
}
