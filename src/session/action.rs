//! What a session wants done about a message.
//!
//! Shapes only: the worker does it, or the request that brought the message.

use crate::model::{
    Disconnect, Epoch, ErrorCode, MethodCall, Offset, Payload, Publication, Reply, Room, Since, StatusChange,
    SubscribeTo, Token,
};

/// What the worker should do about a message.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// Answer at once.
    Reply(Reply),
    /// Verify a token, and go by it from now on.
    Authenticate(Token),
    /// Tell what the connection moved.
    Stats,
    /// Join rooms, each answered by itself.
    Subscribe(Vec<SubscribeTo>),
    /// Leave a room.
    Unsubscribe(Room),
    /// Publish, in the order of the connection's publishes.
    Publish(Room, Publication),
    /// Let the other members of a room know something for a moment.
    Signal {
        /// The room.
        room: Room,
        /// The topic.
        topic: Box<str>,
        /// What it says beside its topic.
        data: Option<Payload>,
        /// For how many milliseconds it is shown; 0 takes it back.
        ttl_ms: u32,
    },
    /// Change the status of the connection's user.
    Status(StatusChange),
    /// Delete an event, if its user published it.
    Delete {
        /// The room.
        room: Room,
        /// The epoch of the offset; `None`: the log's own.
        epoch: Option<Epoch>,
        /// The offset.
        offset: Offset,
    },
    /// Ask the backend to do something, and answer with what it says.
    Call(MethodCall),
    /// Nothing: a signal was beyond the connection's rate.
    DropSignal,
    /// Keep that the user has read so far.
    Ack {
        /// The room.
        room: Room,
        /// The epoch of the offset; `None`: the log's own.
        epoch: Option<Epoch>,
        /// The offset.
        offset: Offset,
    },
    /// Have authors told that a device has got what they wrote so far.
    Delivered {
        /// The room.
        room: Room,
        /// The epoch of the offset; `None`: the log's own.
        epoch: Option<Epoch>,
        /// The offset.
        offset: Offset,
    },
    /// Count what the user has not read, in these rooms too.
    Unread(Vec<Room>),
    /// Read a room's members.
    Presence(Room),
    /// Read a room's log.
    History {
        /// The room.
        room: Room,
        /// From where.
        since: Option<Since>,
        /// Before what.
        before: Option<Since>,
        /// At most this many events.
        limit: usize,
    },
    /// Close.
    Close(Disconnect),
}

impl Action {
    /// Refuses a command.
    pub(super) fn refuse(code: ErrorCode, message: impl Into<String>, room: Option<Room>) -> Self {
        Self::Reply(Reply::Error { code, message: message.into(), room })
    }
}
