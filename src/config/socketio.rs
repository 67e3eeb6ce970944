//! Socket.IO: the kinds of its keys.

use std::fmt;

use super::{
    raw::Raw,
    value::{Kind, quoted},
};

/// The name of a namespace.
pub(crate) struct Namespace;

impl Kind for Namespace {
    type Value = String;

    fn parse(&self, raw: &Raw) -> Result<String, String> {
        let Raw::Text(text) = raw else { return Err("it is not text".to_owned()) };
        if !text.starts_with('/') {
            Err("it does not begin with a slash".to_owned())
        } else if text.len() > 200 || text.chars().any(|c| c.is_control() || matches!(c, ',' | '?' | '"')) {
            Err("it is too long, or has a comma, a question mark, a quote or a control character".to_owned())
        } else {
            Ok(text.clone())
        }
    }

    fn render(&self, value: &String) -> Option<String> {
        Some(quoted(value))
    }

    fn name(&self) -> String {
        "namespace".to_owned()
    }

    fn allowed(&self) -> String {
        "text that begins with a slash, without commas and question marks".to_owned()
    }
}

/// A secret that the pods of a fleet share. Never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct FleetSecret(Box<str>);

impl FleetSecret {
    /// The secret itself, to be used and never shown.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for FleetSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FleetSecret(…)")
    }
}

/// How a [`FleetSecret`] is written.
pub(crate) struct FleetSecretKind;

impl Kind for FleetSecretKind {
    type Value = FleetSecret;

    fn parse(&self, raw: &Raw) -> Result<FleetSecret, String> {
        match raw {
            Raw::Text(text) if text.len() < 16 => Err("it has fewer than 16 bytes".to_owned()),
            Raw::Text(text) => Ok(FleetSecret(text.as_str().into())),
            _ => Err("it is not text".to_owned()),
        }
    }

    fn render(&self, _: &FleetSecret) -> Option<String> {
        Some(quoted("…"))
    }

    fn name(&self) -> String {
        "secret".to_owned()
    }

    fn allowed(&self) -> String {
        "text of 16 bytes or more".to_owned()
    }
}
