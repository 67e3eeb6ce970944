//! Messages of the pod to one connection.

use std::sync::Arc;

use super::{Epoch, Event, Offset, Payload, Position, PreparedMessage, Receipt, Room, UnixMillis, Unread};

/// The code of an `error` message. One table: `docs/PROTOCOL.md` is checked against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The message is not JSON, or not an object, or a field is missing or of the wrong type.
    BadRequest,
    /// The `type` is unknown.
    UnknownCommand,
    /// The room's name breaks a rule.
    BadRoom,
    /// The room's policy or the token does not allow it.
    Forbidden,
    /// The command needs a user and the connection has none, or the token was refused.
    Unauthorized,
    /// The connection is not in that room.
    NotSubscribed,
    /// The connection is already in that room.
    AlreadySubscribed,
    /// The backend has taken the connection out of the room.
    Removed,
    /// A limit of the connection (rooms, message size, key length) is reached.
    LimitExceeded,
    /// Too many commands a second.
    RateLimited,
    /// The idempotency key is that of another event.
    Conflict,
    /// The position is beyond the log's end, or of a log that is over.
    BadPosition,
    /// The room's policy has this switched off (presence, history).
    NotAvailable,
    /// The broker could not take the command; it was not carried out.
    Unavailable,
    /// The broker did not answer in time: the command may or may not have been carried out.
    Unknown,
    /// The backend did not answer a call in time: it may or may not have been carried out.
    Deadline,
    /// The backend's answer to a call is none: the call may or may not have been carried out.
    Failed,
}

impl ErrorCode {
    /// Every code, in the order of the table.
    pub const ALL: [Self; 17] = [
        Self::BadRequest,
        Self::UnknownCommand,
        Self::BadRoom,
        Self::Forbidden,
        Self::Unauthorized,
        Self::NotSubscribed,
        Self::AlreadySubscribed,
        Self::Removed,
        Self::LimitExceeded,
        Self::RateLimited,
        Self::Conflict,
        Self::BadPosition,
        Self::NotAvailable,
        Self::Unavailable,
        Self::Unknown,
        Self::Deadline,
        Self::Failed,
    ];

    /// The text on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::UnknownCommand => "unknown_command",
            Self::BadRoom => "bad_room",
            Self::Forbidden => "forbidden",
            Self::Unauthorized => "unauthorized",
            Self::NotSubscribed => "not_subscribed",
            Self::AlreadySubscribed => "already_subscribed",
            Self::Removed => "removed",
            Self::LimitExceeded => "limit_exceeded",
            Self::RateLimited => "rate_limited",
            Self::Conflict => "conflict",
            Self::BadPosition => "bad_position",
            Self::NotAvailable => "not_available",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
            Self::Deadline => "deadline",
            Self::Failed => "failed",
        }
    }
}

/// The limits that `welcome` tells a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Limits {
    /// The largest message that the client may send, in bytes after decompression.
    pub max_message_bytes: usize,
    /// The most rooms on one connection.
    pub max_rooms: usize,
    /// Commands a second that the token bucket refills.
    pub commands_per_second: u32,
    /// The most commands in one burst.
    pub command_burst: u32,
}

/// One member of a room.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Member {
    /// The connection.
    pub connection: Arc<str>,
    /// Its user, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
}

/// The members of a room: at most 1,000 of them, and their number.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct PresenceList {
    /// Some or all of the members.
    pub members: Vec<Member>,
    /// The number of all members.
    pub total: usize,
}

/// The statistics of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// The transport.
    pub transport: &'static str,
    /// The dialect.
    pub dialect: Arc<str>,
    /// Whether TLS ends at this pod.
    pub tls: bool,
    /// The compression of its broadcasts, if there is one.
    pub compression: Option<&'static str>,
    /// The age of the connection, in milliseconds.
    pub connected_ms: u64,
    /// The rooms that it is in.
    pub rooms: usize,
    /// Messages from the client.
    pub messages_in: u32,
    /// Bytes from the client, framing included.
    pub bytes_in: u64,
    /// Frames to the client.
    pub frames_out: u32,
    /// Bytes to the client, framing included.
    pub bytes_out: u64,
    /// The same without compression.
    pub bytes_plain: u64,
}

/// A message to one connection. Anything that goes to a whole room is a [`super::Batch`] instead.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The first message of a connection.
    Welcome {
        /// The connection's name.
        connection: Arc<str>,
        /// Milliseconds of silence after which the client should ping.
        ping_interval_ms: u64,
        /// What the client may do.
        limits: Limits,
    },
    /// The connection is in the room; following events continue from `position`.
    Subscribed {
        /// The room.
        room: Room,
        /// The position that the following events continue from.
        position: Position,
        /// Whether all events since the client's position follow.
        recovered: bool,
    },
    /// The connection has left the room.
    Unsubscribed {
        /// The room.
        room: Room,
        /// Why, where the client did not ask for it.
        code: Option<ErrorCode>,
    },
    /// The event is in the log.
    Published(Position),
    /// The events in (`after`, `offset`] are missing, and will not be sent.
    Gap {
        /// The room.
        room: Room,
        /// The epoch of `offset`.
        epoch: Epoch,
        /// The last offset before the gap.
        after: Offset,
        /// The last offset that is missing.
        offset: Offset,
    },
    /// The answer to `presence`.
    Presence {
        /// The room.
        room: Room,
        /// The members.
        list: PresenceList,
    },
    /// The answer to `history`.
    History {
        /// The room.
        room: Room,
        /// The room's epoch.
        epoch: Epoch,
        /// The offset that the events continue from.
        after: Offset,
        /// The last offset that the answer covers.
        offset: Offset,
        /// Whether nothing between `since` and the first event is missing.
        complete: bool,
        /// The events, oldest first.
        events: Vec<Arc<Event>>,
    },
    /// The answer to `unread`, and what a user's connections are told when the user has read on one of them.
    Unread {
        /// How far the user has read in each, and how much there is behind.
        rooms: Vec<Unread>,
    },
    /// Others have read what the user of the connection wrote.
    Receipts {
        /// One for each room and reader.
        receipts: Vec<Receipt>,
    },
    /// The answer to `ack` and `refresh`: done.
    Done {
        /// When the new token expires, for `refresh`.
        expires_at: Option<UnixMillis>,
    },
    /// The backend's answer to `rpc`.
    Result {
        /// What it says, if anything.
        data: Option<Payload>,
    },
    /// The answer to `ping`.
    Pong,
    /// The answer to `stats`.
    Stats(Stats),
    /// The connection needs a newer token by this time.
    Refresh {
        /// When the connection is closed without one.
        expires_at: UnixMillis,
    },
    /// The pod stops: connect again after this time.
    Reconnect {
        /// Milliseconds to wait.
        after_ms: u64,
    },
    /// The dialect's own answer.
    Answer(Vec<PreparedMessage>),
    /// A command was refused.
    Error {
        /// The code.
        code: ErrorCode,
        /// What was wrong, where, and what to do.
        message: String,
        /// The room that was refused: the answers to one `subscribe` of several rooms share its id.
        room: Option<Room>,
    },
}
