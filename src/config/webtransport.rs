//! The keys of `[webtransport]`.

use std::time::Duration;

use super::{
    section::section,
    value::{Bytes, Count, GIB, KIB, MIB, MINUTES, SHORTEST, Switch, Time},
};

section! {
    /// WebTransport: QUIC (RFC 9000) over UDP on the port numbers of `listen`. The defaults are for 50,000 sessions.
    pub struct WebTransport in "webtransport" {
        /// Whether the pod takes WebTransport sessions at all.
        enabled: bool = true, Switch, restart;
        /// After this long without a packet from a client its session is lost. The client's own limit holds if it is shorter.
        idle: Duration = Duration::from_secs(30), Time(Duration::from_secs(1)..=MINUTES), restart;
        /// After this long without a packet a client is sent a QUIC PING, so that the session and its way through NAT stay.
        keep_alive: Duration = Duration::from_secs(12), Time(SHORTEST..=MINUTES), restart;
        /// The most bytes of one session that are on their way, unacknowledged; what is more waits in the pod's queue, under
        /// `limits.send_queue` and the room's `slow`.
        send_window: usize = 128 * KIB, Bytes(4 * KIB..=64 * MIB), restart;
        /// The most bytes that a client may send ahead of what the pod has read, on all streams together and on each.
        receive_window: usize = 64 * KIB, Bytes(4 * KIB..=64 * MIB), restart;
        /// How many streams a client may open, of each kind. A browser needs one of its own and three for HTTP/3.
        streams: usize = 8, Count(4..=1024), restart;
        /// The kernel's buffers of the UDP socket (`SO_RCVBUF`, `SO_SNDBUF`), which all sessions of an address share. The kernel
        /// may give less: `net.core.rmem_max`, `net.core.wmem_max`.
        socket_buffer: usize = 8 * MIB, Bytes(64 * KIB..=GIB), restart;
        /// Whether several packets leave with one system call (UDP segmentation offload). Faster for sessions that catch up;
        /// each session that ever did keeps the larger buffer.
        offload: bool = false, Switch, restart;
        /// With more handshakes than this under way, clients first prove that they are where they say (Retry, RFC 9000
        /// section 8.1.2). With as many as `max_connections` (256 at least) more are refused.
        retry_above: usize = 256, Count(0..=1_000_000), restart;
    }
}
