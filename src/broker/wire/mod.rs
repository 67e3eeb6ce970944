//! Subscriptions in Redis that cannot go deaf: one connection to each master, and what watches over it.
//!
//! fred, which the commands go through, loses subscriptions when slots move; so this is a subscriber of our own. It owns
//! which channels are wanted, on which node each stands, and who owns which slot. It knows no rooms, no log and no
//! publishing. Always holds: a wanted channel is confirmed by the slot's owner or asked for again; a fault of one
//! node is no other node's; a channel that moves is heard at its new owner before it is dropped at the old one, so that
//! a message may come twice, and whoever reads must know messages by their offset.
//!
//! ```text
//!   Subscriber ── Plan: channel -> slot -> node, confirmed or not        (plan.rs, no I/O)
//!       │  orders per node            ▲ confirmed, lost, up, down
//!       ▼                             │
//!   Line, one a master: socket ── Feed: bytes and time in, bytes and events out   (feed.rs, no I/O)
//!       └─ canary: published through the node's Commander, heard by its Feed
//!   watch: each second, and at once on any event, asks the nodes for the layout   (watch.rs, layout.rs)
//! ```

mod commander;
mod connect;
mod feed;
mod frame;
mod health;
mod layout;
mod line;
mod patterns;
mod plan;
mod slot;
mod subscriber;
mod watch;

use std::{fmt, sync::Arc};

use bytes::Bytes;

pub use commander::{Server, discover};
pub use frame::{FrameError, MAX_DEPTH, MAX_ELEMENTS, MAX_FRAME, Reader, Value};
pub use health::{Health, NodeHealth, State};
pub use layout::{Address, Described, Layout, describe};
pub use patterns::{Listener, listen};
pub use slot::{SLOTS, slot};
pub use subscriber::Subscriber;

/// Where Redis is, and how to get in.
#[derive(Clone)]
pub struct Endpoints {
    /// Servers: the one, some of the cluster, or the sentinels. Of several that are no cluster, the one that is master.
    pub nodes: Vec<(String, u16)>,
    /// What they are.
    pub kind: Kind,
    /// For TLS.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// The ACL user; `None`: `default`.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Password>,
    /// The database of commands. Channels belong to none: fleets in two databases need two prefixes.
    pub database: u8,
    /// What the names of the canaries' channels begin with: an ACL may allow only a fleet's own.
    pub prefix: String,
}

/// What the configured nodes are.
#[derive(Debug, Clone)]
pub enum Kind {
    /// One server.
    Standalone,
    /// Nodes of a cluster, from which the others are found.
    Cluster,
    /// Sentinels, which know where the master is.
    Sentinel {
        /// The master's name.
        master: String,
        /// The sentinels' own ACL user.
        user: Option<String>,
        /// The sentinels' own password.
        password: Option<Password>,
    },
}

/// A password. Never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Box<str>);

impl Password {
    /// Hides a text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The password itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, kind, tls, user, password, database, prefix } = self;
        let mut shown = f.debug_struct("Endpoints");
        shown.field("nodes", nodes).field("kind", kind).field("tls", &tls.is_some()).field("user", user);
        shown.field("password", password).field("database", database).field("prefix", prefix).finish()
    }
}

/// Who hears. Called from the subscriber's tasks, without a lock held; nothing here may block. What is under way when a
/// channel is unsubscribed may still come.
pub trait Sink: Send + Sync {
    /// A published message. It may come twice while its channel moves from one node to another.
    fn message(&self, channel: &str, payload: Bytes);
    /// The subscription stands: for the first time, or again. What was published before may have been missed.
    fn confirmed(&self, channel: &str);
    /// A node's health, or that of all, has changed.
    fn trouble(&self, health: &Health);
    /// Slots have another owner, or their owners are known for the first time.
    fn layout(&self, layout: &Layout) {
        let _ = layout;
    }
}

/// Why a connection to a node came to its end, or there is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no connection.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// TLS failed.
    #[error("no TLS: {0}")]
    Tls(String),
    /// The server lets nobody in with these credentials, or not at all.
    #[error("the server refuses the login: {0}; check user and password")]
    Login(String),
    /// It speaks no RESP3.
    #[error("the server refuses HELLO 3: {0}; Redis 6 or newer, or Valkey, is needed")]
    Hello(String),
    /// It forbids what subscribing needs.
    #[error("the server refuses a subscription: {0}")]
    Subscribe(String),
    /// It forbids what proves that subscriptions work.
    #[error("the server refuses the canary: {0}")]
    Canary(String),
    /// It closed the connection.
    #[error("the server closed the connection")]
    Ended,
    /// It says nothing more.
    #[error("the server has been silent for too long")]
    Silent,
    /// What it sends is no RESP3.
    #[error("the server sent what cannot be read: {0}")]
    Unreadable(#[from] FrameError),
    /// It knows of more or fewer subscriptions than there are.
    #[error("the server counts {theirs} subscriptions, it should be {ours}")]
    Miscounted {
        /// What the server says.
        theirs: usize,
        /// What stands.
        ours: usize,
    },
    /// What is published there does not come out.
    #[error("the canary is published, but does not come back")]
    Deaf,
}
