//! Keys of the backends' API.

use std::fmt;

use super::{
    raw::Raw,
    value::{Kind, quoted},
};

/// A key of the backends' API. Never shows itself; compare it in constant time.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// A key; `None` if it is empty: an empty key must never match an empty header.
    #[must_use]
    pub fn new(key: String) -> Option<Self> {
        (!key.is_empty()).then_some(Self(key))
    }

    /// The key itself, for comparing, and for printing a generated one once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// [`ApiKey`] as a value of a key; an empty one is `None`, which no request matches.
pub(crate) struct ApiKeyKind;

impl Kind for ApiKeyKind {
    type Value = Option<ApiKey>;

    fn parse(&self, raw: &Raw) -> Result<Option<ApiKey>, String> {
        match raw {
            Raw::Text(text) if text.bytes().all(|b| b.is_ascii_graphic()) => Ok(ApiKey::new(text.clone())),
            Raw::Text(_) => Err("it has white space or characters that no header can carry".to_owned()),
            _ => Err("it is not text".to_owned()),
        }
    }

    fn render(&self, value: &Option<ApiKey>) -> Option<String> {
        Some(quoted(value.as_ref().map_or("", |_| "…")))
    }

    fn name(&self) -> String {
        "secret".to_owned()
    }

    fn allowed(&self) -> String {
        "printable ASCII without spaces or commas".to_owned()
    }
}
