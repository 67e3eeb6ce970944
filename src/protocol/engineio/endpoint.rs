//! A path on which Engine.IO is spoken.

use std::{sync::Arc, time::Duration};

use crate::protocol::DialectId;

/// The times of Engine.IO sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two pings of the server.
    pub ping_interval: Duration,
    /// For the answer to a ping.
    pub ping_timeout: Duration,
    /// For a probed WebSocket to replace polling.
    pub upgrade_timeout: Duration,
    /// For the client to connect to its first namespace.
    pub connect_timeout: Duration,
    /// How long after its end a session can be recovered; `None`: never.
    pub recovery: Option<Duration>,
}

impl Timing {
    /// Shorter times than this need a finer clock than the workers' own.
    const SHORT_MS: u128 = 5_000;

    /// How fine a clock keeps these times, in milliseconds; `None`: the workers' own does.
    #[must_use]
    pub fn tick_ms(&self) -> Option<u64> {
        let shortest = self.ping_interval.min(self.ping_timeout).as_millis();
        // Between 5 and 100: a fiftieth, and no clock that does nothing else.
        (shortest < Self::SHORT_MS).then(|| (shortest / 50).clamp(5, 100) as u64)
    }
}

/// A path on which Engine.IO is spoken, and what its messages hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The path, its trailing slash included.
    pub path: Box<str>,
    /// The content of packets of type `message`.
    pub within: Within,
    /// The most bytes of a client's message or request body.
    pub max_payload: usize,
    /// The times.
    pub timing: Timing,
    /// Whether the pod accepts permessage-deflate.
    pub compress: bool,
}

/// The content of packets of type `message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Within {
    /// Messages of one dialect.
    Messages(DialectId),
    /// Socket.IO packets: the namespaces, each with its dialect.
    SocketIo(Arc<[(Box<str>, DialectId)]>),
}

impl Endpoint {
    /// The dialect of connections that are in no namespace, or in the first.
    #[must_use]
    pub fn dialect(&self) -> DialectId {
        match &self.within {
            Within::Messages(dialect) => *dialect,
            Within::SocketIo(namespaces) => namespaces.first().map_or(DialectId::NATIVE, |(_, dialect)| *dialect),
        }
    }

    /// The dialect of a namespace, if there is one of that name.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Option<DialectId> {
        match &self.within {
            Within::Messages(_) => None,
            Within::SocketIo(namespaces) => {
                namespaces.iter().find(|(known, _)| &**known == name).map(|(_, dialect)| *dialect)
            }
        }
    }
}
