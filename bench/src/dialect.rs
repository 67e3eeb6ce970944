//! What receivers speak: where a WebSocket of it is opened, what it offers, and what its rooms are called.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::trip;

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
}

impl Dialect {
    /// Where a WebSocket of it is opened.
    pub(crate) fn target(self) -> String {
        match self {
            Self::Native | Self::Trips => "/ws".to_owned(),
            Self::Socketio => SOCKETIO.to_owned(),
            // All receivers are in one session.
            Self::LivePolls => format!("{SOCKETIO}&sessionId=bench-0"),
        }
    }

    /// The subprotocols that it offers. The pod speaks `roomcast.v1` on any path, if a client offers it.
    pub(crate) fn subprotocols(self) -> &'static [&'static str] {
        match self {
            Self::Native => &["roomcast.v1"],
            Self::Socketio | Self::LivePolls | Self::Trips => &[],
        }
    }

    /// Whether the server speaks first, and what it says is answered.
    pub(crate) fn is_socketio(self) -> bool {
        matches!(self, Self::Socketio | Self::LivePolls)
    }

    /// What is said to get into a room once the connection is open.
    pub(crate) fn subscribe(self, room: u32) -> Vec<String> {
        match self {
            // The id repeats itself, so that compression makes even this message smaller.
            Self::Native => vec![format!(
                r#"{{"type":"subscribe","room":"{}","id":"bench-bench-bench-bench-bench-bench-bench-bench"}}"#,
                room_name(room)
            )],
            Self::Socketio => vec![format!(r#"420["subscribe",{{"room":"{}"}}]"#, room_name(room))],
            Self::LivePolls => Vec::new(),
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
            Self::Native | Self::Socketio => room_name(room),
            Self::LivePolls => format!("session:bench-{room}"),
            Self::Trips => trip::channel(room),
        }
    }
}

/// The name of a room of the native dialect, and of Socket.IO.
pub(crate) fn room_name(room: u32) -> String {
    format!("bench:{room}")
}
