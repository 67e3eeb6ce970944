//! Forgetting what this process keeps of a room or a user.

use std::{sync::Arc, time::Duration};

use super::{MemoryBroker, ready};
use crate::{
    broker::{Answer, Erasure},
    model::{Deletion, Room},
};

/// What has the memory broker forget.
pub struct MemoryErasure(pub Arc<MemoryBroker>);

impl MemoryErasure {
    /// The rooms in which there is an event of a user that is to go with it.
    fn rooms_of_author(&self, user: &str) -> Vec<Room> {
        let mut rooms = Vec::new();
        for slot in &self.0.slots {
            slot.sweep(&self.0.ledger, |room, state| {
                if state.has_event_to_erase(user) {
                    rooms.push(room.clone());
                }
            });
        }
        rooms
    }
}

impl Erasure for MemoryErasure {
    fn forget_room<'a>(&'a self, room: &'a Room) -> Answer<'a, bool> {
        ready(Ok(self.0.slot(room).begin_anew(room, &self.0.ledger, &self.0.policies.load())))
    }

    fn delete_event<'a>(&'a self, room: &'a Room, deletion: &'a Deletion) -> Answer<'a, bool> {
        let policy = self.0.policies.load().of(room);
        let (log, part) = policy.log_of(room).map_or((room, None), |log| (log, Some(room)));
        let mut done = false;
        self.0.enter_known(log, |_, state| done = state.delete_event(deletion, part));
        ready(Ok(done))
    }

    fn forget_user<'a>(&'a self, user: &'a str, own: &'a [Room]) -> Answer<'a, Vec<Room>> {
        // Its connections give their places back when they end; idempotency keys and sessions end by themselves.
        self.0.acks.forget(user);
        for room in own {
            self.0.slot(room).begin_anew(room, &self.0.ledger, &self.0.policies.load());
            self.0.users.take(room.as_str(), (self.0.clock)());
        }
        ready(Ok(self.rooms_of_author(user)))
    }

    fn note_author<'a>(&'a self, _: &'a Room, _: &'a str) -> Answer<'a, ()> {
        // Its logs are in this process: they are looked through.
        ready(Ok(()))
    }

    fn forget_author<'a>(&'a self, _: &'a Room, _: &'a str, _: Duration) -> Answer<'a, ()> {
        ready(Ok(()))
    }
}
