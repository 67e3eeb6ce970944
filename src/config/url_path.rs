//! Paths of URLs, as values of keys.

use super::value::TextKind;

/// The path of one resource.
pub(crate) struct MountPath;

impl TextKind for MountPath {
    type Value = String;
    const NAME: &'static str = "path";
    const ALLOWED: &'static str = "a path such as `/ws`";

    fn read(&self, text: &str) -> Result<String, String> {
        match text {
            text if !text.starts_with('/') => Err("it does not begin with `/`".to_owned()),
            text if text.contains(['?', '#']) || !text.bytes().all(|b| b.is_ascii_graphic()) => {
                Err("it is not the path of a URL".to_owned())
            }
            text => Ok(text.to_owned()),
        }
    }

    fn write(&self, value: &String) -> String {
        value.clone()
    }
}

/// The path of an endpoint that has paths below it.
pub(crate) struct UrlPath;

impl TextKind for UrlPath {
    type Value = String;
    const NAME: &'static str = "path";
    const ALLOWED: &'static str = "a path that begins and ends with a slash, of letters, digits and any of `- . _ ~ /`";

    fn read(&self, text: &str) -> Result<String, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~' | '/');
        if !text.starts_with('/') || !text.ends_with('/') || text.contains("//") {
            Err("it does not begin and end with one slash".to_owned())
        } else if !text.chars().all(fits) || text.len() > 200 {
            Err("it is too long, or has characters that would have to be encoded".to_owned())
        } else {
            Ok(text.to_owned())
        }
    }

    fn write(&self, value: &String) -> String {
        value.clone()
    }
}
