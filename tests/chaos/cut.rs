//! Cuts between a pod and its Redis: packets to or from one address and port of this machine's loopback are dropped.
//!
//! Always holds: a cut ends with its value, also when a test panics. Rules name only addresses and ports that a test made.

use std::{net::SocketAddr, process::Command};

/// What is dropped.
#[derive(Debug, Clone, Copy)]
pub enum Lost {
    /// What pods say: the server hears nothing.
    Requests,
    /// What the server says: pods hear nothing.
    Answers,
    /// Both.
    Everything,
}

/// A cut while it lasts.
pub struct Cut(Vec<Vec<String>>);

fn iptables(act: &str, rule: &[String]) -> bool {
    let mut command = Command::new("iptables");
    command.args(["-w", "5", act, "INPUT", "-i", "lo", "-p", "tcp"]).args(rule).args(["-j", "DROP"]);
    command.output().is_ok_and(|output| output.status.success())
}

impl Cut {
    /// Cuts off who reaches a server at this address. `None`: this machine does not let us.
    pub fn new(server: SocketAddr, lost: Lost) -> Option<Self> {
        let (address, port) = (server.ip().to_string(), server.port().to_string());
        let rule = |[host, door]: [&str; 2]| [host, &address, door, &port].map(str::to_owned).to_vec();
        let (requests, answers) = (rule(["-d", "--dport"]), rule(["-s", "--sport"]));
        let rules = match lost {
            Lost::Requests => vec![requests],
            Lost::Answers => vec![answers],
            Lost::Everything => vec![requests, answers],
        };
        let mut cut = Self(Vec::new());
        for rule in rules {
            if !iptables("-I", &rule) {
                return None;
            }
            cut.0.push(rule);
        }
        Some(cut)
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        for rule in &self.0 {
            if !iptables("-D", rule) {
                eprintln!("the rule {rule:?} could not be taken back: iptables -F INPUT");
            }
        }
    }
}
