//! How far users have read in rooms, and where the rooms stand.
//!
//! Never knows a connection. Always holds: what is kept of a user in a room only ever grows, as far as the positions are of one log;
//! what is kept is bounded, in rooms and in age. Repeating a call whose answer was lost is harmless.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use super::{Answer, BrokerError};
use crate::model::{Ack, Epoch, Offset, Position, Room};

/// What became of each part of a question.
pub type EachOf<'a, T> = Pin<Box<dyn Future<Output = Vec<Result<T, BrokerError>>> + Send + 'a>>;

/// How much is kept of one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AckBounds {
    /// The most rooms.
    pub rooms: usize,
    /// How long a room is kept in which the user reads nothing.
    pub age: Duration,
}

/// What became of an ack.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeptAck {
    /// Whether it is further than what was kept of its epoch.
    pub further: bool,
    /// What was kept before, of whatever epochs.
    pub before: Vec<Position>,
}

/// An ack of which authors were not told, a while after it was kept: the pod that kept it died, or is slow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UntoldAck {
    /// The user.
    pub user: Arc<str>,
    /// The room.
    pub room: Room,
    /// The user has read so far.
    pub read: Position,
    /// What was kept when authors were told last, of whatever epochs.
    pub before: Vec<Position>,
}

/// Where a room's log stands, and what it has of other epochs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Standing {
    /// The end of the log.
    pub end: Position,
    /// Of each epoch that was asked about, the last event that is this log's own; `None`: nothing is known of that epoch.
    pub reaches: Vec<Option<Offset>>,
}

impl Standing {
    /// The epoch of the log for a question about its own, whatever its name is.
    #[must_use]
    pub fn own() -> Epoch {
        Epoch::none()
    }

    /// How far was read in this log by these positions, in the order of the question.
    #[must_use]
    pub fn read(&self, positions: &[Position]) -> Option<Offset> {
        let read = |(position, reach): (&Position, &Option<Offset>)| match position.offset {
            // To have read nothing is the same in every log.
            0 => Some(0),
            offset => Some(offset.min((*reach)?)),
        };
        positions.iter().zip(&self.reaches).filter_map(read).max()
    }
}

/// What users have read.
pub trait Acks: Send + Sync {
    /// Where each of these rooms stands, and what its log has of the epochs beside it. A room of which nothing is known stands at 0.
    fn standings<'a>(&'a self, rooms: &'a [(Room, Vec<Epoch>)]) -> EachOf<'a, Standing>;
    /// As [`standings`](Self::standings), for a client that wants to know: it holds up nothing that is published.
    fn standings_for_reader<'a>(&'a self, rooms: &'a [(Room, Vec<Epoch>)]) -> EachOf<'a, Standing> {
        self.standings(rooms)
    }
    /// Keeps that users have read so far, and what authors are to be told of it or were told. A position of another epoch stands beside
    /// those that are kept, since only the room's log knows what it has of them: at most [`MAX_EPOCHS`].
    fn keep<'a>(&'a self, acks: &'a [Ack], bounds: AckBounds) -> EachOf<'a, KeptAck>;
    /// Acks of which authors should have been told so long ago, at most so many. From then on they count as this caller's for as long again.
    fn take_untold(&self, older: Duration, most: usize) -> Answer<'_, Vec<UntoldAck>>;
    /// What is kept of a user: each room with the positions, of different epochs.
    fn kept<'a>(&'a self, user: &'a str, bounds: AckBounds) -> Answer<'a, Vec<(Room, Vec<Position>)>>;
}

/// The most acks of a part of the users of which it is kept that authors are to be told. Of further ones authors are not told if their pod dies.
pub const MAX_UNTOLD: usize = 256;

/// How long it is kept that authors are to be told: while no pod is there.
pub const UNTOLD_AGE: Duration = Duration::from_secs(3_600);

/// The most positions of one user in one room: the newest epochs.
pub const MAX_EPOCHS: usize = 3;

/// Takes a position among those of other epochs, of which the oldest makes place where there are `most`. Whether it is further than before.
pub fn advance(positions: &mut Vec<Position>, position: &Position, most: usize) -> bool {
    if let Some(known) = positions.iter_mut().find(|known| known.epoch == position.epoch) {
        let further = position.offset > known.offset;
        known.offset = known.offset.max(position.offset);
        return further;
    }
    if positions.len() >= most {
        positions.remove(0);
    }
    positions.push(position.clone());
    true
}
