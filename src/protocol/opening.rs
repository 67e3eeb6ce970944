//! What is known of a connection when it comes, for a dialect to begin it with.

use std::borrow::Cow;

use http::Uri;

use crate::{
    auth::Grant,
    model::{Limits, Reply},
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
