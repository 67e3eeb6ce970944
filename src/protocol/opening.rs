//! What is known of a connection when it comes, and how its dialect begins it.

use std::borrow::Cow;

use http::Uri;

use crate::{
    auth::Grant,
    model::{ErrorCode, Limits, Reply, SubscribeTo},
};

/// What a connection's request said, and what it is told of first.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// The connection's name.
    pub connection: &'a str,
    /// What was asked for: path and query. It may hold a token: never to be repeated as a whole.
    pub target: &'a Uri,
    /// Whose the connection is.
    pub grant: &'a Grant,
    /// What the client sent to begin, as JSON: a Socket.IO client's `auth`.
    pub auth: Option<&'a str>,
    /// Milliseconds of silence after which the client should say something.
    pub ping_interval_ms: u64,
    /// What the client may do.
    pub limits: Limits,
}

impl<'a> Opening<'a> {
    /// The first value of a name in the query, decoded (`application/x-www-form-urlencoded`).
    #[must_use]
    pub fn query(&self, name: &str) -> Option<Cow<'a, str>> {
        let query = self.target.query().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
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

/// How a connection begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beginning {
    /// The rooms that it enters unasked, under the rules of their policies. Each is answered like one that was asked for.
    pub rooms: Vec<SubscribeTo>,
    /// Whether [`Unasked::Entered`] is said once the first of them was entered, ahead of what comes there, and the connection
    /// is refused where it cannot be.
    pub greets_in_room: bool,
    /// The event behind which it goes on in the first of them: its publisher's id, or its position as `epoch:offset`.
    pub after: Option<Box<str>>,
}

impl From<Vec<SubscribeTo>> for Beginning {
    fn from(rooms: Vec<SubscribeTo>) -> Self {
        Self { rooms, ..Self::default() }
    }
}

/// What a dialect says to a connection unasked, some time after it came.
#[derive(Debug, Clone, Copy)]
pub enum Unasked<'a> {
    /// Its first room was entered; or its session has come back, and it was sent what it missed.
    Entered {
        /// Whose connection it is.
        opening: &'a Opening<'a>,
        /// Whether what followed where it stopped comes next, or was sent.
        replayed: bool,
    },
    /// Its first room cannot be entered: it is closed next.
    Refused {
        /// Whose connection it is.
        opening: &'a Opening<'a>,
        /// Why.
        code: ErrorCode,
        /// The same in a sentence.
        message: &'a str,
    },
    /// A sign of life is due.
    Heartbeat,
}
