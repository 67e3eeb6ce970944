//! Keys of the backends' API.

use std::fmt;

use super::value::TextKind;

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

impl TextKind for ApiKeyKind {
    type Value = Option<ApiKey>;
    const NAME: &'static str = "secret";
    const ALLOWED: &'static str = "printable ASCII without spaces or commas";

    fn read(&self, text: &str) -> Result<Option<ApiKey>, String> {
        if text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(ApiKey::new(text.to_owned()))
        } else {
            Err("it has white space or characters that no header can carry".to_owned())
        }
    }

    fn write(&self, value: &Option<ApiKey>) -> String {
        value.as_ref().map_or("", |_| "…").to_owned()
    }
}
