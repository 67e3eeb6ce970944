//! The presence of users over their devices, in the whole fleet.
//!
//! Never knows a connection. Always holds: what is told of a user is decided in its record, which the broker replaces only if it
//! is still what it was decided from.

mod adopt;
mod attempts;
pub mod author_notes;
pub mod authors;
mod changed_hiding;
pub mod erase;
mod ghosts;
mod hiding;
mod look;
mod pod_watch;
mod pods_gone;
pub mod presence;
mod record;
mod registry;
mod seen_lapses;
mod settle;
pub mod user_writes;
