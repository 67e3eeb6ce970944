//! What a kind of value is.

use std::time::Duration;

use crate::config::raw::Raw;

/// 1,024 bytes.
pub const KIB: usize = 1024;
/// 1,024 KiB.
pub const MIB: usize = 1024 * KIB;
/// 1,024 MiB.
pub const GIB: usize = 1024 * MIB;

/// The shortest of most durations: a shorter one would be a mistake.
pub(crate) const SHORTEST: Duration = Duration::from_millis(100);
/// The longest of most durations.
pub(crate) const MINUTES: Duration = Duration::from_secs(600);

/// How the values of one key are read, written and described.
pub(crate) trait Kind {
    /// What it becomes.
    type Value;
    /// Reads; an error is the reason in a few words.
    fn parse(&self, raw: &Raw) -> Result<Self::Value, String>;
    /// Writes as TOML; `None` when it is not set.
    fn render(&self, value: &Self::Value) -> Option<String>;
    /// Its name in the reference.
    fn name(&self) -> String;
    /// What is allowed, for the reference and for errors.
    fn allowed(&self) -> String;
    /// Whether it is a list, so that its flag can be repeated.
    fn is_list(&self) -> bool {
        false
    }
    /// Of what is out of range, the nearest value that is not; `None`: it is otherwise wrong, or has no order.
    fn nearest(&self, _: &Raw) -> Option<Raw> {
        None
    }
}

/// A kind whose values are written as text.
pub(crate) trait TextKind {
    /// What it becomes.
    type Value;
    /// Its name in the reference.
    const NAME: &'static str;
    /// What is allowed, for the reference and for errors.
    const ALLOWED: &'static str;
    /// Reads; an error is the reason in a few words.
    fn read(&self, text: &str) -> Result<Self::Value, String>;
    /// The text, or what may be shown of it.
    fn write(&self, value: &Self::Value) -> String;
}

impl<K: TextKind> Kind for K {
    type Value = K::Value;

    fn parse(&self, raw: &Raw) -> Result<Self::Value, String> {
        match raw {
            Raw::Text(text) => self.read(text),
            _ => Err("it is not text".to_owned()),
        }
    }

    fn render(&self, value: &Self::Value) -> Option<String> {
        Some(quoted(&self.write(value)))
    }

    fn name(&self) -> String {
        K::NAME.to_owned()
    }

    fn allowed(&self) -> String {
        K::ALLOWED.to_owned()
    }
}

/// Text as a TOML string.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
