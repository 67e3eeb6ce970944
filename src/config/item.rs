//! One table of a list such as `[[policy]]`, and the problems with its keys.

use std::path::{Path, PathBuf};

use super::{
    error::{Location, Problem},
    nearest::nearest,
    raw::{Entry, Raw},
    section::{Key, Section},
};

/// One table of a list such as `[[policy]]`.
pub(crate) struct Item {
    pub(crate) list: String,
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
    pub(crate) entries: Vec<Entry>,
}

impl Item {
    /// Sets the keys of a table; what is wrong, or missing and must be set. `nested`: names that are no keys.
    pub(crate) fn fill(&self, table: &mut dyn Section, nested: &[&str]) -> Vec<Problem> {
        let keys = table.keys();
        let mut problems = Vec::new();
        for entry in self.entries.iter().filter(|entry| !nested.contains(&entry.name.as_str())) {
            let place = Location::Line(self.file.clone(), entry.line);
            match keys.iter().find(|key| key.name == entry.name) {
                Some(key) => {
                    if let Err(why) = table.set(key.name, &entry.value) {
                        problems.push(bad_value(key, &entry.value, place, &why));
                    }
                }
                None => match nearest(&entry.name, nested.iter().copied()) {
                    Some(meant) => {
                        let why = format!("there is no such key; did you mean `[[{}.{meant}]]`?", self.list);
                        problems.push(Problem { place, key: entry.path(), given: None, why });
                    }
                    None => problems.push(unknown_key(&self.file, entry, &keys)),
                },
            }
        }
        for key in keys.iter().filter(|key| key.unset == "must be set") {
            if !self.entries.iter().any(|entry| entry.name == key.name) {
                let why = format!("it has no `{0}`: write for example `{0} = {1}`", key.name, key.example);
                problems.push(self.problem(key.name, why));
            }
        }
        problems
    }

    /// The tables of lists inside of this one, `[[dialect.command]]` for example, in the order of their lines.
    pub(crate) fn nested<'a>(&self, names: &[&'a str], problems: &mut Vec<Problem>) -> Vec<(&'a str, Self)> {
        let mut found = Vec::new();
        for (name, entry) in
            names.iter().flat_map(|n| self.entries.iter().filter(move |e| e.name == *n).map(move |e| (n, e)))
        {
            let list = format!("{}.{name}", self.list);
            let Raw::List(items) = &entry.value else {
                problems.push(self.problem(name, format!("it is a list of tables: write `[[{list}]]`, once for each")));
                continue;
            };
            for item in items {
                let Raw::Table(entries) = item else {
                    problems.push(self.problem(name, format!("it is a list of tables: write `[[{list}]]`")));
                    continue;
                };
                let mut entries = entries.clone();
                entries.iter_mut().for_each(|entry| entry.section.clone_from(&list));
                let line = entries.first().map_or(entry.line, |first| first.line);
                found.push((*name, Self { list: list.clone(), file: self.file.clone(), line, entries }));
            }
        }
        found
    }

    /// The problem with a key that is there, or is missing.
    pub(crate) fn problem(&self, name: &str, why: String) -> Problem {
        let entry = self.entries.iter().find(|entry| entry.name == name);
        let line = entry.map_or(self.line, |entry| entry.line);
        let key = if entry.is_some() { format!("{}.{name}", self.list) } else { self.list.clone() };
        let given = entry.filter(|e| !matches!(e.value, Raw::Table(_))).map(|e| e.value.shown());
        Problem { place: Location::Line(self.file.clone(), line), key, given, why }
    }
}

/// The problem with a key that no section has.
pub(crate) fn unknown_key(path: &Path, entry: &Entry, keys: &[Key]) -> Problem {
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
    Problem { place: Location::Line(path.to_owned(), entry.line), key: entry.path(), given: None, why }
}

/// The problem with a value.
pub(crate) fn bad_value(key: &Key, value: &Raw, place: Location, why: &str) -> Problem {
    Problem {
        place,
        key: key.path(),
        given: (!key.secret).then(|| value.shown()),
        why: format!("{why}; allowed: {}", key.allowed),
    }
}
