//! Paths of URLs, as values of keys.

use super::{
    raw::Raw,
    value::{Kind, quoted},
};

/// The path of one resource.
pub(crate) struct MountPath;

impl Kind for MountPath {
    type Value = String;

    fn parse(&self, raw: &Raw) -> Result<String, String> {
        match raw {
            Raw::Text(text) if !text.starts_with('/') => Err("it does not begin with `/`".to_owned()),
            Raw::Text(text) if text.contains(['?', '#']) || !text.bytes().all(|b| b.is_ascii_graphic()) => {
                Err("it is not the path of a URL".to_owned())
            }
            Raw::Text(text) => Ok(text.clone()),
            _ => Err("it is not text".to_owned()),
        }
    }

    fn render(&self, value: &String) -> Option<String> {
        Some(quoted(value))
    }

    fn name(&self) -> String {
        "path".to_owned()
    }

    fn allowed(&self) -> String {
        "a path such as `/ws`".to_owned()
    }
}

/// The path of an endpoint that has paths below it.
pub(crate) struct UrlPath;

impl Kind for UrlPath {
    type Value = String;

    fn parse(&self, raw: &Raw) -> Result<String, String> {
        let Raw::Text(text) = raw else { return Err("it is not text".to_owned()) };
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~' | '/');
        if !text.starts_with('/') || !text.ends_with('/') || text.contains("//") {
            Err("it does not begin and end with one slash".to_owned())
        } else if !text.chars().all(fits) || text.len() > 200 {
            Err("it is too long, or has characters that would have to be encoded".to_owned())
        } else {
            Ok(text.clone())
        }
    }

    fn render(&self, value: &String) -> Option<String> {
        Some(quoted(value))
    }

    fn name(&self) -> String {
        "path".to_owned()
    }

    fn allowed(&self) -> String {
        "a path that begins and ends with a slash, of letters, digits and any of `- . _ ~ /`".to_owned()
    }
}
