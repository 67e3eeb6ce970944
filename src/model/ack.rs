//! How far users have read in rooms.

use std::sync::Arc;

use super::{Offset, Position, Room};

/// Whether it is kept how far users have read in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AckMode {
    /// It is not.
    #[default]
    Off,
    /// It is, for each user.
    Keep,
    /// It is, and the authors of events are told of it.
    Receipts,
}

/// How far a user is with what others wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// A device of it has got it.
    Delivered,
    /// It has read it.
    Read,
}

/// What an author is told: a user has read the author's events in a room up to this one, or a device of it has got them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Receipt {
    /// Which of the two.
    pub progress: Progress,
    /// The room.
    pub room: Room,
    /// The user.
    pub user: Arc<str>,
    /// The author's last event of these.
    pub position: Position,
}

/// A user has read a room's events up to a position.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ack {
    /// The user.
    pub user: Arc<str>,
    /// The room.
    pub room: Room,
    /// The last event that it has read.
    pub position: Position,
    /// What authors are told of it.
    #[serde(default)]
    pub telling: Telling,
}

/// What the authors of events are told of an ack. Between keeping it and telling them a pod may die: what is due stands beside the ack until it
/// is told.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Telling {
    /// They are told nothing.
    #[default]
    Nothing,
    /// They are to be told, by the pod that keeps it or, if that dies, by another one.
    Due,
    /// They are not told, and not of what was due before either: the user keeps it to itself.
    Withheld,
    /// They were told of what lies between these positions, which were kept before, and this one.
    Told(Vec<Position>),
}

/// What a user has not read in a room.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Unread {
    /// The room.
    pub room: Room,
    /// The last event that the user has read, in the log as it is now.
    pub read: Position,
    /// The last event of the log.
    pub end: Offset,
}

impl Unread {
    /// The number of events behind the one that was read last.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.end.saturating_sub(self.read.offset)
    }
}

/// What the connections of one user are told, in the user's personal room. No log has it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The user has read in these rooms, on some device.
    Unread(Vec<Unread>),
    /// Others have read what the user wrote.
    Receipts(Vec<Receipt>),
}
