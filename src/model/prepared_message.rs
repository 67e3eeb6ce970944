//! Messages that need no dialect any more.

use bytes::Bytes;

/// A message that a dialect has written already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PreparedMessage {
    /// UTF-8.
    Text(Box<str>),
    /// Bytes.
    Binary(Bytes),
}
