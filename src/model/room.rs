//! A room's name: validated once at the edge, shared ever after.

use std::{borrow::Borrow, fmt, sync::Arc};

/// The name of a room, `namespace:id` by custom. Cloning shares the bytes.
///
/// Always holds: 1 to 255 bytes of UTF-8 without control characters, invisible characters, white space or braces. A brace would
/// choose a Redis Cluster slot, so that a client could pile rooms onto one master. With an invisible character two rooms could look
/// the same, or a name could turn around the text that it stands in.
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
    /// The name contains a character that is not seen, or that turns around the text beside it.
    #[error("a room name must not contain U+{code:04X}: it is invisible, or changes the direction of text", code = u32::from(*.0))]
    Invisible(char),
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
        for c in name.chars() {
            if c.is_control() || c.is_whitespace() || matches!(c, '{' | '}') {
                return Err(RoomNameError::Character(c));
            }
            if is_invisible(c) {
                return Err(RoomNameError::Invisible(c));
            }
        }
        Ok(Self(name.into()))
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

/// Unicode's format characters (general category `Cf`) and those that are shown as nothing (`Default_Ignorable_Code_Point`):
/// marks of direction, joiners, spaces without width, fillers, variation selectors, tags; and the braille pattern without dots.
fn is_invisible(c: char) -> bool {
    // Most names are ASCII.
    c > '\u{ac}'
        && matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}'
            | '\u{8e2}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
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

    #[test]
    fn names_have_no_characters_that_are_not_seen() {
        for bad in [
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{202a}',
            '\u{202b}',
            '\u{202c}',
            '\u{202d}',
            '\u{202e}',
            '\u{2060}',
            '\u{2064}',
            '\u{2066}',
            '\u{2067}',
            '\u{2068}',
            '\u{2069}',
            '\u{206f}',
            '\u{115f}',
            '\u{2800}',
            '\u{3164}',
            '\u{ffa0}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{fff9}',
            '\u{fffb}',
            '\u{110bd}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0061}',
            '\u{e0100}',
        ] {
            for name in [format!("a{bad}b"), bad.to_string(), format!("a{bad}")] {
                assert_eq!(Room::parse(&name), Err(RoomNameError::Invisible(bad)), "{name:?}");
            }
        }
        let said = RoomNameError::Invisible('\u{202e}').to_string();
        assert_eq!(said, "a room name must not contain U+202E: it is invisible, or changes the direction of text");
        // Other scripts, those from right to left too, are names like any other.
        for good in
            ["é", "grüße:1", "комната", "غرفة", "חדר", "部屋", "방", "ห้อง", "कमरा", "🚌", "a\u{301}", "–", "\u{fffd}"]
        {
            assert!(Room::parse(good).is_ok(), "{good}");
        }
    }
}
