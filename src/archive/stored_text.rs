//! Texts that publishers chose, as PostgreSQL takes them: it has no place for U+0000, which a key, an id or a user's name may hold.
//!
//! Pure. Always holds: what is read is what was written, and two texts that differ are written differently.

use std::borrow::Cow;

/// Stands before what takes the place of a character: `\u{1}0` of U+0000, `\u{1}1` of itself.
const MARK: char = '\u{1}';

/// A text as it is written. Most are as they are.
pub(super) fn stored(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', MARK]) {
        return Cow::Borrowed(text);
    }
    let mut stored = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => stored.extend([MARK, '0']),
            MARK => stored.extend([MARK, '1']),
            other => stored.push(other),
        }
    }
    Cow::Owned(stored)
}

/// The text that was written so.
pub(super) fn restored(stored: &str) -> Box<str> {
    if !stored.contains(MARK) {
        return stored.into();
    }
    let (mut text, mut characters) = (String::with_capacity(stored.len()), stored.chars());
    while let Some(character) = characters.next() {
        match (character, character == MARK) {
            (_, true) => text.push(if characters.next() == Some('0') { '\0' } else { MARK }),
            (other, false) => text.push(other),
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_comes_back_and_none_has_what_postgres_refuses() {
        for text in ["", "ann", "a\0b", "\0\0", "\u{1}", "\u{1}0", "\u{1}1\0", "ä\0ö\u{1}"] {
            let written = stored(text);
            assert!(!written.contains('\0'), "{text:?}");
            assert_eq!(&*restored(&written), text);
        }
        assert_ne!(stored("\0"), stored("\u{1}0"));
        assert!(matches!(stored("ann"), Cow::Borrowed(_)));
    }
}
