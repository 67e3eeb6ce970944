//! What parent and receivers say to each other, one JSON text a line.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{clock::SECOND, content::Recipe, dialect::Dialect, stats::Buckets, verify::Faults};

/// How long a connection may take to become a member, in nanoseconds.
pub(super) const OPENING: u64 = 30 * SECOND;

/// Which server a connection belongs to; a receiver can hold connections to both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Target {
    /// The pod: subscribes.
    Pod,
    /// The floor: receives as soon as it is connected.
    Floor,
}

/// How connections are made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Join {
    /// The server.
    pub(crate) target: Target,
    /// Its address.
    pub(crate) address: SocketAddr,
    /// The name in the certificate and in `Host`.
    pub(crate) host: String,
    /// The WebSocket's path.
    pub(crate) path: String,
    /// What is spoken over it.
    pub(crate) dialect: Dialect,
    /// How many connections.
    pub(crate) connections: usize,
    /// The number of the first: connection `i` joins room `first_room + i % rooms`.
    pub(crate) first: usize,
    /// The first room's number.
    pub(crate) first_room: u32,
    /// Over how many rooms the connections are spread.
    pub(crate) rooms: u32,
    /// Whether permessage-deflate is offered.
    pub(crate) deflate: bool,
    /// Whether each connection keeps the window of what it inflates, as browsers do.
    #[serde(default)]
    pub(crate) takeover: bool,
    /// What the events are made of.
    pub(crate) recipe: Recipe,
    /// The most connections that shake hands at one time.
    pub(crate) in_flight: usize,
    /// Chooses the source addresses: no two receivers share one, since an address has about 28,000 ports.
    pub(crate) source: u8,
}

impl Join {
    /// Connections without a number, all to one room, to a server on this machine.
    pub(crate) fn new(target: Target, address: SocketAddr, dialect: Dialect, recipe: Recipe, deflate: bool) -> Self {
        Self {
            target,
            address,
            host: "localhost".to_owned(),
            path: dialect.target(),
            dialect,
            connections: 0,
            first: 0,
            first_room: 0,
            rooms: 1,
            deflate,
            takeover: false,
            recipe,
            in_flight: 0,
            source: 0,
        }
    }

    /// The room of connection `index`.
    pub(super) fn room(&self, index: usize) -> u32 {
        self.first_room + u32::try_from(index % self.rooms.max(1) as usize).unwrap_or(0)
    }

    /// The same in another dialect.
    pub(crate) fn speaking(self, dialect: Dialect) -> Self {
        Self { path: dialect.target(), dialect, ..self }
    }
}

/// Connections that come and go.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Visits {
    /// How they are made; `connections` is not used.
    pub(crate) join: Join,
    /// Another pod with the same ticket keys: they go to both in turns, and resume at the one what the other began.
    #[serde(default)]
    pub(crate) another: Option<SocketAddr>,
    /// How many a second; `None`: as many as `in_flight` allows.
    pub(crate) per_second: Option<f64>,
    /// For how long new ones are made.
    pub(crate) seconds: f64,
    /// How long each stays a member; `None`: it leaves after the upgrade, without subscribing.
    pub(crate) stay_ms: Option<u64>,
    /// The share that offers to resume an earlier TLS session, in percent.
    pub(crate) resume_percent: u8,
}

/// An order to a receiver.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Make connections, and keep them.
    Join(Join),
    /// Count from now.
    Begin(Target),
    /// Wait until every connection has got its room's events up to the given offset, then report.
    Finish {
        /// Of which server.
        target: Target,
        /// The last offset of each room, by the room's number.
        ends: Vec<(u32, u64)>,
        /// Report what is missing after this time.
        timeout_ms: u64,
        /// Whether to report each event's slowest receiver.
        last: bool,
    },
    /// Make connections that come and go.
    Visit(Visits),
}

/// What a receiver says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Notice {
    /// So many connections are members by now (of all that were ordered).
    Joined(usize),
    /// All that were ordered are members.
    Ready(Agreed),
    /// Counting has begun.
    Began,
    /// What was received since [`Order::Begin`].
    Report(Box<Report>),
    /// So many visits have ended by now.
    Visited(u64),
    /// The visits are over.
    Visits(Box<VisitReport>),
    /// It cannot go on.
    Failed(String),
}

/// What the servers agreed to: it must be the same everywhere for figures to be comparable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Agreed {
    /// The TLS version and cipher suite.
    pub(crate) suite: String,
    /// Whether permessage-deflate was agreed.
    pub(crate) deflate: bool,
    /// The position of each room that was joined.
    pub(crate) positions: Vec<(u32, u64)>,
}

/// What a receiver's connections to one server received.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Connections that are still open.
    pub(crate) connections: u64,
    /// Events times connections.
    pub(crate) deliveries: u64,
    /// Events times connections that a newer one of the same frame stood for.
    pub(crate) collapsed: u64,
    /// Frames times connections.
    pub(crate) frames: u64,
    /// Bytes read from the sockets: TLS records and all.
    pub(crate) wire_bytes: u64,
    /// Pings that were answered.
    pub(crate) pings: u64,
    /// Publish to receive.
    pub(crate) latency: Buckets,
    /// The slowest receiver of each event: (room, number, nanoseconds).
    pub(crate) last: Vec<(u32, u64, u64)>,
    /// What went wrong.
    pub(crate) faults: Faults,
    /// An example of what went wrong.
    pub(crate) example: Option<String>,
}

/// What visits found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct VisitReport {
    /// Visits that succeeded.
    pub(crate) opened: u64,
    /// Of them, with a resumed TLS session.
    pub(crate) resumed: u64,
    /// Visits that did not.
    pub(crate) failed: u64,
    /// Events that the visitors received.
    pub(crate) deliveries: u64,
    /// First packet to the answer of the upgrade (or to `subscribed`, where the visitor stays).
    pub(crate) latency: Buckets,
    /// What went wrong.
    pub(crate) faults: Faults,
    /// An example of what went wrong.
    pub(crate) example: Option<String>,
}
