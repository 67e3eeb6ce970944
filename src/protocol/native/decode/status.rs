//! Decodes `status`.

use super::{Fields, NativeDecodeError, wrong_type};
use crate::model::{Command, StatusChange, UserStatus, UserStatusError};

impl Fields<'_> {
    pub(super) fn status(&self) -> Result<Command, NativeDecodeError> {
        let known = |word: &str| word.parse::<UserStatus>().map_err(|error: UserStatusError| error.to_string());
        let chosen = self.status.optional_text("status")?.map(|word| known(&word)).transpose();
        let chosen = chosen.map_err(NativeDecodeError::new)?;
        let hidden = self.hidden.given().map(|raw| match raw.get() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(wrong_type("hidden", "true or false", raw)),
        });
        let change = StatusChange { chosen, hidden: hidden.transpose()? };
        if change == StatusChange::default() {
            return Err(NativeDecodeError::new("status is missing: it must be online, away, busy or offline"));
        }
        Ok(Command::Status(change))
    }
}
