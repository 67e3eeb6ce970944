//! What becomes of sockets until they are connections, and of those that were too slow.
//!
//! Owns the handles. Always holds: each handshake is counted once at each stage that it reaches.

use metrics::{Counter, counter};

/// Handshakes by stage and result.
#[derive(Debug)]
pub struct Handshakes {
    /// Connections that the kernel gave.
    pub accepted: Counter,
    /// TLS sessions that were made anew.
    pub tls_full: Counter,
    /// TLS sessions that were resumed.
    pub tls_resumed: Counter,
    /// Ended in the TLS handshake.
    pub tls_failed: Counter,
    /// A trusted proxy's connection without a good PROXY header.
    pub proxy_failed: Counter,
    /// A whole request head came.
    pub head: Counter,
    /// None came in time, or none that was one.
    pub head_failed: Counter,
    /// A QUIC handshake was made and a request for a session came.
    pub quic: Counter,
    /// None came in time, or none that was one.
    pub quic_failed: Counter,
    /// Clients that were told to prove their address first.
    pub quic_retried: Counter,
    /// Clients that no worker had room for.
    pub quic_refused: Counter,
    /// What became of requests for a WebSocket or a session.
    pub upgrades: Upgrades,
    /// What became of long-polls.
    pub polls: Upgrades,
    /// What became of requests for an event stream.
    pub event_streams: Upgrades,
    /// What became of commands without a connection.
    pub sends: Upgrades,
    /// What became of requests that stand for a question.
    pub asks: Upgrades,
}

impl Default for Handshakes {
    /// Handles of the recorder that is current.
    fn default() -> Self {
        Self {
            accepted: handshake("accept", "ok"),
            tls_full: handshake("tls", "ok"),
            tls_resumed: handshake("tls", "resumed"),
            tls_failed: handshake("tls", "failed"),
            proxy_failed: handshake("proxy", "failed"),
            head: handshake("head", "ok"),
            head_failed: handshake("head", "failed"),
            quic: handshake("quic", "ok"),
            quic_failed: handshake("quic", "failed"),
            quic_retried: handshake("quic", "retried"),
            quic_refused: handshake("quic", "refused"),
            upgrades: requests("upgrade"),
            polls: requests("poll"),
            event_streams: requests("sse"),
            sends: requests("send"),
            asks: requests("ask"),
        }
    }
}

fn handshake(stage: &'static str, result: &'static str) -> Counter {
    counter!("roomcast_handshakes_total", "stage" => stage, "result" => result)
}

/// The handles of requests of one kind.
pub(super) fn requests(stage: &'static str) -> Upgrades {
    Upgrades {
        accepted: handshake(stage, "ok"),
        malformed: handshake(stage, "malformed"),
        origin: handshake(stage, "origin"),
        token: handshake(stage, "token"),
        hook: handshake(stage, "hook"),
        full: handshake(stage, "full"),
        address: handshake(stage, "address"),
        draining: handshake(stage, "draining"),
    }
}

/// Packets over QUIC for connections that the pod does not have.
#[derive(Debug, Clone)]
pub struct StrayPackets {
    /// The client was told: the connection is over, or its pod has left.
    pub reset: Counter,
    /// The connection's pod lives, or may live.
    pub living: Counter,
    /// The connection is no pod's of this fleet, by the keys that are known.
    pub unknown: Counter,
    /// More clients were to be told than is done in a second.
    pub limited: Counter,
}

impl Default for StrayPackets {
    /// Handles of the recorder that is current.
    fn default() -> Self {
        let strays = |outcome: &'static str| counter!("roomcast_quic_strays_total", "outcome" => outcome);
        Self {
            reset: strays("reset"),
            living: strays("living"),
            unknown: strays("unknown"),
            limited: strays("limited"),
        }
    }
}

/// Sockets of the public listeners that were ended by a clock.
#[derive(Debug)]
pub struct SlowSockets {
    /// A handshake or a request's head did not end.
    pub head: Counter,
    /// A request's body did not end.
    pub body: Counter,
    /// No further request came.
    pub idle: Counter,
    /// An answer was not read.
    pub write: Counter,
}

impl Default for SlowSockets {
    /// Handles of the recorder that is current.
    fn default() -> Self {
        let slow = |clock: &'static str| counter!("roomcast_slow_sockets_total", "clock" => clock);
        Self { head: slow("head"), body: slow("body"), idle: slow("idle"), write: slow("write") }
    }
}

/// What became of requests for a connection.
#[derive(Debug)]
pub struct Upgrades {
    /// Became one.
    pub accepted: Counter,
    /// No valid request, or not on that path.
    pub malformed: Counter,
    /// A page of a foreign origin.
    pub origin: Counter,
    /// No good token.
    pub token: Counter,
    /// The backend did not allow it.
    pub hook: Counter,
    /// The pod has no room for one more.
    pub full: Counter,
    /// Its address has as many as it may.
    pub address: Counter,
    /// The pod goes away.
    pub draining: Counter,
}
