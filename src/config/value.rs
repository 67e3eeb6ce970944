//! The kinds of value that a key can have: how each is read, written and described.
//!
//! Pure. A kind reads what any layer gives (text of a flag or variable, a value of the file) and says why not; the
//! caller knows where it came from.

use std::{fmt::Display, ops::RangeInclusive, path::PathBuf, time::Duration};

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
    /// A list of the file, or a repeated flag.
    List(Vec<Raw>),
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

/// `true` or `false`.
pub(crate) struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn parse(&self, raw: &Raw) -> Result<bool, String> {
        match raw {
            Raw::Bool(switch) => Ok(*switch),
            Raw::Text(text) if text == "true" => Ok(true),
            Raw::Text(text) if text == "false" => Ok(false),
            _ => Err("it is neither true nor false".to_owned()),
        }
    }

    fn render(&self, value: &bool) -> Option<String> {
        Some(value.to_string())
    }

    fn name(&self) -> String {
        "switch".to_owned()
    }

    fn allowed(&self) -> String {
        "`true` or `false`".to_owned()
    }
}

/// A whole number in a range.
pub(crate) struct Count<T>(pub(crate) RangeInclusive<T>);

impl<T: TryFrom<i128> + Copy + PartialOrd + Display> Kind for Count<T> {
    type Value = T;

    fn parse(&self, raw: &Raw) -> Result<T, String> {
        let number = match raw {
            Raw::Integer(number) => i128::from(*number),
            Raw::Text(text) => {
                text.replace('_', "").parse::<i128>().map_err(|_| "it is not a whole number".to_owned())?
            }
            _ => return Err("it is not a whole number".to_owned()),
        };
        within(T::try_from(number).ok(), &self.0)
    }

    fn render(&self, value: &T) -> Option<String> {
        Some(value.to_string())
    }

    fn name(&self) -> String {
        "number".to_owned()
    }

    fn allowed(&self) -> String {
        format!("{} to {}", self.0.start(), self.0.end())
    }
}

/// A number of bytes in a range: an integer, or text with KiB, MiB or GiB.
pub(crate) struct Bytes(pub(crate) RangeInclusive<usize>);

impl Kind for Bytes {
    type Value = usize;

    fn parse(&self, raw: &Raw) -> Result<usize, String> {
        let number = match raw {
            Raw::Integer(number) => usize::try_from(*number).ok(),
            Raw::Text(text) => {
                let (digits, unit) = split_unit(text);
                let factor = match unit.to_ascii_lowercase().as_str() {
                    "" | "b" => 1,
                    "kib" => KIB,
                    "mib" => MIB,
                    "gib" => GIB,
                    "k" | "kb" | "m" | "mb" | "g" | "gb" => {
                        return Err(format!("{unit:?} is ambiguous, write KiB, MiB or GiB"));
                    }
                    _ => return Err("it is not a size".to_owned()),
                };
                let digits: u64 = digits.parse().map_err(|_| "it is not a size".to_owned())?;
                usize::try_from(digits).ok().and_then(|digits| digits.checked_mul(factor))
            }
            _ => return Err("it is not a size".to_owned()),
        };
        within(number, &self.0)
    }

    fn render(&self, value: &usize) -> Option<String> {
        Some(render_bytes(*value))
    }

    fn name(&self) -> String {
        "size".to_owned()
    }

    fn allowed(&self) -> String {
        format!("{} to {}", bare(&render_bytes(*self.0.start())), bare(&render_bytes(*self.0.end())))
    }
}

/// A span of time in a range, as text with a unit.
pub(crate) struct Time(pub(crate) RangeInclusive<Duration>);

impl Kind for Time {
    type Value = Duration;

    fn parse(&self, raw: &Raw) -> Result<Duration, String> {
        let millis = match raw {
            Raw::Integer(0) => Some(0),
            Raw::Integer(_) => return Err("it has no unit".to_owned()),
            Raw::Text(text) => {
                let (digits, unit) = split_unit(text);
                let factor = match unit {
                    "ms" => 1,
                    "s" => 1_000,
                    "m" => 60_000,
                    "h" => 3_600_000,
                    "d" => 86_400_000,
                    "" if digits == "0" => 1,
                    "" if !digits.is_empty() => return Err("it has no unit".to_owned()),
                    _ => return Err("it is not a duration".to_owned()),
                };
                digits.parse::<u64>().map_err(|_| "it is not a duration".to_owned())?.checked_mul(factor)
            }
            _ => return Err("it is not a duration".to_owned()),
        };
        within(millis.map(Duration::from_millis), &self.0)
    }

    fn render(&self, value: &Duration) -> Option<String> {
        Some(format!("{:?}", render_time(*value)))
    }

    fn name(&self) -> String {
        "duration".to_owned()
    }

    fn allowed(&self) -> String {
        format!("{} to {} (units ms, s, m, h, d)", render_time(*self.0.start()), render_time(*self.0.end()))
    }
}

/// One of some words, each with its value.
pub(crate) struct Choice<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Kind for Choice<T> {
    type Value = T;

    fn parse(&self, raw: &Raw) -> Result<T, String> {
        let Raw::Text(text) = raw else { return Err("it is not one of the words".to_owned()) };
        match self.0.iter().find(|(word, _)| word == text) {
            Some((_, value)) => Ok(*value),
            None => Err(match nearest(text, self.0.iter().map(|(word, _)| *word)) {
                Some(word) => format!("it is not one of the words; did you mean `{word}`?"),
                None => "it is not one of the words".to_owned(),
            }),
        }
    }

    fn render(&self, value: &T) -> Option<String> {
        self.0.iter().find(|(_, v)| v == value).map(|(word, _)| format!("{word:?}"))
    }

    fn name(&self) -> String {
        "word".to_owned()
    }

    fn allowed(&self) -> String {
        self.0.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ")
    }
}

/// Text that is not empty.
pub(crate) struct Text;

impl Kind for Text {
    type Value = String;

    fn parse(&self, raw: &Raw) -> Result<String, String> {
        match raw {
            Raw::Text(text) if text.is_empty() => Err("it is empty".to_owned()),
            Raw::Text(text) => Ok(text.clone()),
            _ => Err("it is not text".to_owned()),
        }
    }

    fn render(&self, value: &String) -> Option<String> {
        Some(quoted(value))
    }

    fn name(&self) -> String {
        "text".to_owned()
    }

    fn allowed(&self) -> String {
        "text".to_owned()
    }
}

/// A path.
pub(crate) struct File(pub(crate) &'static str);

impl Kind for File {
    type Value = PathBuf;

    fn parse(&self, raw: &Raw) -> Result<PathBuf, String> {
        Text.parse(raw).map(PathBuf::from)
    }

    fn render(&self, value: &PathBuf) -> Option<String> {
        Some(quoted(&value.to_string_lossy()))
    }

    fn name(&self) -> String {
        "path".to_owned()
    }

    fn allowed(&self) -> String {
        format!("the path of a {}", self.0)
    }
}

/// A key without a default of its own: not set, something else decides.
pub(crate) struct Maybe<K>(pub(crate) K);

impl<K: Kind> Kind for Maybe<K> {
    type Value = Option<K::Value>;

    fn parse(&self, raw: &Raw) -> Result<Self::Value, String> {
        self.0.parse(raw).map(Some)
    }

    fn render(&self, value: &Self::Value) -> Option<String> {
        self.0.render(value.as_ref()?)
    }

    fn name(&self) -> String {
        self.0.name()
    }

    fn allowed(&self) -> String {
        self.0.allowed()
    }

    fn is_list(&self) -> bool {
        self.0.is_list()
    }
}

/// A value, or a word that stands for none.
pub(crate) struct OrWord<K>(pub(crate) &'static str, pub(crate) K);

impl<K: Kind> Kind for OrWord<K> {
    type Value = Option<K::Value>;

    fn parse(&self, raw: &Raw) -> Result<Self::Value, String> {
        match raw {
            Raw::Text(text) if text == self.0 => Ok(None),
            _ => self.1.parse(raw).map(Some),
        }
    }

    fn render(&self, value: &Self::Value) -> Option<String> {
        match value {
            Some(value) => self.1.render(value),
            None => Some(quoted(self.0)),
        }
    }

    fn name(&self) -> String {
        self.1.name()
    }

    fn allowed(&self) -> String {
        format!("{}, or `{}`", self.1.allowed(), self.0)
    }
}

/// Several of a kind. Text is split at commas; the word `none` is the empty list.
pub(crate) struct List<K>(pub(crate) K);

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn parse(&self, raw: &Raw) -> Result<Self::Value, String> {
        match raw {
            Raw::Text(text) if text == "none" => Ok(Vec::new()),
            Raw::Text(text) => text.split(',').map(|item| self.0.parse(&Raw::Text(item.trim().to_owned()))).collect(),
            Raw::List(items) => match items.as_slice() {
                // A flag or a `["${…}"]` that holds several.
                [one @ Raw::Text(_)] => self.parse(one),
                items => items.iter().map(|item| self.0.parse(item)).collect(),
            },
            _ => Err("it is not a list".to_owned()),
        }
    }

    fn render(&self, value: &Self::Value) -> Option<String> {
        let items: Option<Vec<String>> = value.iter().map(|item| self.0.render(item)).collect();
        Some(format!("[{}]", items?.join(", ")))
    }

    fn name(&self) -> String {
        format!("list of {}", self.0.name())
    }

    fn allowed(&self) -> String {
        format!("{}; several as a list, or with commas between; `none` for an empty list", self.0.allowed())
    }

    fn is_list(&self) -> bool {
        true
    }
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

fn within<T: PartialOrd>(value: Option<T>, range: &RangeInclusive<T>) -> Result<T, String> {
    value.filter(|value| range.contains(value)).ok_or_else(|| "it is out of range".to_owned())
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    (digits, unit.trim_start())
}

fn render_bytes(bytes: usize) -> String {
    for (factor, unit) in [(GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")] {
        if bytes != 0 && bytes.is_multiple_of(factor) {
            return format!("\"{}{unit}\"", bytes / factor);
        }
    }
    bytes.to_string()
}

/// A duration with the largest unit that leaves a whole number.
pub(crate) fn render_time(time: Duration) -> String {
    let millis = time.as_millis();
    for (factor, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if millis != 0 && millis.is_multiple_of(factor) {
            return format!("{}{unit}", millis / factor);
        }
    }
    format!("{millis}ms")
}

fn bare(toml: &str) -> &str {
    toml.trim_matches('"')
}
