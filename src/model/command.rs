//! What a client asks for.

use bytes::Bytes;

use super::{Epoch, Offset, Payload, Room, Token};

/// A command's `id` as the client wrote it (a JSON string or number, at most 128 bytes); its reply carries the same
/// text.
pub type CommandId = Box<str>;

/// Where a client stopped: it wants what followed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

/// Which of the ways in which a dialect lets its clients spell a room's name one of them used: what it is told of the room
/// is spelt like that. 0 is the name itself.
pub type Spelling = u8;

/// A decoded message of a client, in no dialect's spelling.
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
    },
    /// Asks who is in a room.
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
        /// The most events wanted.
        limit: Option<usize>,
    },
    /// Says up to where the client has worked through a room.
    Ack {
        /// The room.
        room: Room,
        /// The offset.
        offset: Offset,
    },
    /// Replaces the token of a live connection.
    Refresh {
        /// The token.
        token: Token,
    },
    /// Asks for a sign of life.
    Ping,
    /// Wants nothing: a sign of life.
    Heard,
    /// Asks what the connection moved.
    Stats,
    /// Asks for nothing that concerns rooms: the dialect itself knows the answer.
    Answer(Vec<Said>),
}

/// One message that a dialect says in answer to another, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// UTF-8.
    Text(Box<str>),
    /// Bytes.
    Binary(Bytes),
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
