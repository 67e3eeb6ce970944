//! The configuration file: TOML, read with the line of every key.

use std::path::Path;

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::{
    error::{Location, Problem},
    interpolate::{Variables, interpolate, is_optional},
    item::Item,
    nearest::nearest,
    raw::{Entry, Raw},
    settings::Settings,
};
use crate::model::whole_number;

/// What a file holds, in the order of its lines.
pub(crate) struct Contents {
    /// Keys of sections.
    pub(crate) entries: Vec<Entry>,
    /// `[[policy]]`
    pub(crate) policies: Vec<Item>,
    /// `[[legacy]]`
    pub(crate) legacy: Vec<Item>,
    /// `[[dialect]]`
    pub(crate) dialects: Vec<Item>,
    /// What is wrong already.
    pub(crate) problems: Vec<Problem>,
    /// Variables that it uses.
    pub(crate) used: Vec<String>,
}

/// The lists of tables.
const LISTS: [&str; 3] = ["policy", "legacy", "dialect"];

/// Reads a file.
///
/// # Errors
/// The first place where it is not TOML. Everything else that is wrong is in [`Contents::problems`].
/// `drop_empty`: an empty text counts as not set, wherever it stands. Without it only one of variables that may be unset does.
pub(crate) fn parse(path: &Path, text: &str, variables: &Variables, drop_empty: bool) -> Result<Contents, Problem> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        Problem {
            place: Location::Line(path.to_owned(), line),
            key: String::new(),
            given: None,
            why: format!("it is not TOML: {}", error.message()),
        }
    })?;
    let mut reader = Reader { path, text, variables, drop_empty, problems: Vec::new(), used: Vec::new() };
    let tables = Settings::default().tables();
    let sections: Vec<&'static str> = tables.iter().map(|table| table.name).collect();
    let top =
        |name: &str| tables.iter().any(|table| table.name.is_empty() && table.keys.iter().any(|key| key.name == name));
    let mut entries = Vec::new();
    let (mut policies, mut legacy, mut dialects) = (Vec::new(), Vec::new(), Vec::new());
    for (name, value) in table.get_ref() {
        let list = LISTS.into_iter().find(|list| name.get_ref() == list);
        match (value.get_ref(), list) {
            (DeValue::Array(items), Some(list)) => {
                let found = match list {
                    "legacy" => &mut legacy,
                    "dialect" => &mut dialects,
                    _ => &mut policies,
                };
                for item in items {
                    match item.get_ref() {
                        DeValue::Table(inner) => found.push(Item {
                            list: list.to_owned(),
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
            (DeValue::Array(items), _) if is_list_of_tables(items) && !top(name.get_ref()) => {
                let all: Vec<_> = LISTS.iter().map(|list| format!("`[[{list}]]`")).collect();
                let why = format!("there is no such list of tables; allowed: {}", all.join(", "));
                reader.problem(name, &format!("[[{}]]", name.get_ref()), &why);
            }
            (_, _) => entries.extend(reader.entry("", name, value)),
        }
    }
    let Reader { problems, used, .. } = reader;
    entries.sort_by_key(|entry| entry.line);
    Ok(Contents { entries, policies, legacy, dialects, problems, used })
}

/// Whether an array was written as `[[name]]`.
fn is_list_of_tables(items: &[Spanned<DeValue<'_>>]) -> bool {
    !items.is_empty() && items.iter().all(|item| matches!(item.get_ref(), DeValue::Table(_)))
}

/// Lays the tables of a file over those of another: one with the same value of the key `by` changes the other, key by
/// key; the others stand before it.
pub(crate) fn lay(below: Vec<Item>, above: Vec<Item>, by: &str) -> Vec<Item> {
    let named = |item: &Item| item.entries.iter().find(|entry| entry.name == by).map(|entry| entry.value.clone());
    let (mut first, mut below) = (Vec::new(), below);
    for item in above {
        let name = named(&item);
        match below.iter_mut().find(|under| name.is_some() && named(under) == name) {
            Some(under) => {
                under.entries.retain(|old| !item.entries.iter().any(|new| new.name == old.name));
                under.entries.extend(item.entries);
                (under.file, under.line) = (item.file, item.line);
            }
            None => first.push(item),
        }
    }
    first.extend(below);
    first
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    variables: &'a Variables,
    drop_empty: bool,
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
        let before = self.used.len();
        let raw = self.raw(value.get_ref());
        let set = |name: &&String| self.variables.get(*name).is_some_and(|value| !value.is_empty());
        let filled: Vec<String> = self.used.iter().skip(before).filter(set).cloned().collect();
        let unfilled = if self.drop_empty && !filled.is_empty() { self.unfilled(value.get_ref()) } else { None };
        match raw {
            Ok(raw) if self.is_unset(value.get_ref(), &raw) => None,
            Ok(raw) => Some(Entry {
                section: section.to_owned(),
                name: name.get_ref().to_string(),
                value: raw,
                line: self.line(name),
                filled,
                unfilled,
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

    /// Whether a value counts as not set, because it is empty: a file that a preset is printed to means what the preset means.
    fn is_unset(&self, value: &DeValue<'_>, raw: &Raw) -> bool {
        let is_optional = || matches!(value, DeValue::String(text) if is_optional(text));
        *raw == Raw::Text(String::new()) && (self.drop_empty || is_optional())
    }

    /// A value when no variable is set.
    fn unfilled(&self, value: &DeValue<'_>) -> Option<Raw> {
        let variables = &Variables::new();
        let Self { path, text, drop_empty, .. } = *self;
        Reader { path, text, variables, drop_empty, problems: Vec::new(), used: Vec::new() }.raw(value).ok()
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
                let mut list = Vec::new();
                for item in items {
                    let raw = self.raw(item.get_ref())?;
                    if !self.is_unset(item.get_ref(), &raw) {
                        list.push(raw);
                    }
                }
                Raw::List(list)
            }
            // `64.0` is as whole as `64`: some tools write all numbers so.
            DeValue::Float(number) => {
                let whole =
                    whole_number(&number.as_str().replace('_', "")).and_then(|number| i64::try_from(number).ok());
                whole.map_or(Raw::Other("number with a point"), Raw::Integer)
            }
            DeValue::Datetime(_) => Raw::Other("date"),
            DeValue::Table(table) => {
                let mut entries = Vec::new();
                for (name, value) in table {
                    let (name, line, value) = (name.get_ref().to_string(), self.line(name), self.raw(value.get_ref())?);
                    let (section, filled) = (String::new(), Vec::new());
                    entries.push(Entry { section, name, value, line, filled, unfilled: None });
                }
                entries.sort_by_key(|entry| entry.line);
                Raw::Table(entries)
            }
        })
    }

    fn problem<T>(&mut self, at: &Spanned<T>, key: &str, why: &str) {
        let place = Location::Line(self.path.to_owned(), self.line(at));
        self.problems.push(Problem { place, key: key.to_owned(), given: None, why: why.to_owned() });
    }

    fn line<T>(&self, at: &Spanned<T>) -> usize {
        line_of(self.text, at.span().start)
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
