//! What a request's target says: percent-decoded texts, and the query. Strict: what is not understood is refused.

use std::{borrow::Cow, ops::RangeInclusive};

use super::answer::ApiError;
use crate::model::{percent_decoded, whole_number};

/// The text that a part of a path spells (RFC 3986 section 2.1).
///
/// # Errors
/// A percent sign without two hexadecimal digits; bytes that are not UTF-8.
pub(super) fn decode(raw: &str) -> Result<Cow<'_, str>, ApiError> {
    percent_decoded(raw).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// The parameters of a query, each at most once, but for [`REPEATED`].
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(&'static str, String)>);

/// The parameter that is given once for each of several values.
const REPEATED: &str = "users";

impl Query {
    /// Reads `raw`, as forms write it: `+` is a space. Only `allowed` parameters may occur.
    pub(super) fn parse(raw: Option<&str>, allowed: &[&'static str]) -> Result<Self, ApiError> {
        let mut found: Vec<(&'static str, String)> = Vec::new();
        for pair in raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = form(name).map_err(|error| error.within("the query"))?;
            let Some(&name) = allowed.iter().find(|known| **known == name) else {
                let takes = match allowed {
                    [] => "no parameters".to_owned(),
                    _ => format!("`{}`", allowed.join("`, `")),
                };
                return Err(ApiError::bad_request(format!("there is no parameter {name:?}; this call takes {takes}")));
            };
            if name != REPEATED && found.iter().any(|(known, _)| *known == name) {
                return Err(ApiError::bad_request(format!("`{name}` is given twice")));
            }
            found.push((name, form(value).map_err(|error| error.within(format_args!("`{name}`")))?));
        }
        Ok(Self(found))
    }

    /// A parameter's text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Every text of a parameter that may be given more than once.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is a whole number in `range`.
    pub(super) fn number<T>(&self, name: &str, range: RangeInclusive<T>) -> Result<Option<T>, ApiError>
    where
        T: TryFrom<u64> + PartialOrd + std::fmt::Display,
    {
        let Some(text) = self.text(name) else { return Ok(None) };
        match whole_number(text).and_then(|number| T::try_from(number).ok()) {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(ApiError::bad_request(format!(
                "`{name}` must be a whole number from {} to {}, not {text:?}",
                range.start(),
                range.end()
            ))),
        }
    }
}

fn form(raw: &str) -> Result<String, ApiError> {
    if raw.contains('+') {
        return Ok(decode(&raw.replace('+', " "))?.into_owned());
    }
    Ok(decode(raw)?.into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_decoded_strictly() {
        for (raw, text) in [("a:1", "a:1"), ("a%2Fb%3a", "a/b:"), ("%C3%A9%25", "é%"), ("a+b", "a+b"), ("", "")] {
            assert_eq!(decode(raw).unwrap(), text, "{raw}");
        }
        for (raw, complaint) in
            [("%", "two hex"), ("a%2", "two hex"), ("%zz", "two hex"), ("%+1", "two hex"), ("%ff", "UTF-8")]
        {
            assert!(decode(raw).unwrap_err().message.contains(complaint), "{raw}");
        }
    }

    #[test]
    fn queries_hold_what_is_allowed() {
        let query = Query::parse(Some("prefix=a%26b+c&limit=5&&after="), &["prefix", "limit", "after"]).unwrap();
        assert_eq!((query.text("prefix"), query.text("after"), query.text("x")), (Some("a&b c"), Some(""), None));
        assert_eq!(query.number("limit", 1..=5).unwrap(), Some(5));
        assert_eq!(query.number("none", 1..=5).unwrap(), None);
        assert!(query.number("limit", 6..=9).unwrap_err().message.contains("from 6 to 9"));
        for (raw, complaint) in [
            ("a=1&x=2", "no parameter \"x\"; this call takes `a`, `n`"),
            ("a=1&a=1", "`a` is given twice"),
            ("a=%f", "`a`: a `%`"),
            ("%=1", "the query: "),
        ] {
            let error = Query::parse(Some(raw), &["a", "n"]).unwrap_err();
            assert!(error.message.contains(complaint), "{raw}: {}", error.message);
        }
        for text in ["5.0", "0.5e1"] {
            assert_eq!(Query(vec![("n", text.to_owned())]).number("n", 1..=5).unwrap(), Some(5), "{text}");
        }
        for bad in ["+5", "-1", "", "5.5", "0x5", "99999999999999999999", " 5", "５"] {
            let query = Query(vec![("n", bad.to_owned())]);
            assert!(query.number("n", 0..=u64::MAX).is_err(), "{bad:?}");
        }
        assert!(Query::parse(Some("x=1"), &[]).unwrap_err().message.contains("no parameters"));
    }
}
