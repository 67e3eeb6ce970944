//! Client wire formats: bytes to commands, batches to bytes. Pure: no I/O, no clock, no rooms.
//!
//! A new dialect is a file here that the pod mounts on its paths ([`Dialects::mount`]), or a `[[dialect]]` of the configuration
//! without any code.

mod described;
mod dialect;
mod dialects;
pub mod engineio;
mod http_answer;
mod http_mount;
mod message;
mod native;
mod opening;
pub mod socketio;
mod wire_format;

pub use described::Described;
pub use dialect::{Abilities, Dialect, PresenceChange};
pub use dialects::{Dialects, MountError};
pub use http_answer::HttpAnswer;
pub use http_mount::{HttpMount, PollParameters};
pub use message::{Message, MessageKind, Messages};
pub use native::{MAX_ID_BYTES, MAX_ROOMS_A_COMMAND, Native, SUBPROTOCOL};
pub use opening::{OpenOutcome, Opening, ServerPush};
pub use wire_format::{DialectId, Framing, WireFormat};
