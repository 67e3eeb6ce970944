//! Forgetting what this process keeps of a room or a user.

use std::sync::Arc;

use super::{MemoryBroker, ready};
use crate::{
    broker::{Answer, Erasure},
    model::Room,
};

/// What has the memory broker forget.
pub struct MemoryErasure(pub Arc<MemoryBroker>);

impl Erasure for MemoryErasure {
    fn forget_room<'a>(&'a self, room: &'a Room) -> Answer<'a, bool> {
        ready(Ok(self.0.slot(room).begin_anew(room, &self.0.ledger, &self.0.policies.load())))
    }

    fn forget_user<'a>(&'a self, user: &'a str, own: &'a [Room]) -> Answer<'a, ()> {
        // Its connections give their places back when they end; idempotency keys and sessions end by themselves.
        self.0.acks.forget(user);
        for room in own {
            self.0.slot(room).begin_anew(room, &self.0.ledger, &self.0.policies.load());
            self.0.users.take(room.as_str(), (self.0.clock)());
        }
        ready(Ok(()))
    }
}
