//! Real Redis servers for tests: one alone, or a cluster, on free ports of 127.0.0.1, in temporary folders.
//!
//! Everything here blocks: a test on tokio wants the multi-threaded runtime. Always holds: a server dies with what
//! started it, also when a test panics or its process is killed, because a shell stands beside each that waits for the
//! end of its input.

mod cluster;
mod link;
mod node;
mod sentinel;
mod way;

use std::time::{Duration, Instant};

pub use cluster::{Cluster, shared};
pub use link::{Link, Reply};
pub use node::{Node, Options, is_before_7};
pub use sentinel::{NAME, Watched};
pub use way::Way;

/// How long anything may take that should happen.
pub const SOON: Duration = Duration::from_secs(40);

/// Waits until `check` says yes; panics with `what` if it never does.
pub fn wait_until(what: &str, check: impl FnMut() -> bool) {
    wait_or(what, check, String::new);
}

/// The same, and `why` says how it was in the end.
pub fn wait_or(what: &str, mut check: impl FnMut() -> bool, why: impl FnOnce() -> String) {
    let began = Instant::now();
    while !check() {
        if began.elapsed() > SOON {
            panic!("waited {SOON:?} in vain for: {what}; {}", why());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A server alone.
pub struct Standalone(Node);

impl Standalone {
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    pub fn start_with(options: Options) -> Self {
        let node = Node::launch(options);
        node.wait_ready();
        Self(node)
    }
}

impl std::ops::Deref for Standalone {
    type Target = Node;
    fn deref(&self) -> &Node {
        &self.0
    }
}
