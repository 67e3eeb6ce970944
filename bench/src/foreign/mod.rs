//! The languages of servers of others, as one of their clients in one room speaks them: a file each, without I/O.
//!
//! Owns nothing: a client hands in bytes, and gets back what they say first and how many of them that took. Always holds: the data of an
//! event, or of a delta, are the bytes that came.

use serde::{Deserialize, Serialize};

mod centrifugo;
pub(crate) mod fossil;
mod mercure;
mod nats;
mod protobuf;
mod socketio;
pub(crate) mod utterance;

use utterance::Utterance;

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Foreign {
    /// Centrifugo's client protocol in JSON.
    Centrifugo,
    /// The same in Protocol Buffers, with deltas.
    CentrifugoDeltas,
    /// Socket.IO over a WebSocket, to `bench/peers/socketio/server.mjs`.
    Socketio,
    /// nchan over a WebSocket: the room stands in the request, a message is an event's data.
    Nchan,
    /// The protocol of NATS over a WebSocket.
    Nats,
    /// Mercure: server-sent events.
    Mercure,
}

impl Foreign {
    /// The path and query that a client of this room asks for.
    pub(crate) fn target(self, room: &str) -> String {
        match self {
            Self::Centrifugo => "/connection/websocket".to_owned(),
            Self::CentrifugoDeltas => "/connection/websocket?cf_protocol=protobuf".to_owned(),
            Self::Socketio => "/socket.io/?EIO=4&transport=websocket".to_owned(),
            Self::Nchan => format!("/sub?id={room}"),
            Self::Nats => "/".to_owned(),
            Self::Mercure => format!("/.well-known/mercure?topic={room}"),
        }
    }

    /// Whether the answer is a stream of server-sent events and not a WebSocket.
    pub(crate) fn is_event_stream(self) -> bool {
        self == Self::Mercure
    }

    /// What a client says first; nothing where the request has said it, or where the server begins.
    pub(crate) fn hello(self, room: &str) -> Option<String> {
        match self {
            Self::Centrifugo => Some(centrifugo::hello(room)),
            Self::CentrifugoDeltas => Some(protobuf::hello(room)),
            Self::Nats => Some(nats::hello(room)),
            Self::Socketio | Self::Nchan | Self::Mercure => None,
        }
    }

    /// What these bytes say first, and how many of them that takes; `None`: it is not all there. Bytes of a WebSocket are a whole
    /// message, except those of NATS.
    pub(crate) fn first<'a>(self, bytes: &'a [u8], room: &str) -> Option<(usize, Utterance<'a>)> {
        match self {
            Self::Centrifugo => Some(centrifugo::first(bytes)),
            Self::CentrifugoDeltas => Some(protobuf::first(bytes)),
            Self::Socketio => Some((bytes.len(), socketio::hear(bytes, room))),
            Self::Nchan => Some((bytes.len(), std::str::from_utf8(bytes).map_or(Utterance::Wrong, Utterance::Event))),
            Self::Nats => nats::first(bytes),
            Self::Mercure => mercure::first(bytes),
        }
    }
}
