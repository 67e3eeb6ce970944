//! Positions of events in logs.

use std::{fmt, sync::Arc};

/// An event's number in its room, from 1; 0 means "before the first event". Stays below 2^53, so that a JavaScript
/// number holds it.
pub type Offset = u64;

/// The largest offset, 2^53 - 1.
pub const MAX_OFFSET: Offset = (1 << 53) - 1;

/// The opaque name of one unbroken history of a room's log. It changes whenever events were lost or rolled back, so that an epoch
/// and an offset never name two different events.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// An epoch that a broker made or a client sent. Keeps at most 64 bytes: a longer text is no epoch of ours, and matches none.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut end = text.len().min(64);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self(text[..end].into())
    }

    /// The epoch of unlogged events. No log has it.
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::default())
    }

    /// Whether it is the epoch of unlogged events.
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

impl serde::Serialize for Epoch {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Epoch {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(&std::borrow::Cow::<str>::deserialize(deserializer)?))
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
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// The epoch of the log.
    pub epoch: Epoch,
    /// The offset in that epoch.
    pub offset: Offset,
}

impl Position {
    /// The position of an epoch and an offset.
    #[must_use]
    pub fn new(epoch: Epoch, offset: Offset) -> Self {
        Self { epoch, offset }
    }
}
