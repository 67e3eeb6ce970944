//! Decodes what stands for binary data that came beside a message.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Fields, NativeDecodeError};
use crate::model::Payload;

impl Fields<'_> {
    /// The part that `data` stands for as a whole.
    pub(super) fn binary_part(data: &RawValue, parts: &[Bytes]) -> Result<Payload, NativeDecodeError> {
        #[derive(Deserialize)]
        struct Placeholder {
            _placeholder: bool,
            num: usize,
        }
        let placeholder = serde_json::from_str::<Placeholder>(data.get()).ok().filter(|found| found._placeholder);
        match placeholder.and_then(|found| parts.get(found.num)) {
            Some(bytes) if parts.len() == 1 => Ok(Payload::Binary(bytes.clone())),
            _ => Err(NativeDecodeError::new("binary data is accepted only as the whole of data, not inside of it")),
        }
    }
}
