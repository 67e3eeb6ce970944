//! Every metric of the pod, its handles made once.
//!
//! Counts are added once a batch and worker, never per receiver. Always holds: no label has a value that a client can
//! choose, so that the number of series is fixed at start.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::model::Disconnect;

/// Buckets of durations, in seconds: 50 us to 60 s.
pub const SECONDS: [f64; 18] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    15.0, 60.0,
];

/// The handles.
#[derive(Debug)]
pub struct Metrics {
    /// Open connections.
    pub connections: Gauge,
    /// Rooms with a member on some worker, counted on each.
    pub rooms: Gauge,
    /// Batches that left their owner.
    pub batches: Counter,
    /// Events times receivers.
    pub deliveries: Counter,
    /// Frames times receivers.
    pub frames: Counter,
    /// Bytes of encoded frames before compression, each frame once.
    pub bytes_plain: Counter,
    /// Bytes of encoded frames as framed for the wire, each frame once.
    pub bytes_framed: Counter,
    /// From the arrival of a batch's first event at the pod to the last write of the batch on a worker.
    pub publish_to_write: Histogram,
    /// The duration of fan-outs, their pauses for others included.
    pub fan_out: Histogram,
    /// Frames that slow connections lost, each told by a gap.
    pub dropped: Counter,
    /// Holes in a room's stream that were filled from history or told as a gap.
    pub holes: Counter,
    /// What became of subscriptions with a position.
    pub recoveries: Recoveries,
    /// Handshakes by where they ended.
    pub handshakes: Handshakes,
    /// Bytes that queues really hold.
    pub held_bytes: Gauge,
    /// Messages of clients.
    pub messages_in: Counter,
    /// `accept` calls that failed, out of files above all.
    pub accept_errors: Counter,
    /// Connections to the internal listener that were too many.
    pub internal_refused: Counter,
    /// Seconds until the certificate expires.
    pub certificate_expires: Gauge,
    /// Whether the certificate's newest file is unusable, so that the one before it is served: 0 or 1.
    pub certificate_broken: Gauge,
    disconnects: Vec<(Disconnect, Counter)>,
    lost: Counter,
}

/// What became of subscriptions with a position.
#[derive(Debug)]
pub struct Recoveries {
    /// Exactly what was missed followed.
    pub recovered: Counter,
    /// It was gone, or too much.
    pub gone: Counter,
}

/// Handshakes by where they ended.
#[derive(Debug)]
pub struct Handshakes {
    /// Connections that were accepted by the kernel.
    pub accepted: Counter,
    /// TLS sessions that were resumed.
    pub resumed: Counter,
    /// Ended in the TLS handshake.
    pub tls_failed: Counter,
    /// No whole request in time, or none at all.
    pub head_failed: Counter,
    /// Refused with an HTTP status.
    pub refused: Counter,
    /// Became WebSockets.
    pub upgraded: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let handshake = |result: &'static str| counter!("roomcast_handshakes_total", "result" => result);
        let recovery = |outcome: &'static str| counter!("roomcast_recoveries_total", "outcome" => outcome);
        let disconnect = |d: &Disconnect| (*d, counter!("roomcast_disconnects_total", "code" => d.code().to_string()));
        gauge!("roomcast_build_info", "version" => env!("CARGO_PKG_VERSION"), "allocator" => "system").set(1.0);
        Self {
            connections: gauge!("roomcast_connections", "transport" => "websocket"),
            rooms: gauge!("roomcast_worker_rooms"),
            batches: counter!("roomcast_batches_total"),
            deliveries: counter!("roomcast_deliveries_total"),
            frames: counter!("roomcast_frames_total"),
            bytes_plain: counter!("roomcast_encoded_bytes_total", "stage" => "plain"),
            bytes_framed: counter!("roomcast_encoded_bytes_total", "stage" => "framed"),
            publish_to_write: histogram!("roomcast_publish_to_write_seconds"),
            fan_out: histogram!("roomcast_fan_out_seconds"),
            dropped: counter!("roomcast_dropped_frames_total"),
            holes: counter!("roomcast_stream_holes_total"),
            recoveries: Recoveries { recovered: recovery("recovered"), gone: recovery("gone") },
            handshakes: Handshakes {
                accepted: handshake("accepted"),
                resumed: handshake("resumed"),
                tls_failed: handshake("tls_failed"),
                head_failed: handshake("head_failed"),
                refused: handshake("refused"),
                upgraded: handshake("upgraded"),
            },
            held_bytes: gauge!("roomcast_held_bytes"),
            messages_in: counter!("roomcast_messages_in_total"),
            accept_errors: counter!("roomcast_accept_errors_total"),
            internal_refused: counter!("roomcast_internal_refused_total"),
            certificate_expires: gauge!("roomcast_certificate_expires_seconds"),
            certificate_broken: gauge!("roomcast_certificate_broken"),
            disconnects: Disconnect::ALL.iter().map(disconnect).collect(),
            lost: counter!("roomcast_disconnects_total", "code" => "none"),
        }
    }
}

impl Metrics {
    /// Counts a connection's end; `None`: the socket went without a close.
    pub fn disconnected(&self, disconnect: Option<Disconnect>) {
        match disconnect.and_then(|d| self.disconnects.iter().find(|(known, _)| *known == d)) {
            Some((_, counter)) => counter.increment(1),
            None => self.lost.increment(1),
        }
    }
}
