//! The configuration file: TOML, read with the line of every key.

use std::path::{Path, PathBuf};

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::{
    error::{Place, Problem},
    interpolate::interpolate,
    layers::{Variables, bad_value},
    policies::{Pattern, RoomPattern, Rule},
    section::{Key, Section},
    settings::Settings,
    value::{Kind, Raw, nearest},
};
use crate::model::Policy;

/// What a file holds, in the order of its lines.
pub(crate) struct Contents {
    /// Keys of sections.
    pub(crate) entries: Vec<Entry>,
    /// `[[policy]]`
    pub(crate) policies: Vec<Item>,
    /// `[[legacy]]`
    pub(crate) legacy: Vec<Item>,
    /// What is wrong already.
    pub(crate) problems: Vec<Problem>,
    /// Variables that it uses.
    pub(crate) used: Vec<String>,
}

/// One key of a file.
pub(crate) struct Entry {
    pub(crate) section: String,
    pub(crate) name: String,
    pub(crate) value: Raw,
    pub(crate) line: usize,
}

/// One table of a list such as `[[policy]]`.
pub(crate) struct Item {
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
    pub(crate) entries: Vec<Entry>,
}

/// The lists of tables.
const LISTS: [&str; 2] = ["policy", "legacy"];

/// Reads a file.
///
/// # Errors
/// The first place where it is not TOML. Everything else that is wrong is in [`Contents::problems`].
pub(crate) fn parse(path: &Path, text: &str, variables: &Variables) -> Result<Contents, Problem> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        Problem {
            place: Place::Line(path.to_owned(), line),
            key: String::new(),
            given: None,
            why: format!("it is not TOML: {}", error.message()),
        }
    })?;
    let mut reader = Reader { path, text, variables, problems: Vec::new(), used: Vec::new() };
    let sections: Vec<&'static str> = Settings::default().sections().iter().map(|section| section.name()).collect();
    let (mut entries, mut policies, mut legacy) = (Vec::new(), Vec::new(), Vec::new());
    for (name, value) in table.get_ref() {
        let list = LISTS.into_iter().find(|list| name.get_ref() == list);
        match (value.get_ref(), list) {
            (DeValue::Array(items), Some(list)) => {
                let found = if list == "legacy" { &mut legacy } else { &mut policies };
                for item in items {
                    match item.get_ref() {
                        DeValue::Table(inner) => found.push(Item {
                            file: path.to_owned(),
                            line: reader.line(item),
                            entries: reader.entries(list, inner),
                        }),
                        _ => {
                            let why = format!("it is a list of tables: write `[[{list}]]` and keys below");
                            reader.problem(item, list, &why);
                        }
                    }
                }
            }
            (_, Some(list)) => {
                reader.problem(name, list, &format!("it is a list: write `[[{list}]]`, once for each"));
            }
            (DeValue::Table(inner), _) if sections.contains(&name.get_ref().as_ref()) => {
                entries.extend(reader.entries(name.get_ref(), inner));
            }
            (_, _) if sections.contains(&name.get_ref().as_ref()) => {
                let why = format!("it is a section: write `[{}]` and keys below", name.get_ref());
                reader.problem(name, name.get_ref(), &why);
            }
            (DeValue::Table(_), _) => {
                let sections = sections.iter().copied().chain(LISTS);
                let why = match nearest(name.get_ref(), sections.clone()) {
                    Some(list) if LISTS.contains(&list) => {
                        format!("there is no such section; did you mean `[[{list}]]`?")
                    }
                    Some(meant) => format!("there is no such section; did you mean `[{meant}]`?"),
                    None => {
                        let all: Vec<_> = sections.filter(|s| !s.is_empty()).map(|s| format!("`{s}`")).collect();
                        format!("there is no such section; allowed: {}", all.join(", "))
                    }
                };
                reader.problem(name, &format!("[{}]", name.get_ref()), &why);
            }
            (_, _) => entries.extend(reader.entry("", name, value)),
        }
    }
    let Reader { problems, used, .. } = reader;
    entries.sort_by_key(|entry| entry.line);
    Ok(Contents { entries, policies, legacy, problems, used })
}

/// The problem with a key that no section has.
pub(crate) fn unknown(path: &Path, entry: &Entry, keys: &[Key]) -> Problem {
    let siblings = keys.iter().filter(|key| key.section == entry.section).map(|key| key.name);
    let elsewhere = keys.iter().find(|key| key.name == entry.name);
    let why = match (nearest(&entry.name, siblings.clone()), elsewhere) {
        (Some(meant), _) => format!("there is no such key; did you mean `{meant}`?"),
        (None, Some(key)) if key.section.is_empty() => {
            format!("there is no such key here; `{}` belongs to the top of the file, above every section", key.name)
        }
        (None, Some(key)) => format!("there is no such key here; `{}` belongs to `[{}]`", key.name, key.section),
        (None, None) => {
            let all: Vec<_> = siblings.map(|name| format!("`{name}`")).collect();
            format!("there is no such key; allowed: {}", all.join(", "))
        }
    };
    Problem { place: Place::Line(path.to_owned(), entry.line), key: entry.path(), given: None, why }
}

impl Entry {
    fn path(&self) -> String {
        if self.section.is_empty() { self.name.clone() } else { format!("{}.{}", self.section, self.name) }
    }
}

impl Item {
    /// As a `[[policy]]`: the rule, starting from the default policy.
    pub(crate) fn rule(self, default: &Policy) -> Result<Rule, Vec<Problem>> {
        let mut keys = default.keys();
        for key in &mut keys {
            key.section = "policy";
        }
        let mut rule = Rule { patterns: Vec::new(), policy: default.clone() };
        let mut problems = Vec::new();
        for entry in &self.entries {
            let place = Place::Line(self.file.clone(), entry.line);
            if entry.name == "match" {
                match patterns(&entry.value) {
                    Ok(patterns) => rule.patterns = patterns,
                    Err(why) => problems.push(Problem {
                        place,
                        key: entry.path(),
                        given: Some(entry.value.shown()),
                        why: format!("{why}; allowed: a list of patterns, {}", Pattern.allowed()),
                    }),
                }
            } else if let Some(key) = keys.iter().find(|key| key.name == entry.name) {
                if let Err(why) = rule.policy.set(key.name, &entry.value) {
                    problems.push(bad_value(key, &entry.value, place, &why));
                }
            } else {
                problems.push(unknown(&self.file, entry, &keys));
            }
        }
        if !self.entries.iter().any(|entry| entry.name == "match") {
            problems.push(Problem {
                place: Place::Line(self.file, self.line),
                key: "policy".to_owned(),
                given: None,
                why: "it has no `match`: write `match = [\"trip:*\"]`, the rooms that it is for".to_owned(),
            });
        }
        if problems.is_empty() { Ok(rule) } else { Err(problems) }
    }
}

/// A comma has a meaning in patterns, so that these are never split.
fn patterns(raw: &Raw) -> Result<Vec<RoomPattern>, String> {
    match raw {
        Raw::Text(_) => Ok(vec![Pattern.parse(raw)?]),
        Raw::List(items) if !items.is_empty() => items.iter().map(|item| Pattern.parse(item)).collect(),
        _ => Err("it matches nothing".to_owned()),
    }
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    variables: &'a Variables,
    problems: Vec<Problem>,
    used: Vec<String>,
}

impl Reader<'_> {
    fn entries(&mut self, section: &str, table: &DeTable<'_>) -> Vec<Entry> {
        let mut entries: Vec<Entry> =
            table.iter().filter_map(|(name, value)| self.entry(section, name, value)).collect();
        entries.sort_by_key(|entry| entry.line);
        entries
    }

    fn entry(&mut self, section: &str, name: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>) -> Option<Entry> {
        match self.raw(value.get_ref()) {
            Ok(raw) => Some(Entry {
                section: section.to_owned(),
                name: name.get_ref().to_string(),
                value: raw,
                line: self.line(name),
            }),
            Err(why) => {
                let key = if section.is_empty() {
                    name.get_ref().to_string()
                } else {
                    format!("{section}.{}", name.get_ref())
                };
                self.problem(name, &key, &why);
                None
            }
        }
    }

    fn raw(&mut self, value: &DeValue<'_>) -> Result<Raw, String> {
        Ok(match value {
            DeValue::String(text) => Raw::Text(interpolate(text, self.variables, &mut self.used)?),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Raw::Integer(number),
                Err(_) => Raw::Other("number that is too large"),
            },
            DeValue::Boolean(switch) => Raw::Bool(*switch),
            DeValue::Array(items) => {
                Raw::List(items.iter().map(|item| self.raw(item.get_ref())).collect::<Result<_, _>>()?)
            }
            DeValue::Float(_) => Raw::Other("number with a point"),
            DeValue::Datetime(_) => Raw::Other("date"),
            DeValue::Table(_) => Raw::Other("table"),
        })
    }

    fn problem<T>(&mut self, at: &Spanned<T>, key: &str, why: &str) {
        let place = Place::Line(self.path.to_owned(), self.line(at));
        self.problems.push(Problem { place, key: key.to_owned(), given: None, why: why.to_owned() });
    }

    fn line<T>(&self, at: &Spanned<T>) -> usize {
        line_of(self.text, at.span().start)
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
