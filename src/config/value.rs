//! The kinds of value that a key can have: how each is read, written and described.
//!
//! Pure. A kind reads what any layer gives (text of a flag or variable, a value of the file) and says why not; the
//! caller knows where it came from.

mod compound;
mod scalar;

use std::{ops::RangeInclusive, time::Duration};

use super::file::Entry;
pub(crate) use compound::{List, Maybe, OrWord};
pub(crate) use scalar::{Bytes, Choice, Count, File, Switch, Text, Time};

/// 1,024 bytes.
pub const KIB: usize = 1024;
/// 1,024 KiB.
pub const MIB: usize = 1024 * KIB;
/// 1,024 MiB.
pub const GIB: usize = 1024 * MIB;

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
    /// The value as it was written, for an error.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Text(text) => format!("{text:?}"),
            Self::Integer(number) => number.to_string(),
            Self::Bool(switch) => switch.to_string(),
            Self::List(items) => format!("[{}]", items.iter().map(Self::shown).collect::<Vec<_>>().join(", ")),
            Self::Table(_) => "a table".to_owned(),
            Self::Other(kind) => format!("a {kind}"),
        }
    }
}

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
}

/// A duration as the configuration writes it, `90s` or `1h`.
///
/// # Errors
/// What is wrong with it, and what is allowed.
pub fn duration(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let kind = Time(range);
    kind.parse(&Raw::Text(text.to_owned())).map_err(|why| format!("{why}; allowed: {}", kind.allowed()))
}

/// Text as a TOML string.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The word that was probably meant: at most two letters wrong, and fewer than half.
pub(crate) fn nearest<'a>(given: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    words
        .map(|word| (distance(given, word), word))
        .filter(|(wrong, word)| *wrong <= 2 && wrong * 2 < word.chars().count())
        .min_by_key(|(wrong, _)| *wrong)
        .map(|(_, word)| word)
}

/// Levenshtein's distance: letters added, removed or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let changed = diagonal + usize::from(x != *y);
            diagonal = *cell;
            left = changed.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
