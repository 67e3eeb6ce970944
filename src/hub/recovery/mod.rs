//! What a client missed: read once, filtered, encoded once, however many ask.
//!
//! Never gives a part: a client gets all that it missed, or none of it and is told so. Always holds: what is kept for others that ask the
//! same is on the pod's account, and only for a moment.

pub mod brief;
pub mod cache;
pub mod event_index;
pub mod plan;
pub mod turns;
