//! Decodes `rpc`.

use bytes::Bytes;

use super::{Fields, NativeDecodeError};
use crate::model::{Command, IdempotencyKey, MethodCall, Payload, check_name};

impl Fields<'_> {
    pub(super) fn call(&self, parts: &[Bytes]) -> Result<Command, NativeDecodeError> {
        let method = self.method.text("method")?;
        check_name("method", &method)?;
        let idempotency_key = self.idempotency_key.id_text("idempotency_key")?.map(IdempotencyKey::of_client);
        // `"data": null` is data, so absence alone counts here.
        let data = match (self.data.0, self.data64.given()) {
            (Some(data), None) if !parts.is_empty() => Some(Self::binary_part(data, parts)?),
            (Some(data), None) => Some(Payload::json(data.to_owned())?),
            (None, Some(_)) => Some(self.data64.base64("data64")?),
            (Some(_), Some(_)) => return Err(NativeDecodeError::new("rpc takes data or data64, not both")),
            (None, None) if parts.is_empty() => None,
            (None, None) => return Err(NativeDecodeError::new("rpc takes binary data as its data, and not beside it")),
        };
        Ok(Command::Call(MethodCall { method: method.into(), data, idempotency_key }))
    }
}
