//! The string that a client keeps of the last event it got: where that event stands in its room's log, and its log time.
//!
//! Opaque to clients. Never believed beyond what it is asked for: a room in it counts only if the session was in it.

use std::fmt;

use crate::model::{Batch, Epoch, Offset, Position, Room, UnixMillis};

/// The position of a session in its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOffset {
    /// When the broker accepted the event.
    pub time: UnixMillis,
    /// Its position.
    pub position: Position,
    /// Its room.
    pub room: Room,
}

impl StreamOffset {
    /// Reads a client's text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // No broker's epoch has this character in it; a room may, and stands last.
        let mut parts = text.splitn(4, '~');
        let time = u64::from_str_radix(parts.next()?, 36).ok()?;
        let offset = Offset::from_str_radix(parts.next()?, 36).ok()?;
        let epoch = Epoch::new(parts.next()?);
        let room = Room::parse(parts.next()?).ok()?;
        Some(Self { time, position: Position::new(epoch, offset), room })
    }

    /// Writes the offset of a batch's event, or of its end, as JSON text.
    pub fn write_json(batch: &Batch, offset: Offset, time: UnixMillis, out: &mut Vec<u8>) {
        let text = format_args!("{}~{}~{}~{}", Base36(time), Base36(offset), batch.epoch, batch.room).to_string();
        // A string is always JSON, and a Vec takes every write.
        let _ = serde_json::to_writer(out, &text);
    }
}

/// A number in the digits 0 to 9 and a to z.
struct Base36(u64);

impl fmt::Display for Base36 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let (mut text, mut rest, mut at) = ([b'0'; 13], self.0, 13);
        while rest > 0 || at == 13 {
            at -= 1;
            text[at] = DIGITS[(rest % 36) as usize];
            rest /= 36;
        }
        f.write_str(std::str::from_utf8(&text[at..]).unwrap_or_default())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(time in any::<u64>(), offset in any::<u64>(), room in "[a-z.~:\"\\\\é]{1,20}") {
            let room = Room::parse(&room).unwrap();
            let position = Position::new(Epoch::new("5a.c0ffee"), offset);
            let (epoch, after) = (position.epoch.clone(), 0);
            let batch = Batch { room: room.clone(), epoch, after, offset, events: Vec::new() };
            let mut json = Vec::new();
            StreamOffset::write_json(&batch, offset, time, &mut json);
            let text: String = serde_json::from_slice(&json).unwrap();
            prop_assert_eq!(StreamOffset::parse(&text), Some(StreamOffset { time, position, room }));
        }
    }

    #[test]
    fn anything_else_is_none() {
        for text in ["", "abc", "1~2~e", "1~2~e~", "!~2~e~a", "1~2~e~a b", "zzzzzzzzzzzzzzzzz~1~e~a"] {
            assert_eq!(StreamOffset::parse(text), None, "{text}");
        }
    }
}
