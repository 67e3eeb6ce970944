//! A room's stream on a worker: its members, and how a batch becomes one frame that they share.
//!
//! Nothing happens for each receiver but the TLS record and the write. Always holds: a room's fan-outs begin in the order of its log and never
//! overlap; a frame contains nothing of its receiver.

pub mod admission;
pub mod broadcast;
pub mod chain;
pub mod client_window;
pub mod deflate_budget;
pub mod encoder;
pub mod fan_out;
pub mod fan_outs;
pub mod frame;
pub mod joins;
pub mod members;
pub mod range;
pub mod room;
pub mod room_chain;
pub mod room_index;
pub mod room_ledger;
pub mod room_stream;
pub mod room_window;
pub mod rooms;
pub mod shared_windows;
pub mod signal_share;
pub mod stream_driver;
pub mod stream_effect;
pub mod subscription;
pub mod walk;
pub mod window_mark;
pub mod window_worth;
