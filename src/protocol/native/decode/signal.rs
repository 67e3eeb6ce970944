//! Decodes `signal`.

use serde_json::value::RawValue;

use super::{Field, Fields, NativeDecodeError, wrong_type};
use crate::model::{Command, Signal, check_topic};

impl Fields<'_> {
    pub(super) fn signal(&self) -> Result<Command, NativeDecodeError> {
        let (room, topic) = (self.room.room()?, self.topic.text("topic")?);
        check_topic(&topic)?;
        if self.data64.given().is_some() {
            return Err(NativeDecodeError::new("a signal takes data (any JSON), not data64"));
        }
        // Here `"data": null` is as good as none.
        let data = self.data.given().map(Signal::data_of).transpose()?;
        Ok(Command::Signal { room, topic: topic.into(), data, ttl_ms: self.ttl.ttl()? })
    }
}

impl Field<'_> {
    fn ttl(self) -> Result<Option<u32>, NativeDecodeError> {
        let most = Signal::MAX_TTL_MS;
        let integer = |raw: &RawValue| {
            Signal::ttl_of(raw.get())
                .ok_or_else(|| wrong_type("ttl", &format!("milliseconds, an integer from 0 to {most}"), raw))
        };
        self.given().map(integer).transpose()
    }
}
