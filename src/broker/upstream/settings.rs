//! What an edge needs to know of its homes.

use std::{fmt, sync::Arc, time::Duration};

use crate::config::Network;

/// How an edge reaches its home.
#[derive(Clone)]
pub struct UpstreamSettings {
    /// The homes' pods: `wss://HOST:PORT`, or `ws://` without TLS.
    pub urls: Vec<String>,
    /// The key that it shows.
    pub key: String,
    /// For `wss`.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// For a connection and its greeting.
    pub connect_timeout: Duration,
    /// For a call, with its turn and its repetitions.
    pub call_timeout: Duration,
    /// The most calls under way.
    pub calls: usize,
    /// The most bytes that the newest events of all rooms hold.
    pub tail_bytes: usize,
    /// The most bytes of users' tokens.
    pub token_bytes: usize,
    /// Where other edges find this one's internal listener, as `HOST:PORT`.
    pub advertise: Option<String>,
    /// Where other edges are.
    pub peers: Vec<Network>,
}

impl fmt::Debug for UpstreamSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamSettings").field("urls", &self.urls).finish_non_exhaustive()
    }
}
