//! The limits that refuse clients: how much of each is used, how often it refused, and one log line when that begins and ends.
//!
//! Never decides. Always holds: however many are refused, the log gets two lines.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use metrics::{Counter, Gauge, counter, gauge};

/// For so many seconds without a refusal a limit counts as over.
const CALM: u64 = 10;

/// One limit.
#[derive(Debug)]
pub struct Pressure {
    name: &'static str,
    /// What it means for clients, in a sentence.
    says: &'static str,
    refused: Counter,
    used: Gauge,
    limit: Gauge,
    /// Refusals since it began to bite; 0: it does not.
    count: AtomicU64,
    /// What `count` was a second ago, and for how many seconds it has been that.
    seen: AtomicU64,
    calm: AtomicU64,
}

/// Every limit.
#[derive(Debug)]
pub struct Pressures {
    /// Sockets of the public listeners, by the open-file limit.
    pub files: Pressure,
    /// Sockets that wait for their clients: handshakes, idle connections, unread answers.
    pub waiting: Pressure,
    /// Bytes that queues, bodies, answers and sockets hold.
    pub memory: Pressure,
    /// Bytes of the whole process.
    pub process_memory: Pressure,
    /// Connections.
    pub connections: Pressure,
    /// What one client address may do.
    pub addresses: Pressure,
    /// Engine.IO sessions that were opened and never used.
    pub unused_sessions: Pressure,
    /// Connections of one user.
    pub user_connections: Pressure,
    /// Handshakes over QUIC that are under way.
    pub quic_handshakes: Pressure,
    /// `accept` calls that failed.
    pub accept: Pressure,
}

impl Pressure {
    fn new(name: &'static str, says: &'static str) -> Self {
        Self {
            name,
            says,
            refused: counter!("roomcast_limit_refused_total", "limit" => name),
            used: gauge!("roomcast_limit_used", "limit" => name),
            limit: gauge!("roomcast_limit", "limit" => name),
            count: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            calm: AtomicU64::new(0),
        }
    }

    /// Its word in the metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// It refused `times` clients.
    pub fn refused(&self, times: u64) {
        if times > 0 && self.begins(times) {
            tracing::warn!(limit = self.name, "{}", self.says);
        }
    }

    /// It refused a client of `address`: the line with which it begins names the first one.
    pub fn refused_one(&self, address: &dyn fmt::Display) {
        if self.begins(1) {
            tracing::warn!(limit = self.name, %address, "{}", self.says);
        }
        tracing::debug!(limit = self.name, %address, "a client was refused");
    }

    /// Counts `times` refusals; whether they are the first.
    fn begins(&self, times: u64) -> bool {
        self.refused.increment(times);
        self.count.fetch_add(times, Relaxed) == 0
    }

    /// Whether it refused lately.
    #[must_use]
    pub fn bites(&self) -> bool {
        self.count.load(Relaxed) > 0
    }

    /// Shows how much of it is used.
    // Below 2^52, far from where a float would round.
    #[allow(clippy::cast_precision_loss)]
    pub fn show(&self, used: usize, limit: usize) {
        self.used.set(used as f64);
        self.show_limit(limit);
    }

    /// So many more of it are used, or fewer: for what is counted by each worker.
    #[allow(clippy::cast_precision_loss)]
    pub fn add(&self, more: usize, fewer: usize) {
        self.used.increment(more as f64 - fewer as f64);
    }

    /// Shows what it is.
    #[allow(clippy::cast_precision_loss)]
    pub fn show_limit(&self, limit: usize) {
        self.limit.set(limit as f64);
    }

    /// A second has passed.
    fn tick(&self) {
        let count = self.count.load(Relaxed);
        if count == 0 {
            return;
        }
        if self.seen.swap(count, Relaxed) != count {
            self.calm.store(0, Relaxed);
        } else if self.calm.fetch_add(1, Relaxed) + 1 >= CALM
            && self.count.compare_exchange(count, 0, Relaxed, Relaxed).is_ok()
        {
            self.seen.store(0, Relaxed);
            self.calm.store(0, Relaxed);
            tracing::info!(limit = self.name, refused = count, "the limit has refused no client for {CALM} s");
        }
    }
}

impl Default for Pressures {
    /// Handles of the recorder that is current.
    fn default() -> Self {
        Self {
            files: Pressure::new(
                "files",
                "the files for sockets are used up: new sockets are refused, and those that wait for their clients longest are \
                 ended; raise the open-file limit (ulimit -Hn)",
            ),
            waiting: Pressure::new(
                "waiting_sockets",
                "too many sockets wait for their clients (handshakes, idle connections, unread answers): those that wait \
                 longest are ended for new ones",
            ),
            memory: Pressure::new(
                "memory",
                "the pod holds as many bytes as it may: new clients are refused, and the sockets that hold most and wait for their \
                 clients are ended; raise `memory_budget`",
            ),
            process_memory: Pressure::new(
                "process_memory",
                "the process uses as much memory as it may, less a reserve: new clients are refused; give it more (the cgroup's limit), \
                 or lower `max_connections`",
            ),
            connections: Pressure::new(
                "connections",
                "the pod has as many connections as it may: new clients are refused; raise `max_connections`",
            ),
            addresses: Pressure::new(
                "addresses",
                "a client address does more than it may, or may not come, or all together come too fast: see `[addresses]` in \
                 the configuration",
            ),
            unused_sessions: Pressure::new(
                "unused_sessions",
                "too many Socket.IO sessions are opened and not used: more of them are refused",
            ),
            user_connections: Pressure::new(
                "user_connections",
                "a user has as many connections as it may have: its newest or its oldest are closed; see `limits.user_connections`",
            ),
            quic_handshakes: Pressure::new(
                "quic_handshakes",
                "too many handshakes over QUIC are under way: more of them are refused; set `[addresses]`",
            ),
            accept: Pressure::new("accept", "accept fails: it is tried again every 100 ms"),
        }
    }
}

impl Pressures {
    /// Each of them.
    #[must_use]
    pub fn all(&self) -> [&Pressure; 10] {
        let Self { files, waiting, memory, process_memory, connections, .. } = self;
        let Self { addresses, unused_sessions, user_connections, quic_handshakes, accept, .. } = self;
        [
            connections,
            memory,
            process_memory,
            files,
            waiting,
            addresses,
            quic_handshakes,
            unused_sessions,
            user_connections,
            accept,
        ]
    }

    /// A second has passed.
    pub fn tick(&self) {
        for pressure in self.all() {
            pressure.tick();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_bites_until_it_was_calm_for_a_while() {
        let pressures = Pressures::default();
        let files = &pressures.files;
        assert!(!files.bites());
        files.refused(0);
        assert!(!files.bites(), "nothing was refused");
        files.refused(3);
        for _ in 0..CALM {
            pressures.tick();
        }
        assert!(files.bites(), "the first second only saw it");
        files.refused(1);
        for _ in 0..CALM {
            pressures.tick();
            assert!(files.bites());
        }
        pressures.tick();
        assert!(!files.bites() && !pressures.waiting.bites());
    }

    #[test]
    fn the_line_names_the_address_that_was_refused_first_and_no_other() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (log, pressures) = (file.reopen().unwrap(), Pressures::default());
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(std::sync::Arc::new(log)).finish();
        tracing::subscriber::with_default(subscriber, || {
            for address in ["192.0.2.1", "2001:db8::/64"] {
                pressures.addresses.refused_one(&address);
            }
        });
        let said = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("limit=\"addresses\" address=192.0.2.1"), "{said}");
    }
}
