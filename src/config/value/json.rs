//! Kinds of values that speak about JSON: pointers, templates, conditions.

use super::kind::{Kind, TextKind, quoted};
use crate::{
    config::raw::Raw,
    dialect::{Condition, Expected, Offers, Pointer, Template},
};

/// A [`Pointer`] as a value of a key.
pub(crate) struct PointerKind;

impl TextKind for PointerKind {
    type Value = Pointer;
    const NAME: &'static str = "JSON pointer";
    const ALLOWED: &'static str = "a JSON pointer (RFC 6901) such as `/data/0`, or an empty text";

    fn read(&self, text: &str) -> Result<Pointer, String> {
        Pointer::parse(text)
    }

    fn write(&self, value: &Pointer) -> String {
        value.to_string()
    }
}

/// A [`Template`] as a value of a key.
pub(crate) struct TemplateKind(pub(crate) Offers);

impl Kind for TemplateKind {
    type Value = Template;

    fn parse(&self, raw: &Raw) -> Result<Template, String> {
        match raw {
            Raw::Text(text) => Template::parse(text, self.0),
            _ => Err("it is not text".to_owned()),
        }
    }

    fn render(&self, value: &Template) -> Option<String> {
        Some(quoted(value.as_str()))
    }

    fn name(&self) -> String {
        "template".to_owned()
    }

    fn allowed(&self) -> String {
        match self.0 {
            Offers::Channel => {
                "text with `{channel}`, `{channel:N}` (what the Nth `*` stands for) and `{/json/pointer}`".to_owned()
            }
            Offers::Message => "text with `{/json/pointer}`".to_owned(),
            Offers::Request => "text with `{query:name}`, `{user}` and `{claim:name}`".to_owned(),
        }
    }
}

/// A condition as text: `/role=presenter`.
fn written(text: &str) -> Result<Condition, String> {
    let (at, is) = text.split_once('=').ok_or("it is neither a table nor text such as `/role=presenter`")?;
    let at = Pointer::parse(at.trim()).map_err(|why| format!("`{at}`: {why}"))?;
    let is = if is.trim() == "*" { Expected::Anything } else { Expected::Text(is.trim().into()) };
    Ok(Condition { at, is })
}

/// Conditions as a value of a key: a table of pointers; in a variable or a flag, pointers and values with commas between.
pub(crate) struct ConditionsKind;

impl Kind for ConditionsKind {
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
    use serde_json::value::RawValue;

    use super::*;
    use crate::dialect::fits;

    #[test]
    fn conditions_are_read_from_text() {
        let whole: &RawValue = serde_json::from_str(r#"{"a":"x","b":{"c":7,"d":null},"e":true,"f":"\u0078"}"#).unwrap();
        let holds = |text: &str| fits(&ConditionsKind.parse(&Raw::Text(text.to_owned())).unwrap(), whole, "topic");
        for good in ["/a=x", "/b/c=7", "/e=true", "/f=x", "/a=*,/b=*", "/a = x , /b/c = 7"] {
            assert!(holds(good), "{good}");
        }
        for bad in ["/a=y", "/b/d=*", "/b=x", "/z=*", "/a=x,/b/c=8", "/a=topic"] {
            assert!(!holds(bad), "{bad}");
        }
        for wrong in ["", "x", "a=x", "/~=x"] {
            assert!(ConditionsKind.parse(&Raw::Text(wrong.to_owned())).is_err(), "{wrong}");
        }
    }
}
