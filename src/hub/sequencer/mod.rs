//! A room's order: its events become batches, in the order of the log, and go to each worker that has members.
//!
//! Never knows a connection. Always holds: what a worker is told of a room covers its log without a hole, or contains a gap for what the log no
//! longer has.

pub mod batcher;
pub mod collector;
pub mod driver;
pub mod effect;
mod presence_driver;
pub mod room_sequencer;
mod sequence;
pub mod shared_log;
pub mod signal_board;
mod signal_driver;
pub mod update;
pub mod window_seat;
mod worker_lag;
pub mod worker_seats;
