#![doc = include_str!("../README.md")]
//!
//! # Invariants
//! - A request is answered once, with a session or a status.
//! - A session ends with its connection, which carries no other session.
//! - What a client opens beyond its one stream of commands is never read, and is bounded by the windows.

mod address_validation;
mod connection_ids;
mod deflate_chunks;
mod endpoint;
mod error;
mod handshake;
mod messages;
mod session;
mod stray_packets;
mod unread;

pub use address_validation::{AddressValidation, AmplificationGuard, PendingHandshake, ValidatedAddress};
pub use connection_ids::{
    CONNECTION_ID_LENGTH, ConnectionIdKeyError, ConnectionIdKeys, ConnectionOrigin, SECRET_LENGTH,
    pod_in_connection_ids,
};
pub use deflate_chunks::{STREAM_END, write_chunk};
pub use endpoint::{EndpointSettings, bind, server_config};
pub use error::HandshakeError;
pub use handshake::{ClientRequest, PeerStream, Request, read_peer_stream};
pub use messages::{MessageLengthError, MessageReader, write_message};
pub use session::{DATAGRAM_PREFIX, SendState, Session, write_some};
pub use stray_packets::{Neighbours, StrayPacket, endpoint_config};
