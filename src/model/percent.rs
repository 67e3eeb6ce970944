//! Texts in the path of a request (RFC 3986 section 2.1).

use std::borrow::Cow;

/// Why a text is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PercentError {
    /// A percent sign stands for itself.
    #[error("a `%` is not followed by two hexadecimal digits; write it as `%25`")]
    Digits,
    /// The bytes are no text.
    #[error("the percent-encoded bytes are not UTF-8")]
    NotText,
}

/// The text that a part of a path spells.
///
/// # Errors
/// [`PercentError`].
pub fn percent_decoded(raw: &str) -> Result<Cow<'_, str>, PercentError> {
    if !raw.contains('%') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = rest.split_at_checked(2).and_then(|(digits, after)| Some((hex(digits)?, after)));
        let (byte, after) = digits.ok_or(PercentError::Digits)?;
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| PercentError::NotText)
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    match digits {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_path_spells_any_text() {
        for (raw, text) in [("a", "a"), ("a%3Ab", "a:b"), ("%e2%82%AC+", "€+"), ("", "")] {
            assert_eq!(percent_decoded(raw).unwrap(), text);
        }
        for raw in ["%", "%4", "a%zz", "%%41"] {
            assert_eq!(percent_decoded(raw), Err(PercentError::Digits), "{raw}");
        }
        assert_eq!(percent_decoded("%ff"), Err(PercentError::NotText));
    }
}
