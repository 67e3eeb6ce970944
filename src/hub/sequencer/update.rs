//! What a room's sequencer tells the room's stream on a worker, and what it carries.

use std::sync::Arc;

use crate::{hub::fanout::broadcast::Broadcast, model::Position};

/// One step of a room's stream, in order, from its sequencer to one worker.
#[derive(Debug, Clone)]
pub enum StreamUpdate {
    /// The worker is on the room's list: broadcasts continue from here.
    Placed(Position),
    /// Something to fan out.
    Broadcast(Arc<Broadcast>),
    /// The room stands here: a stream that stands before it lost broadcasts on the way.
    Head(Position),
    /// The log goes on under another epoch and lost nothing: one position has two names.
    Renamed {
        /// The old name.
        before: Position,
        /// The new one.
        now: Position,
    },
}
