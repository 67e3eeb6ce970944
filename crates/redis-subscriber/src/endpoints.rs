//! Where Redis is, and the credentials for it.
//!
//! Always holds: a password never shows in `Debug`.

use std::{fmt, sync::Arc};

/// Where Redis is, and the credentials for it.
#[derive(Clone)]
pub struct Endpoints {
    /// Host and port of servers: the one, some of the cluster, or the sentinels. Of several servers that are no cluster, the
    /// master is found.
    pub nodes: Vec<(String, u16)>,
    /// What these servers are.
    pub topology: Topology,
    /// The TLS configuration; `None`: plain TCP. A node's certificate must name the host it is found under.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// The ACL user; `None`: `default`.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Password>,
    /// How connections name themselves (`CLIENT SETNAME`). Without spaces.
    pub client_name: String,
    /// The canaries' channels begin with this. An ACL may allow only channels of one prefix.
    pub prefix: String,
}

impl Endpoints {
    /// Servers without TLS and without a password.
    #[must_use]
    pub fn new(nodes: Vec<(String, u16)>, topology: Topology, prefix: &str) -> Self {
        Self {
            nodes,
            topology,
            tls: None,
            user: None,
            password: None,
            client_name: "redis-subscriber".to_owned(),
            prefix: prefix.to_owned(),
        }
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, topology, tls, user, password, client_name, prefix } = self;
        let mut shown = f.debug_struct("Endpoints");
        shown.field("nodes", nodes).field("topology", topology).field("tls", &tls.is_some()).field("user", user);
        shown.field("password", password).field("client_name", client_name).field("prefix", prefix).finish()
    }
}

/// What the configured servers are.
#[derive(Debug, Clone)]
pub enum Topology {
    /// One server, or several of which one is the master.
    Standalone,
    /// Nodes of a cluster, which name the others.
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

/// A password. `Debug` hides it.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_shows() {
        let password = || Some(Password::new("hunter2"));
        let topology = Topology::Sentinel { master: "m".to_owned(), user: None, password: password() };
        let endpoints = Endpoints { password: password(), ..Endpoints::new(Vec::new(), topology, "p:") };
        let shown = format!("{endpoints:?}");
        assert!(shown.contains("Password(…)") && !shown.contains("hunter2"), "{shown}");
    }
}
