//! What receivers speak: where a WebSocket of it is opened, what it offers, and what its rooms are called.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::{foreign::Foreign, trip};

/// The path of a pod's Socket.IO.
const SOCKETIO: &str = "/socket.io/?EIO=4&transport=websocket";

/// What receivers speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dialect {
    /// `roomcast.v1`.
    Native,
    /// Socket.IO, with recovery on.
    Socketio,
    /// Socket.IO as a participant of the preset `live-polls`; its request names the room, so that it need not subscribe.
    #[value(skip)]
    LivePolls,
    /// The JSON messages of the preset `trips`.
    #[value(skip)]
    Trips,
    /// What a server of others speaks.
    #[value(skip)]
    Foreign(Foreign),
}

impl Dialect {
    /// Where a WebSocket of it is opened.
    pub(crate) fn target(self) -> String {
        match self {
            Self::Native | Self::Trips => "/ws".to_owned(),
            Self::Socketio => SOCKETIO.to_owned(),
            // All receivers are in one session.
            Self::LivePolls => format!("{SOCKETIO}&sessionId=bench-0"),
            Self::Foreign(language) => language.target(&room_name(0)),
        }
    }

    /// Where one is opened that is for this room alone, where the request names it.
    pub(crate) fn target_of(self, room: u32) -> Option<String> {
        match self {
            Self::Foreign(language) => Some(language.target(&room_name(room))),
            Self::Native | Self::Socketio | Self::LivePolls | Self::Trips => None,
        }
    }

    /// Whether a stream of server-sent events is asked for and not a WebSocket.
    pub(crate) fn is_event_stream(self) -> bool {
        matches!(self, Self::Foreign(language) if language.is_event_stream())
    }

    /// The subprotocols that it offers. The pod speaks `roomcast.v1` on any path, if a client offers it.
    pub(crate) fn subprotocols(self) -> &'static [&'static str] {
        match self {
            Self::Native => &["roomcast.v1"],
            Self::Socketio | Self::LivePolls | Self::Trips | Self::Foreign(_) => &[],
        }
    }

    /// Whether the server speaks first, and what it says is answered.
    pub(crate) fn is_socketio(self) -> bool {
        matches!(self, Self::Socketio | Self::LivePolls | Self::Foreign(Foreign::Socketio))
    }

    /// What is said to get into a room once the connection is open; nothing where the request has said it.
    pub(crate) fn subscribe(self, room: u32) -> Vec<String> {
        match self {
            // The id repeats itself, so that compression makes even this message smaller.
            Self::Native => vec![format!(
                r#"{{"type":"subscribe","room":"{}","id":"bench-bench-bench-bench-bench-bench-bench-bench"}}"#,
                room_name(room)
            )],
            Self::Socketio => vec![format!(r#"420["subscribe",{{"room":"{}"}}]"#, room_name(room))],
            Self::LivePolls => Vec::new(),
            Self::Foreign(language) => language.hello(&room_name(room)).into_iter().collect(),
            // A subscription is not answered. Commands are carried out in their order: with the pong it stands.
            Self::Trips => vec![
                format!(r#"{{"type":"subscribe","trip_id":"{}"}}"#, trip::id(room)),
                r#"{"type":"ping"}"#.to_owned(),
            ],
        }
    }

    /// The name of a room.
    pub(crate) fn room_name(self, room: u32) -> String {
        match self {
            Self::Native | Self::Socketio | Self::Foreign(_) => room_name(room),
            Self::LivePolls => format!("session:bench-{room}"),
            Self::Trips => trip::channel(room),
        }
    }
}

/// The name of a room of the native dialect, and of Socket.IO.
pub(crate) fn room_name(room: u32) -> String {
    format!("bench:{room}")
}
