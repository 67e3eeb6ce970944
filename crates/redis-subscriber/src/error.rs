//! What goes wrong with one node.

use crate::frame::FrameError;

/// Why a connection to a node ended, or was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// No TCP connection.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// No TLS handshake.
    #[error("no TLS: {0}")]
    Tls(String),
    /// The server refuses the credentials, or every client.
    #[error("the server refuses the login: {0}; check user and password")]
    Login(String),
    /// The server does not speak RESP3.
    #[error("the server refuses HELLO 3: {0}; Redis 6 or newer, or Valkey, is needed")]
    Hello(String),
    /// The server refuses the connection for a reason of its own: it has as many as it may, it loads its data.
    #[error("the server refuses the connection: {0}")]
    Refused(String),
    /// The server forbids a subscription.
    #[error("the server refuses a subscription: {0}")]
    Subscribe(String),
    /// The server forbids the message that proves subscriptions.
    #[error("the server refuses the canary: {0}")]
    Canary(String),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Ended,
    /// No byte came in time.
    #[error("the server has been silent for too long")]
    Silent,
    /// The stream is not RESP3.
    #[error("the server sent what cannot be read: {0}")]
    Unreadable(#[from] FrameError),
    /// The server counts another number of subscriptions than stand here.
    #[error("the server counts {theirs} subscriptions, it should be {ours}")]
    Miscounted {
        /// The server's count.
        theirs: usize,
        /// The subscriptions that stand.
        ours: usize,
    },
    /// The server was made a replica, so that its name may lead to another one by now.
    #[error("the server is a replica now; its address is connected to anew")]
    Demoted,
    /// The server takes canaries and does not deliver them.
    #[error("the canary is published, but does not come back")]
    Deaf,
}
