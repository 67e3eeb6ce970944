//! Forgetting what the broker keeps: of a room, and of a user.
//!
//! Never decides whether it may be forgotten. Always holds: repeating it is harmless; what is told meanwhile begins anew, so that a
//! position of before is never one of after.

use super::Answer;
use crate::model::Room;

/// What forgets.
pub trait Erasure: Send + Sync {
    /// Forgets the log, the retained values and the position of a room that has a log of its own; its members stay. Whether there was
    /// anything.
    fn forget_room<'a>(&'a self, room: &'a Room) -> Answer<'a, bool>;
    /// Forgets what is kept under a user's name: what it has read, its places, its idempotency keys, its sessions. `own`: rooms that are about
    /// this user alone, which are forgotten with the record of its presence.
    fn forget_user<'a>(&'a self, user: &'a str, own: &'a [Room]) -> Answer<'a, ()>;
}
