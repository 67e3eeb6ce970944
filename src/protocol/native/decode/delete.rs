//! Decodes `delete`.

use super::{Fields, NativeDecodeError};
use crate::model::Command;

impl Fields<'_> {
    pub(super) fn delete(&self) -> Result<Command, NativeDecodeError> {
        Ok(Command::Delete { room: self.room.room()?, epoch: self.epoch_or_own()?, offset: self.offset.offset()? })
    }
}
