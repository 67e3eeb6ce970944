//! The commands of clients, decoded.

use super::{Epoch, IdempotencyKey, MethodCall, Offset, Payload, PreparedMessage, Progress, Room, StatusChange, Token};

/// A command's `id` as the client wrote it (a JSON string or number, at most 128 bytes); its reply carries the same
/// text.
pub type CommandId = Box<str>;

/// The position where a client stopped: it asks for the events behind it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Since {
    /// The epoch that the client had.
    pub epoch: Epoch,
    /// The last offset that it had.
    pub offset: Offset,
}

/// One room of a subscribe command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeTo {
    /// The room.
    pub room: Room,
    /// The position to continue from.
    pub since: Option<Since>,
    /// How the client spelt the room's name.
    pub spelling: Spelling,
}

/// The spelling of a room's name that a client used, of those that its dialect allows. Messages about the room repeat it. 0 is
/// the name itself.
pub type Spelling = u8;

/// A decoded message of a client, the same for every dialect.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Presents a token that did not come with the request.
    Connect {
        /// The token.
        token: Option<Token>,
    },
    /// Joins rooms.
    Subscribe(Vec<SubscribeTo>),
    /// Leaves a room.
    Unsubscribe {
        /// The room.
        room: Room,
        /// Whether it may be one that the pod put the connection in, unasked.
        unasked: bool,
    },
    /// Sends an event to a room.
    Publish {
        /// The room.
        room: Room,
        /// The topic.
        topic: Box<str>,
        /// The data.
        payload: Payload,
        /// The key.
        key: Option<Box<str>>,
        /// The client's own id of the event.
        event_id: Option<Box<str>>,
        /// What makes a repeated publish one event.
        idempotency_key: Option<IdempotencyKey>,
    },
    /// Lets the other members of a room know something for a moment.
    Signal {
        /// The room.
        room: Room,
        /// The topic.
        topic: Box<str>,
        /// What it says beside its topic.
        data: Option<Payload>,
        /// For how many milliseconds it is shown, 0 takes it back; `None`: for as long as the room's policy says.
        ttl_ms: Option<u32>,
    },
    /// Changes the status of the user.
    Status(StatusChange),
    /// Deletes an event.
    Delete {
        /// The room.
        room: Room,
        /// The epoch of the offset; `None`: the log's own now.
        epoch: Option<Epoch>,
        /// The offset.
        offset: Offset,
    },
    /// Asks the backend to do something.
    Call(MethodCall),
    /// Asks for the members of a room.
    Presence {
        /// The room.
        room: Room,
    },
    /// Asks for past events.
    History {
        /// The room.
        room: Room,
        /// The position that the answer continues from; `None`: the newest `limit` events.
        since: Option<Since>,
        /// Of these those before that position; not together with `since`.
        before: Option<Since>,
        /// The most events wanted.
        limit: Option<usize>,
    },
    /// Tells how far the client has processed a room's events.
    Ack {
        /// The room.
        room: Room,
        /// The epoch of the offset; `None`: the log's own now.
        epoch: Option<Epoch>,
        /// The offset.
        offset: Offset,
        /// Which of the two it has done with them.
        progress: Progress,
    },
    /// Asks how much its user has not read.
    Unread {
        /// Rooms beside those that the user has acknowledged in.
        rooms: Vec<Room>,
    },
    /// Replaces the token of a live connection.
    Refresh {
        /// The token.
        token: Token,
    },
    /// Asks for a sign of life.
    Ping,
    /// Nothing: a sign of life.
    Heard,
    /// Asks for the statistics of the connection.
    Stats,
    /// Nothing that concerns rooms: the dialect has the answer itself.
    Answer(Vec<PreparedMessage>),
}

/// A command with its id.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The `id` that the reply repeats.
    pub id: Option<CommandId>,
    /// The command.
    pub command: Command,
}

/// Why a message is no command: answered with `error`, never with a close (a flood of errors is another matter).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CommandError {
    /// The code on the wire.
    pub code: super::ErrorCode,
    /// What was wrong, where, and what to do.
    pub message: String,
    /// The command's id where it could be read.
    pub id: Option<CommandId>,
}
