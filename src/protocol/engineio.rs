//! Engine.IO, revision 4: packets over WebSocket messages or over the bodies of polling requests.
//!
//! Owns the spelling of packets and payloads, of the `open` packet, of a session's name, and what a request's query asks
//! for. Pure: no I/O, no clock, no rooms. Always holds: what is written here holds the record separator 0x1e only between
//! packets, because JSON text holds no such byte and binary data is base64.

mod binary_text;
mod endpoint;
mod packet;
mod payload;
mod plain;
mod query;
mod sid;

pub use endpoint::{Endpoint, Timing, Within};
pub use packet::{EngineioPacket, open, ping};
pub use payload::{SEPARATOR, packets, unframe, without_binary, write_payload};
pub use plain::Plain;
pub use query::{Asked, EngineError, Transport, wants_base64};
pub use sid::SessionKey;
