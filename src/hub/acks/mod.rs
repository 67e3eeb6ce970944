//! How far users have read: what waits to be kept, how it is kept, what a user has not read.
//!
//! Never on the way of an event. Always holds: an ack that was accepted is kept within `acks.every`, unless the pod dies before; what
//! waits is bounded, and the broker is asked in rounds, one at a time, whatever the number of clients.

pub mod ack_book;
pub mod ack_desk;
pub mod awaited;
pub mod awaited_acks;
pub mod delivered_book;
mod delivered_teller;
mod keeping;
mod left_untold;
mod read_change;
pub mod receipts;
pub mod rounds;
pub mod telling;
pub mod untold_reads;
