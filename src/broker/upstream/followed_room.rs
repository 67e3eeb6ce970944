//! What is known of one room that an edge follows. Without I/O.

use std::{sync::Arc, time::Instant};

use super::tail::Tail;
use crate::model::{Epoch, Event, Offset, Policy, Position};

/// One room.
pub(super) struct FollowedRoom {
    pub(super) policy: Arc<Policy>,
    /// Whether the hub wants its deliveries; since when not.
    pub(super) left: Option<Instant>,
    /// The link that has it, and its number there.
    pub(super) link: Option<(usize, u32)>,
    /// Whether the home has said where it stands, over that link.
    pub(super) stands: bool,
    /// The last event that came, or where the home said that it stands.
    pub(super) last: Option<Position>,
    /// How far the home's answers to publishes have shown it to be: the tail must not answer before it has that.
    pub(super) known: Option<Position>,
    pub(super) tail: Option<Tail>,
    /// The last event that came and told of deleted ones.
    pub(super) deletion: Option<Offset>,
    /// Whether the room is in `RoomTable::tails`.
    pub(super) is_listed: bool,
    /// Whether the log has a line that the home refuses it.
    pub(super) is_refused: bool,
    /// One read of its log at a time.
    pub(super) gate: Arc<tokio::sync::Mutex<()>>,
}

impl FollowedRoom {
    /// One that goes over no link.
    pub(super) fn new(policy: Arc<Policy>) -> Self {
        Self {
            policy,
            left: None,
            link: None,
            stands: false,
            last: None,
            known: None,
            tail: None,
            deletion: None,
            is_listed: false,
            is_refused: false,
            gate: Arc::default(),
        }
    }

    /// Takes the next event. Returns by how many bytes the tail has grown.
    pub(super) fn take_event(&mut self, epoch: &Epoch, event: &Arc<Event>) -> isize {
        let covered = |known: &Position| known.epoch != *epoch || event.offset >= known.offset;
        if self.known.as_ref().is_some_and(covered) {
            self.known = None;
        }
        self.last = Some(Position::new(epoch.clone(), event.offset));
        if event.is_deletion() {
            self.deletion = Some(event.offset);
        }
        let before = self.tail.as_ref().map_or(0, Tail::bytes);
        let behind = || Tail::behind(Position::new(epoch.clone(), event.offset.saturating_sub(1)));
        let tail = self.tail.get_or_insert_with(behind);
        tail.push(epoch, event, &self.policy);
        // Both are bytes of memory.
        tail.bytes() as isize - before as isize
    }
}
