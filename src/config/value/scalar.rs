//! Kinds of single values.

use std::{fmt::Display, ops::RangeInclusive, path::PathBuf, time::Duration};

use super::kind::{GIB, KIB, Kind, MIB, TextKind, quoted};
use crate::{
    config::{nearest::nearest, raw::Raw},
    model::whole_number,
};

/// `true` or `false`.
pub(crate) struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn parse(&self, raw: &Raw) -> Result<bool, String> {
        match raw {
            Raw::Bool(switch) => Ok(*switch),
            // As other programs write it into their environment.
            Raw::Text(text) if ["true", "t", "1"].iter().any(|word| text.eq_ignore_ascii_case(word)) => Ok(true),
            Raw::Text(text) if ["false", "f", "0"].iter().any(|word| text.eq_ignore_ascii_case(word)) => Ok(false),
            Raw::Text(text) => {
                let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
                Err(match (is(&["yes", "y", "on", "enabled"]), is(&["no", "n", "off", "disabled"])) {
                    (true, _) => "it is neither true nor false: write `true`".to_owned(),
                    (_, true) => "it is neither true nor false: write `false`".to_owned(),
                    _ => "it is neither true nor false".to_owned(),
                })
            }
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
                let text = text.replace('_', "");
                let number = text.parse::<i128>().ok().or_else(|| whole_number(&text).map(i128::from));
                number.ok_or_else(|| "it is not a whole number".to_owned())?
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
        let nanos = match raw {
            Raw::Integer(0) => 0,
            Raw::Integer(number) => return Err(without_unit(number)),
            Raw::Text(text) => nanos_of(text)?,
            _ => return Err("it is not a duration".to_owned()),
        };
        if nanos == 0 && !self.0.start().is_zero() {
            let (least, most) = (render_time(*self.0.start()), render_time(*self.0.end()));
            return Err(format!(
                "0 switches nothing off here: write {least} or more, {most} at most, or leave it out for its default"
            ));
        }
        // No shorter part of a time is known.
        let millis = u64::try_from(nanos).ok().map(|nanos| nanos.div_ceil(1_000_000));
        within(millis.map(Duration::from_millis), &self.0)
    }

    fn nearest(&self, raw: &Raw) -> Option<Raw> {
        let Raw::Text(text) = raw else { return None };
        let nanos = nanos_of(text).ok().filter(|nanos| *nanos > 0)?;
        let is_short = u64::try_from(nanos).is_ok_and(|nanos| Duration::from_nanos(nanos) < *self.0.start());
        Some(Raw::Text(render_time(if is_short { *self.0.start() } else { *self.0.end() })))
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

/// Words of other programs that no key has, and the word that comes nearest to what they mean there. Errors are always logged.
const ELSEWHERE: [(&str, &str); 16] = [
    ("off", "error"),
    ("none", "error"),
    ("disabled", "error"),
    ("silent", "error"),
    ("quiet", "error"),
    ("critical", "error"),
    ("crit", "error"),
    ("alert", "error"),
    ("emerg", "error"),
    ("notice", "info"),
    ("http", "info"),
    ("verbose", "debug"),
    ("fine", "debug"),
    ("silly", "trace"),
    ("finest", "trace"),
    ("all", "trace"),
];

/// One of some words, each with its value.
pub(crate) struct Choice<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Kind for Choice<T> {
    type Value = T;

    fn parse(&self, raw: &Raw) -> Result<T, String> {
        let Raw::Text(text) = raw else { return Err("it is not one of the words".to_owned()) };
        match self.0.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
            Some((_, value)) => Ok(*value),
            None => {
                let meant = ELSEWHERE.iter().find(|(other, _)| other.eq_ignore_ascii_case(text)).map(|(_, word)| *word);
                let known = meant.filter(|meant| self.0.iter().any(|(word, _)| word == meant));
                Err(match known.or_else(|| nearest(text, self.0.iter().map(|(word, _)| *word))) {
                    Some(word) => format!("it is not one of the words (`{word}` perhaps?)"),
                    None => "it is not one of the words".to_owned(),
                })
            }
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

impl TextKind for Text {
    type Value = String;
    const NAME: &'static str = "text";
    const ALLOWED: &'static str = "text";

    fn read(&self, text: &str) -> Result<String, String> {
        if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
    }

    fn write(&self, value: &String) -> String {
        value.clone()
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

/// A duration as the configuration writes it, `90s` or `1h`.
///
/// # Errors
/// What is wrong with it, and what is allowed.
pub fn duration(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let kind = Time(range);
    kind.parse(&Raw::Text(text.to_owned())).map_err(|why| format!("{why}; allowed: {}", kind.allowed()))
}

fn within<T: PartialOrd>(value: Option<T>, range: &RangeInclusive<T>) -> Result<T, String> {
    value.filter(|value| range.contains(value)).ok_or_else(|| "it is out of range".to_owned())
}

/// Why a number is no duration, and how it is written: the unit that is meant cannot be known.
fn without_unit(number: impl Display) -> String {
    format!("it has no unit: write `{number}s` for seconds, `{number}ms` for milliseconds")
}

/// The nanoseconds of `90s`, `1m30s`, `1.5s` or `-100us`, as Go writes durations too; more than fit are as many as fit.
fn nanos_of(text: &str) -> Result<i128, String> {
    let bad = || "it is not a duration".to_owned();
    let text = text.trim();
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    let mut sum = 0_i128;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, behind) = rest.split_at(end);
        let behind = behind.trim_start();
        let (unit, behind) = behind.split_at(behind.find(|c: char| !c.is_alphabetic()).unwrap_or(behind.len()));
        let factor: i128 = match unit {
            "ns" => 1,
            // Of the two letters that look like this one is Greek.
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "" if !number.is_empty() => return Err(without_unit(number)),
            _ => return Err(bad()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(bad());
        }
        let digits = |text: &str| if text.is_empty() { 0 } else { text.parse::<i128>().unwrap_or(i128::MAX) };
        // No more of a fraction than makes a nanosecond of a day.
        let fraction = fraction.get(..fraction.len().min(18)).unwrap_or_default();
        let places = u32::try_from(fraction.len()).unwrap_or_default();
        let part = digits(fraction).saturating_mul(factor) / 10_i128.pow(places);
        sum = sum.saturating_add(digits(whole).saturating_mul(factor)).saturating_add(part);
        rest = behind.trim_start();
    }
    Ok(sign * sum)
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
