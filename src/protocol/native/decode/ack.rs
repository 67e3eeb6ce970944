//! Decodes `ack` and `unread`, and an offset.

use serde_json::value::RawValue;

use super::{Field, Fields, MAX_ROOMS_A_COMMAND, NativeDecodeError, string, wrong_type};
use crate::model::{Command, Epoch, ErrorCode, MAX_OFFSET, Offset, Progress, RawArray, Room, whole_number};

impl Fields<'_> {
    pub(super) fn ack(&self) -> Result<Command, NativeDecodeError> {
        let progress = match self.delivered.given().map(RawValue::get) {
            None | Some("false") => Progress::Read,
            Some("true") => Progress::Delivered,
            Some(_) => return Err(NativeDecodeError::new("delivered must be true or false")),
        };
        let epoch = self.epoch_or_own()?;
        Ok(Command::Ack { room: self.room.room()?, epoch, offset: self.offset.offset()?, progress })
    }

    /// The epoch of an offset; `None`: the log's own.
    pub(super) fn epoch_or_own(&self) -> Result<Option<Epoch>, NativeDecodeError> {
        let epoch = self.epoch.optional_text("epoch")?;
        if epoch.as_ref().is_some_and(|epoch| epoch.is_empty()) {
            return Err(NativeDecodeError::new("epoch must not be empty: leave it out for the room's own"));
        }
        Ok(epoch.map(|epoch| Epoch::new(&epoch)))
    }

    pub(super) fn unread(&self) -> Result<Command, NativeDecodeError> {
        let Some(rooms) = self.rooms.given() else { return Ok(Command::Unread { rooms: Vec::new() }) };
        let Ok(RawArray::<MAX_ROOMS_A_COMMAND>(entries)) = serde_json::from_str(rooms.get()) else {
            return Err(wrong_type("rooms", "an array of strings", rooms));
        };
        if entries.len() > MAX_ROOMS_A_COMMAND {
            let message = format!("rooms has at most {MAX_ROOMS_A_COMMAND} entries; ask in several steps");
            return Err(NativeDecodeError { code: ErrorCode::LimitExceeded, message });
        }
        let room = |(index, entry)| {
            let place = format!("rooms[{index}]");
            let bad_room = |message| NativeDecodeError { code: ErrorCode::BadRoom, message };
            Room::parse(&string(&place, entry)?).map_err(|error| bad_room(format!("{place}: {error}")))
        };
        Ok(Command::Unread { rooms: entries.into_iter().enumerate().map(room).collect::<Result<_, _>>()? })
    }
}

impl Field<'_> {
    pub(super) fn offset(self) -> Result<Offset, NativeDecodeError> {
        let expected = "an integer from 0 to 9007199254740991";
        let raw = self.required("offset", expected)?;
        let offset = whole_number(raw.get()).filter(|offset| *offset <= MAX_OFFSET);
        offset.ok_or_else(|| wrong_type("offset", expected, raw))
    }
}
