//! A room's stream on a worker: its members, and how a batch becomes one frame that they share.

pub mod broadcast;
pub mod fan_out;
pub mod members;
pub mod room;
pub mod rooms;
pub mod subscription;
