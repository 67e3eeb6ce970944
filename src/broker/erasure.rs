//! Forgetting what the broker keeps: of a room, of an event, and of a user.
//!
//! Never decides whether it may be forgotten. Always holds: repeating it is harmless; what is told meanwhile begins anew, so that a
//! position of before is never one of after.

use std::time::Duration;

use super::Answer;
use crate::model::{Deletion, Room};

/// What forgets.
pub trait Erasure: Send + Sync {
    /// Forgets the log, the retained values and the position of a room that has a log of its own; its members stay. Whether there was
    /// anything.
    fn forget_room<'a>(&'a self, room: &'a Room) -> Answer<'a, bool>;
    /// Takes what an event says out of the log of `room`, or of the one that it shares, and out of its retained values. Whether the log has
    /// such an event, or had it and it is deleted, or there was such a value.
    fn delete_event<'a>(&'a self, room: &'a Room, deletion: &'a Deletion) -> Answer<'a, bool>;
    /// Forgets what is kept under a user's name: what it has read, its places, its idempotency keys, its sessions. `own`: rooms that are about
    /// this user alone, which are forgotten with the record of its presence. The rooms in which it is noted as an author, or has a value that
    /// is to go with it.
    fn forget_user<'a>(&'a self, user: &'a str, own: &'a [Room]) -> Answer<'a, Vec<Room>>;
    /// Has what a user wrote in others' rooms go from beyond their logs, as their policies say, and their members told: behind
    /// [`forget_user`](Self::forget_user), and behind what the logs have of it.
    fn forget_beyond<'a>(&'a self, _user: &'a str) -> Answer<'a, ()> {
        // Most have nothing there.
        Box::pin(std::future::ready(Ok(())))
    }
    /// Notes that a user publishes in a room, for as long as the room's log could have an event of it; to be repeated in each eighth of
    /// that time.
    fn note_author<'a>(&'a self, room: &'a Room, user: &'a str) -> Answer<'a, ()>;
    /// A room's log has no event any more that a user published longer ago than `since`.
    fn forget_author<'a>(&'a self, room: &'a Room, user: &'a str, since: Duration) -> Answer<'a, ()>;
}
