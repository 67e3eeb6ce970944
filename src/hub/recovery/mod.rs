//! What a client missed: read once, filtered, encoded once, however many ask.

pub mod brief;
pub mod cache;
pub mod event_index;
pub mod plan;
pub mod turns;
