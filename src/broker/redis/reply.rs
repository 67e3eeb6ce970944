//! What a script answered, element by element.

use bytes::Bytes;
use fred::interfaces::Resp3Frame;

/// An answer that is not what the script gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not what the script gives")]
pub(super) struct Unexpected;

/// The elements of an answer, in order.
#[derive(Debug)]
pub(super) struct Fields(std::vec::IntoIter<Resp3Frame>);

impl Fields {
    pub(super) fn of(frame: Resp3Frame) -> Result<Self, Unexpected> {
        match frame {
            Resp3Frame::Array { data, .. } => Ok(Self(data.into_iter())),
            _ => Err(Unexpected),
        }
    }

    /// The next element, if there is one.
    pub(super) fn next_bytes(&mut self) -> Option<Result<Bytes, Unexpected>> {
        self.0.next().map(bytes_of)
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, Unexpected> {
        self.next_bytes().unwrap_or(Err(Unexpected))
    }

    pub(super) fn text(&mut self) -> Result<String, Unexpected> {
        text_of(self.bytes()?)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> Result<Vec<String>, Unexpected> {
        self.0.by_ref().map(|frame| text_of(bytes_of(frame)?)).collect()
    }

    pub(super) fn number(&mut self) -> Result<u64, Unexpected> {
        match self.0.next().ok_or(Unexpected)? {
            Resp3Frame::Number { data, .. } => u64::try_from(data).map_err(|_| Unexpected),
            other => text_of(bytes_of(other)?)?.parse().map_err(|_| Unexpected),
        }
    }
}

pub(super) fn bytes_of(frame: Resp3Frame) -> Result<Bytes, Unexpected> {
    match frame {
        Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. } => Ok(data),
        _ => Err(Unexpected),
    }
}

pub(super) fn text_of(bytes: Bytes) -> Result<String, Unexpected> {
    String::from_utf8(bytes.into()).map_err(|_| Unexpected)
}
