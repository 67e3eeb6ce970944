//! How a reloaded policy reaches the rooms that are held: a slice of them at a time, because there may be very many.
//!
//! Never touches a room: what holds the rooms does, a worker or a sequencer. Always holds: each room that was held when the
//! policies changed is handed out once for each change.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{config::Policies, model::Room};

/// How long a slice may take.
const SLICE: Duration = Duration::from_millis(1);

/// How many rooms are looked at between two looks at the clock.
const STRIDE: usize = 64;

/// Rooms whose policy is still to be looked at.
#[derive(Debug, Default)]
pub struct PolicyReload {
    /// The policies that are applied, or were.
    seen: Option<Arc<Policies>>,
    rooms: Vec<Room>,
}

impl PolicyReload {
    /// Begins anew if the policies have changed. `rooms` are those that are held now.
    pub(crate) fn begin<'a>(&mut self, now: &Arc<Policies>, rooms: impl Iterator<Item = &'a Room>) {
        match &self.seen {
            Some(seen) if Arc::ptr_eq(seen, now) => return,
            // What is held at first was held under these.
            None => {}
            Some(_) => self.rooms = rooms.cloned().collect(),
        }
        self.seen = Some(Arc::clone(now));
    }

    /// Whether every room has been looked at.
    pub(crate) fn is_done(&self) -> bool {
        self.rooms.is_empty()
    }

    /// When a slice that begins now is over.
    #[must_use]
    pub fn slice_end() -> Instant {
        Instant::now() + SLICE
    }

    /// The next few rooms; none when all are done or the time is up.
    pub(crate) fn next(&mut self, deadline: Instant) -> Vec<Room> {
        if self.rooms.is_empty() || Instant::now() >= deadline {
            return Vec::new();
        }
        self.rooms.split_off(self.rooms.len().saturating_sub(STRIDE))
    }
}
