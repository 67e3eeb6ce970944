//! The answer of a script, element by element.

use bytes::Bytes;
use fred::interfaces::Resp3Frame;

/// The answer is none that the script gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not what the script gives")]
pub(super) struct ReplyError;

/// The elements of an answer, in order.
#[derive(Debug)]
pub(super) struct ReplyFields(std::vec::IntoIter<Resp3Frame>);

impl ReplyFields {
    pub(super) fn of(frame: Resp3Frame) -> Result<Self, ReplyError> {
        match frame {
            Resp3Frame::Array { data, .. } => Ok(Self(data.into_iter())),
            _ => Err(ReplyError),
        }
    }

    /// The next element, if there is one.
    pub(super) fn next_bytes(&mut self) -> Option<Result<Bytes, ReplyError>> {
        self.0.next().map(bytes_of)
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, ReplyError> {
        self.next_bytes().unwrap_or(Err(ReplyError))
    }

    pub(super) fn text(&mut self) -> Result<String, ReplyError> {
        text_of(self.bytes()?)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> Result<Vec<String>, ReplyError> {
        self.0.by_ref().map(|frame| text_of(bytes_of(frame)?)).collect()
    }

    pub(super) fn number(&mut self) -> Result<u64, ReplyError> {
        match self.0.next().ok_or(ReplyError)? {
            Resp3Frame::Number { data, .. } => u64::try_from(data).map_err(|_| ReplyError),
            other => text_of(bytes_of(other)?)?.parse().map_err(|_| ReplyError),
        }
    }
}

pub(super) fn bytes_of(frame: Resp3Frame) -> Result<Bytes, ReplyError> {
    match frame {
        Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. } => Ok(data),
        _ => Err(ReplyError),
    }
}

pub(super) fn text_of(bytes: Bytes) -> Result<String, ReplyError> {
    String::from_utf8(bytes.into()).map_err(|_| ReplyError)
}
