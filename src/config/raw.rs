//! What the layers gave: values and keys, before any key's kind has read them.

use super::redaction::without_secrets;

/// A value as a layer gave it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Raw {
    /// Text: a flag, a variable, or a string of the file after its `${…}` were filled in.
    Text(String),
    /// An integer of the file.
    Integer(i64),
    /// A switch of the file.
    Bool(bool),
    /// A list of the file.
    List(Vec<Raw>),
    /// A table of the file.
    Table(Vec<Entry>),
    /// Something of the file that no key takes: its TOML type.
    Other(&'static str),
}

impl Raw {
    /// The value as it was written, for an error: without what may be a login or a query of a URL.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Text(text) => format!("{:?}", without_secrets(text)),
            Self::Integer(number) => number.to_string(),
            Self::Bool(switch) => switch.to_string(),
            Self::List(items) => format!("[{}]", items.iter().map(Self::shown).collect::<Vec<_>>().join(", ")),
            Self::Table(_) => "a table".to_owned(),
            Self::Other(kind) => format!("a {kind}"),
        }
    }
}

/// One key of a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) section: String,
    pub(crate) name: String,
    pub(crate) value: Raw,
    pub(crate) line: usize,
    /// The variables that its text was filled in from.
    pub(crate) filled: Vec<String>,
    /// What stands here in a preset when none of these is set.
    pub(crate) unfilled: Option<Raw>,
}

impl Entry {
    /// The name with its section: `limits.max_rooms`.
    pub(crate) fn path(&self) -> String {
        if self.section.is_empty() { self.name.clone() } else { format!("{}.{}", self.section, self.name) }
    }
}
