//! The steps of a compiled message, and the fields that its placeholders can name.

use crate::dialect::pointer::Pointer;

/// A step of writing a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Literal bytes.
    Bytes(Box<[u8]>),
    /// The value of a placeholder; `null` where it has none.
    Value(Placeholder),
    /// A string: text, escaped already, and placeholders.
    Text(Vec<Piece>),
    /// A member (with its name and colon) or an element, after a comma where one is due; left out where the placeholder has no
    /// value.
    Optional(Box<[u8]>, Placeholder),
    /// A comma, unless it would be the first in its object or array.
    Comma,
    /// The members of an object, and then the members that the object lacks.
    Spread(Placeholder, Vec<Lacking>),
}

/// A member that is written if an object has none of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// The name.
    pub name: Box<str>,
    /// The member, name and colon included.
    pub steps: Vec<Step>,
}

/// A piece of a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text, escaped for JSON.
    Text(Box<str>),
    /// The text of a placeholder; empty where it has none.
    Placeholder(Placeholder),
}

/// The fields of a placeholder: the first that has a value counts.
pub type Placeholder = Vec<Field>;

/// The format of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// RFC 3339, UTC.
    Rfc3339,
    /// Whole seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Millis,
}

/// A field that a placeholder can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// The time at which the message is written.
    Now(Clock),
    /// The room's name.
    Room,
    /// The part of the room's name behind the first colon, as this client spelt it.
    RoomId,
    /// The part of the room's name before the first colon.
    RoomNamespace,
    /// The room's epoch.
    Epoch,
    /// The offset of an event, or the last offset of a batch or a reply.
    Offset,
    /// The offset from which a batch, a gap or a history continues.
    After,
    /// An event's epoch and offset as one text.
    Position,
    /// The same of an event behind which a client goes on; a retained value is none.
    Since,
    /// An event's topic.
    Topic,
    /// An event's key.
    Key,
    /// An event's data, or a part of it.
    Data(Pointer),
    /// When the broker accepted an event.
    Time(Clock),
    /// An event's id, given by its publisher.
    EventId,
    /// The user that published an event, the user of a member, or the user of the connection.
    User,
    /// The events of a batch, as elements of one array.
    Events,
    /// The id of the command that is answered.
    Id,
    /// The id of the connection, or of a member.
    Connection,
    /// A parameter of the query of the connection's request.
    Query(Box<str>),
    /// A value of the claims of the connection's token.
    Claim(Pointer),
    /// Whether the events behind the one that the client named follow.
    Replayed,
    /// The longest silence that a client should allow itself, in milliseconds.
    PingInterval,
    /// Whether the missed events follow.
    Recovered,
    /// Whether a history is all that was asked for, to the end of the log.
    Complete,
    /// The code of an error, or the reason why a room was left.
    Code,
    /// The sentence of an error.
    Message,
    /// The members of a room, or those that joined or left: elements with `connection` and `user`.
    Members,
    /// The number of a room's members.
    Total,
    /// The time at which the token expires, in milliseconds since 1970.
    ExpiresAt,
    /// The time to wait before connecting again, in milliseconds.
    AfterMs,
    /// For how long a signal is shown, in milliseconds; 0: no longer.
    Ttl,
    /// The last offset of a room's log.
    End,
    /// The number of events that a user has not read.
    Unread,
    /// What was said to a client that fetches, as elements of one array.
    Messages,
    /// Where such a client stands.
    Cursor,
    /// What a `*` of the pattern of a request's path stands for, counted from 1.
    Path(usize),
}
