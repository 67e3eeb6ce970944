//! A master, its replica, and a sentinel that replaces the one by the other.

use super::{
    node::{Node, Options},
    wait_until,
};

/// What the sentinel calls the master.
pub const NAME: &str = "main";

/// Three servers.
pub struct Watched {
    pub master: Node,
    pub replica: Node,
    pub sentinel: Node,
}

impl Watched {
    /// The servers have one password, the sentinel has another.
    pub fn start(password: &str, sentinels: &str) -> Self {
        Self::start_with(password, sentinels, Options::default())
    }

    /// The same, all three with these options.
    pub fn start_with(password: &str, sentinels: &str, options: Options) -> Self {
        let own_port = |node: &Node| if options.tls.is_some() { node.tls_address().1 } else { node.port() };
        let own = || options.clone().password(password);
        let master = Node::launch(own());
        let replica = Node::launch(own().line(format!("replicaof 127.0.0.1 {}", own_port(&master))));
        wait_until("a replica in step", || replica.info("replication", "master_link_status") == "up");
        let options = Options { sentinel: true, password: Some(sentinels.to_owned()), ..options.clone() }
            .line(format!("requirepass {sentinels}"))
            .line(format!("sentinel monitor {NAME} 127.0.0.1 {} 1", own_port(&master)))
            .line(format!("sentinel auth-pass {NAME} {password}"))
            .line(format!("sentinel down-after-milliseconds {NAME} 500"))
            .line(format!("sentinel failover-timeout {NAME} 2000"));
        let sentinel = Node::launch(options);
        wait_until("a sentinel that knows the replica", || sentinel.info("sentinel", "master0").contains("slaves=1"));
        Self { master, replica, sentinel }
    }

    /// Waits until the sentinel has made the replica the master.
    pub fn wait_promoted(&self) {
        let ports = [self.replica.port().to_string(), self.replica.tls_address().1.to_string()];
        let master = || self.sentinel.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
        wait_until("a promotion by the sentinel", || {
            ports.iter().any(|port| master().list()[1].text() == port)
                && self.replica.info("replication", "role") == "master"
        });
    }
}
