//! A room's name: validated once at the edge, shared ever after.

use std::{borrow::Borrow, fmt, sync::Arc};

/// The name of a room, `namespace:id` by custom. Cloning shares the bytes.
///
/// Always holds: 1 to 255 bytes of UTF-8 without control characters, white space or braces. A brace would choose a
/// Redis Cluster slot, so that a client could pile rooms onto one master.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Room(Arc<str>);

/// Why a text is not a room name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RoomNameError {
    /// The name has no bytes.
    #[error("a room name must not be empty")]
    Empty,
    /// The name is longer than [`Room::MAX_BYTES`].
    #[error("a room name has at most 255 bytes, this one has {0}")]
    TooLong(usize),
    /// The name contains a character that is not allowed.
    #[error("a room name must not contain {0:?}: no control characters, white space or braces")]
    Character(char),
}

impl Room {
    /// The longest name, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 255;

    /// Validates `name`.
    ///
    /// # Errors
    /// [`RoomNameError`] names the rule that the name breaks.
    pub fn parse(name: &str) -> Result<Self, RoomNameError> {
        if name.is_empty() {
            return Err(RoomNameError::Empty);
        }
        if name.len() > Self::MAX_BYTES {
            return Err(RoomNameError::TooLong(name.len()));
        }
        match name.chars().find(|c| c.is_control() || c.is_whitespace() || matches!(c, '{' | '}')) {
            Some(c) => Err(RoomNameError::Character(c)),
            None => Ok(Self(name.into())),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first colon, or the whole name.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0.split(':').next().unwrap_or(&self.0)
    }
}

impl Borrow<str> for Room {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Room({})", &self.0)
    }
}

impl serde::Serialize for Room {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Room {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&std::borrow::Cow::<str>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        assert_eq!(Room::parse("trip:123").map(|r| r.namespace().to_owned()), Ok("trip".to_owned()));
        assert_eq!(Room::parse(""), Err(RoomNameError::Empty));
        assert_eq!(Room::parse(&"é".repeat(128)), Err(RoomNameError::TooLong(256)));
        assert!(Room::parse(&"x".repeat(255)).is_ok());
        for bad in ["a b", "a{b", "a}b", "a\tb", "a\u{85}b", "a\u{2003}b", "a\0"] {
            assert!(matches!(Room::parse(bad), Err(RoomNameError::Character(_))), "{bad:?}");
        }
    }
}
