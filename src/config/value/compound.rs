//! Kinds made of other kinds.

use super::kind::{Kind, quoted};
use crate::config::raw::Raw;

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

    fn nearest(&self, raw: &Raw) -> Option<Raw> {
        self.0.nearest(raw)
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
            Raw::Text(text) => {
                // Commas without anything between are a habit of lists that were put together.
                let items = text.split(',').map(str::trim);
                let full: Vec<&str> = items.filter(|item| !item.is_empty()).collect();
                let items = if full.is_empty() { vec![""] } else { full };
                items.into_iter().map(|item| self.0.parse(&Raw::Text(item.to_owned()))).collect()
            }
            Raw::List(items) => items.iter().map(|item| self.0.parse(item)).collect(),
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
