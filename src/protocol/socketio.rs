//! Socket.IO, revision 5 of its protocol: what packets of type `message` hold.
//!
//! Owns the spelling of packets both ways, the putting together of binary ones, offsets, and the envelope that makes a
//! dialect of JSON arrays one of Socket.IO packets. Pure: no I/O, no clock, no rooms.

mod assembly;
mod envelope;
mod offset;
mod packet;
mod rooms;

pub use assembly::{Assembly, Heard};
pub use envelope::{Envelope, connect_error, connected, disconnect};
pub use offset::StreamOffset;
pub use packet::{Kind, SocketioPacket};
pub use rooms::Rooms;
