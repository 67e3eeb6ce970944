//! Engine.IO, revision 4: packets over WebSocket messages or over the bodies of polling requests.
//!
//! Owns the spelling of packets and payloads, of the `open` packet, of a session's name, and what a request's query asks
//! for. Pure: no I/O, no clock, no rooms. Always holds: what is written here holds the record separator 0x1e only between
//! packets, because JSON text holds no such byte and binary data is base64.

mod packet;
mod payload;
mod plain;
mod query;
mod sid;

pub use packet::{BadPacket, Packet, open, ping};
pub use payload::{SEPARATOR, packets, unframe, write_payload};
pub use plain::Plain;
pub use query::{Asked, EngineError, Transport};
pub use sid::{SessionKey, SessionName};

use std::{sync::Arc, time::Duration};

use super::DialectId;

/// The name of the event stream's recovery, and how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two pings of the server.
    pub ping_interval: Duration,
    /// For the answer to a ping.
    pub ping_timeout: Duration,
    /// For a probed WebSocket to take over.
    pub upgrade_timeout: Duration,
    /// For the first namespace to be connected to.
    pub connect_timeout: Duration,
    /// How long after its end a session can be recovered; `None`: never.
    pub recovery: Option<Duration>,
}

/// Where Engine.IO is spoken, and what within it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The path, its trailing slash included.
    pub path: Box<str>,
    /// What packets of type `message` hold.
    pub within: Within,
    /// The most bytes of a client's message or request body.
    pub max_payload: usize,
    /// The times.
    pub timing: Timing,
    /// Whether permessage-deflate is agreed to.
    pub compress: bool,
}

/// What packets of type `message` hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Within {
    /// Messages of one dialect, as they are.
    Messages(DialectId),
    /// Socket.IO packets: the namespaces with what is spoken in each.
    SocketIo(Arc<[(Box<str>, DialectId)]>),
}

impl Endpoint {
    /// The dialect of connections that are in no namespace, or in the first.
    #[must_use]
    pub fn dialect(&self) -> DialectId {
        match &self.within {
            Within::Messages(dialect) => *dialect,
            Within::SocketIo(namespaces) => namespaces.first().map_or(DialectId::NATIVE, |(_, dialect)| *dialect),
        }
    }

    /// What is spoken in a namespace, if there is one of that name.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Option<DialectId> {
        match &self.within {
            Within::Messages(_) => None,
            Within::SocketIo(namespaces) => {
                namespaces.iter().find(|(known, _)| &**known == name).map(|(_, dialect)| *dialect)
            }
        }
    }
}
