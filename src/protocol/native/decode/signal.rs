//! Decodes `signal`.

use serde_json::value::RawValue;

use super::{Field, Fields, NativeDecodeError, wrong_type};
use crate::model::{Command, ErrorCode, Payload, Signal, check_topic, whole_number};

impl Fields<'_> {
    pub(super) fn signal(&self) -> Result<Command, NativeDecodeError> {
        let (room, topic) = (self.room.room()?, self.topic.text("topic")?);
        check_topic(&topic)?;
        if self.data64.given().is_some() {
            return Err(NativeDecodeError::new("a signal takes data (any JSON), not data64"));
        }
        // Here `"data": null` is as good as none.
        let data = self.data.given().map(data).transpose()?;
        Ok(Command::Signal { room, topic: topic.into(), data, ttl_ms: self.ttl.ttl()? })
    }
}

fn data(raw: &RawValue) -> Result<Payload, NativeDecodeError> {
    let (bytes, most) = (raw.get().len(), Signal::MAX_DATA);
    if bytes > most {
        let message = format!("the data of a signal has at most {most} bytes, this one has {bytes}");
        return Err(NativeDecodeError { code: ErrorCode::LimitExceeded, message });
    }
    Ok(Payload::json(raw.to_owned())?)
}

impl Field<'_> {
    fn ttl(self) -> Result<Option<u32>, NativeDecodeError> {
        let most = Signal::MAX_TTL_MS;
        let integer = |raw: &RawValue| {
            let ttl = whole_number(raw.get()).and_then(|ttl| u32::try_from(ttl).ok()).filter(|ttl| *ttl <= most);
            ttl.ok_or_else(|| wrong_type("ttl", &format!("milliseconds, an integer from 0 to {most}"), raw))
        };
        self.given().map(integer).transpose()
    }
}
