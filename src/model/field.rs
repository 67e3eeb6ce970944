//! The rules of what a publisher may write into an event, whichever way it publishes.

use serde_json::value::RawValue;

use super::{ErrorCode, Payload};

/// Why a field of a publication is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The field has no bytes and must have some.
    #[error("{0} must not be empty")]
    Empty(&'static str),
    /// The field is longer than [`MAX_FIELD_BYTES`].
    #[error("{field} has at most {MAX_FIELD_BYTES} bytes, this one has {bytes}")]
    TooLong {
        /// Its name on the wire.
        field: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// The field contains a control character.
    #[error("{field} must not contain the control character {character:?}")]
    Control {
        /// Its name on the wire.
        field: &'static str,
        /// The character.
        character: char,
    },
    /// The data is nested deeper than [`MAX_DEPTH`], so that receivers' parsers could refuse it.
    #[error("data is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// The longest topic, key, event id and idempotency key, in bytes of UTF-8.
pub const MAX_FIELD_BYTES: usize = 255;

/// How deep JSON data may be nested. Parsers of receivers have limits of their own (serde_json's is 128 levels, two of
/// which a frame needs): a publisher must not be able to break them.
pub const MAX_DEPTH: usize = 100;

impl FieldError {
    /// The code on the wire.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TooLong { .. } => ErrorCode::LimitExceeded,
            Self::Empty(_) | Self::Control { .. } | Self::TooDeep => ErrorCode::BadRequest,
        }
    }
}

/// A topic: 1 to [`MAX_FIELD_BYTES`] bytes without control characters.
///
/// # Errors
/// The rule that it breaks.
pub fn check_topic(topic: &str) -> Result<(), FieldError> {
    if topic.is_empty() {
        return Err(FieldError::Empty("topic"));
    }
    check_length("topic", topic)?;
    match topic.chars().find(|c| c.is_control()) {
        Some(character) => Err(FieldError::Control { field: "topic", character }),
        None => Ok(()),
    }
}

/// A key, event id or idempotency key: at most [`MAX_FIELD_BYTES`] bytes.
///
/// # Errors
/// [`FieldError::TooLong`] names `field`.
pub fn check_length(field: &'static str, text: &str) -> Result<(), FieldError> {
    if text.len() > MAX_FIELD_BYTES {
        return Err(FieldError::TooLong { field, bytes: text.len() });
    }
    Ok(())
}

impl Payload {
    /// JSON data of a publisher, kept as it is written.
    ///
    /// # Errors
    /// [`FieldError::TooDeep`].
    pub fn json(data: Box<RawValue>) -> Result<Self, FieldError> {
        if depth(data.get()) > MAX_DEPTH {
            return Err(FieldError::TooDeep);
        }
        Ok(Self::Json(data))
    }
}

/// How deep valid JSON is nested: 0 for a scalar.
fn depth(json: &str) -> usize {
    let (mut now, mut deepest) = (0_usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                now += 1;
                deepest = deepest.max(now);
            }
            b']' | b'}' if !quoted => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn texts_follow_the_rules() {
        assert_eq!(check_topic(""), Err(FieldError::Empty("topic")));
        assert_eq!(check_topic("a\u{7f}"), Err(FieldError::Control { field: "topic", character: '\u{7f}' }));
        assert_eq!(check_topic(&"x".repeat(256)), Err(FieldError::TooLong { field: "topic", bytes: 256 }));
        assert_eq!(check_topic(&"x".repeat(255)), Ok(()));
        assert_eq!(check_length("key", ""), Ok(()));
        assert_eq!(check_length("key", &"é".repeat(128)).map_err(|e| e.code()), Err(ErrorCode::LimitExceeded));
    }

    #[test]
    fn depth_counts_brackets_outside_of_strings() {
        for (json, expected) in
            [("1", 0), ("[]", 1), (r#""[[[""#, 0), (r#"{"a\"[":[{}]}"#, 3), (r#"["\\",[1],[[2]]]"#, 3)]
        {
            assert_eq!(depth(json), expected, "{json}");
        }
        let nested = |levels: usize| {
            let text = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
            Payload::json(RawValue::from_string(text).unwrap()).map(|_| ())
        };
        assert_eq!(nested(MAX_DEPTH), Ok(()));
        assert_eq!(nested(MAX_DEPTH + 1), Err(FieldError::TooDeep));
    }
}
