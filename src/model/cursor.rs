//! The positions of a client in several rooms, as one text: the cursor of a long-poll, and the `id` of an event stream.
//!
//! The client keeps it as it is, and sends it with its next request, to any pod: no pod stores it. Always holds: the text is
//! plain ASCII without white space, fit for a header and for a query.

use std::{
    collections::HashSet,
    fmt::{self, Write as _},
};

use super::{Epoch, MAX_OFFSET, Position, Room, RoomNameError, Since};

/// Positions by room, each room once. As text a form (`application/x-www-form-urlencoded`): `room=epoch:offset&…`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor(Vec<(Room, Position)>);

/// Why a text is not a cursor, or not a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// A position is not `epoch:offset`.
    #[error("{0:?} is not a position: write `epoch:offset`, as the room's last message had them")]
    Position(String),
    /// A room's name breaks a rule.
    #[error(transparent)]
    Room(#[from] RoomNameError),
    /// A room is named twice.
    #[error("the room {0} is named twice")]
    Twice(Room),
}

impl Since {
    /// Reads `epoch:offset`.
    ///
    /// # Errors
    /// [`CursorError::Position`].
    pub fn parse(text: &str) -> Result<Self, CursorError> {
        let refuse = || CursorError::Position(text.chars().take(80).collect());
        let (epoch, digits) = text.rsplit_once(':').ok_or_else(refuse)?;
        let plain = !epoch.is_empty() && epoch.bytes().all(|b| b.is_ascii_graphic());
        let offset = digits.parse().ok().filter(|offset| *offset <= MAX_OFFSET);
        match offset {
            Some(offset) if plain && digits.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(Self { epoch: Epoch::new(epoch), offset })
            }
            _ => Err(refuse()),
        }
    }
}

impl Cursor {
    /// Reads the text of a cursor.
    ///
    /// # Errors
    /// [`CursorError`].
    pub fn parse(text: &str) -> Result<Self, CursorError> {
        let mut cursor = Self::default();
        let mut named = HashSet::new();
        for (room, position) in form_urlencoded::parse(text.as_bytes()) {
            let room = Room::parse(&room)?;
            let Since { epoch, offset } = Since::parse(&position)?;
            if !named.insert(room.clone()) {
                return Err(CursorError::Twice(room));
            }
            cursor.0.push((room, Position { epoch, offset }));
        }
        Ok(cursor)
    }

    /// How many rooms it names.
    #[must_use]
    pub fn rooms(&self) -> usize {
        self.0.len()
    }

    /// The rooms with their positions.
    pub fn into_positions(self) -> impl Iterator<Item = (Room, Position)> {
        self.0.into_iter()
    }

    /// The position in a room.
    #[must_use]
    pub fn of(&self, room: &Room) -> Option<&Position> {
        self.0.iter().find(|(known, _)| known == room).map(|(_, position)| position)
    }

    /// Sets the position in a room.
    pub fn set(&mut self, room: &Room, position: Position) {
        match self.0.iter_mut().find(|(known, _)| known == room) {
            Some((_, stood)) => *stood = position,
            None => self.0.push((room.clone(), position)),
        }
    }

    /// Removes a room.
    pub fn forget(&mut self, room: &Room) {
        self.0.retain(|(known, _)| known != room);
    }

    /// The most bytes that a position of this room can take in a cursor.
    #[must_use]
    pub fn most_bytes(room: &Room) -> usize {
        const EPOCH_AND_OFFSET: usize = 64 * 3 + 3 + 16 + 2;
        form_urlencoded::byte_serialize(room.as_str().as_bytes()).map(str::len).sum::<usize>() + EPOCH_AND_OFFSET
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (room, Position { epoch, offset })) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_char('&')?;
            }
            form_urlencoded::byte_serialize(room.as_str().as_bytes()).try_for_each(|part| f.write_str(part))?;
            f.write_char('=')?;
            form_urlencoded::byte_serialize(epoch.as_str().as_bytes()).try_for_each(|part| f.write_str(part))?;
            // The colon needs no escape in a form's value, and is easier to read.
            write!(f, ":{offset}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn positions_are_read_strictly() {
        let since = Since::parse("base.1:2:41").unwrap();
        assert_eq!((since.epoch.as_str(), since.offset), ("base.1:2", 41));
        for bad in ["", ":", "41", "e:", ":4", "e:+4", "e:-1", "e:9007199254740992", "e:4x", "e f:4", "é:4", "e\n:4"] {
            assert!(matches!(Since::parse(bad), Err(CursorError::Position(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_cursor_is_one_position_a_room() {
        let mut cursor = Cursor::parse("trip%3A1=e:4&a%26b=f.2:0").unwrap();
        let (trip, other) = (Room::parse("trip:1").unwrap(), Room::parse("a&b").unwrap());
        assert_eq!(cursor.of(&trip).unwrap().offset, 4);
        cursor.set(&trip, Position::new(Epoch::new("e"), 9));
        assert_eq!(cursor.to_string(), "trip%3A1=e:9&a%26b=f.2:0");
        cursor.forget(&trip);
        cursor.set(&trip, Position::new(Epoch::new("g"), 1));
        assert_eq!(cursor.to_string(), "a%26b=f.2:0&trip%3A1=g:1");
        assert_eq!(cursor.of(&other).unwrap().epoch.as_str(), "f.2");
        assert_eq!(Cursor::parse("").unwrap(), Cursor::default());
        assert!(matches!(Cursor::parse("a=e:1&a=e:2"), Err(CursorError::Twice(_))));
        assert!(matches!(Cursor::parse("a b=e:1"), Err(CursorError::Room(_))));
        assert!(matches!(Cursor::parse("a"), Err(CursorError::Position(_))));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(rooms in prop::collection::hash_map("[^\\s{}\\p{C}]{1,20}", ("[!-~]{1,64}", 0u64..1 << 53), 0..6)) {
            let mut cursor = Cursor::default();
            let mut most = 0;
            for (name, (epoch, offset)) in &rooms {
                let Ok(room) = Room::parse(name) else { continue };
                most += Cursor::most_bytes(&room);
                cursor.set(&room, Position::new(Epoch::new(epoch), *offset));
            }
            let text = cursor.to_string();
            prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()) && text.len() <= most, "{}", text);
            prop_assert_eq!(Cursor::parse(&text).unwrap(), cursor);
        }
    }
}
