//! Where an event stands in its room's log.

use std::{fmt, sync::Arc};

/// An event's number in its room, from 1; 0 means "before the first event". Stays below 2^53, so that a JavaScript
/// number holds it.
pub type Offset = u64;

/// The largest offset, 2^53 - 1.
pub const MAX_OFFSET: Offset = (1 << 53) - 1;

/// An opaque name of one unbroken life of a room's log. It changes whenever history was lost or rolled back, so that no
/// epoch ever names two different events by one offset.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// Wraps an epoch that a broker made or a client sent. At most 64 bytes are kept of a client's: a longer one
    /// cannot be one of ours and will simply match nothing.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut end = text.len().min(64);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self(text[..end].into())
    }

    /// The epoch of what is in no log: no log's.
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::default())
    }

    /// Whether it is no log's.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({})", &self.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The position of an event in its room.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    /// The life of the log.
    pub epoch: Epoch,
    /// The number in it.
    pub offset: Offset,
}

impl Position {
    /// Puts the two together.
    #[must_use]
    pub fn new(epoch: Epoch, offset: Offset) -> Self {
        Self { epoch, offset }
    }
}
