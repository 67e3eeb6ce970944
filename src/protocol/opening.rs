//! The beginning of a connection: what is known of it, and what its dialect does first.

use std::borrow::Cow;

use http::Uri;

use crate::{
    auth::Grant,
    model::{ErrorCode, Limits, Reply, Room, SubscribeTo},
};

/// What is known of a new connection.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// The connection's name.
    pub connection: &'a str,
    /// The path and query of its request. They may hold a token, so they are never repeated as a whole.
    pub target: &'a Uri,
    /// The rights of the connection.
    pub grant: &'a Grant,
    /// The `auth` of a Socket.IO client, as JSON.
    pub auth: Option<&'a str>,
    /// Milliseconds of silence after which the client should send a message.
    pub ping_interval_ms: u64,
    /// What the client may do.
    pub limits: Limits,
    /// Whether it goes on in the rooms of a cursor. A poll names its rooms each time, and applies its cursor to those.
    pub resumes: bool,
}

impl<'a> Opening<'a> {
    /// The first value of a name in the query, decoded (`application/x-www-form-urlencoded`).
    #[must_use]
    pub fn query(&self, name: &str) -> Option<Cow<'a, str>> {
        query(self.target, name)
    }

    /// The first message of the native protocol.
    #[must_use]
    pub fn welcome(&self) -> Reply {
        Reply::Welcome {
            connection: self.connection.into(),
            ping_interval_ms: self.ping_interval_ms,
            limits: self.limits,
        }
    }
}

/// The first value of a name in the query of a request, decoded (`application/x-www-form-urlencoded`).
#[must_use]
pub fn query<'a>(target: &'a Uri, name: &str) -> Option<Cow<'a, str>> {
    let query = target.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
}

/// What a dialect does first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenOutcome {
    /// The rooms that the connection joins without a command, under the rules of their policies. Each is answered as after a command.
    pub rooms: Vec<SubscribeTo>,
    /// Those of them that the dialect names, whatever a cursor says, where its clients may not leave these.
    pub named: Vec<Room>,
    /// Whether [`ServerPush::Greeting`] is written after the connection has joined the first of them, before the events of that
    /// room. A connection that cannot join it is then refused.
    pub greets_in_room: bool,
    /// The event behind which the connection continues in the first of them: its publisher's id, or its position as `epoch:offset`.
    pub after: Option<Box<str>>,
}

impl From<Vec<SubscribeTo>> for OpenOutcome {
    fn from(rooms: Vec<SubscribeTo>) -> Self {
        Self { rooms, ..Self::default() }
    }
}

/// A message to one connection that no command asked for.
#[derive(Debug, Clone, Copy)]
pub enum ServerPush<'a> {
    /// It has joined its first room; or its session was recovered, and it has its missed events.
    Greeting {
        /// The connection.
        opening: &'a Opening<'a>,
        /// Whether the events behind its position follow, or were sent.
        replayed: bool,
    },
    /// It cannot join its first room. It is closed next.
    Refused {
        /// The connection.
        opening: &'a Opening<'a>,
        /// The code.
        code: ErrorCode,
        /// The sentence.
        message: &'a str,
    },
    /// A heartbeat is due.
    Heartbeat,
}
