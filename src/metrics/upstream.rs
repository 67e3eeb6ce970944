//! What an edge counts of the links to its home.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::descriptions::describe;

/// The links to the home; only a pod with `upstream.urls` has them.
#[derive(Debug)]
pub struct UpstreamMetrics {
    up: Gauge,
    down: Gauge,
    rooms: Gauge,
    tail_bytes: Gauge,
    token_bytes: Gauge,
    tokens_dropped: Counter,
    /// What the home refused since it was shown no good token of the user.
    pub users_refused: Counter,
    /// From when the home accepted an event until the edge had it, by the home's clock.
    pub lag: Histogram,
    /// The time from a sign of life to its answer.
    pub round_trip: Gauge,
    clock: Gauge,
    /// Bytes of records from the home.
    pub bytes_in: Counter,
    /// Bytes of records to the home.
    pub bytes_out: Counter,
    /// Links that ended or could not be made.
    pub reconnects: Counter,
    /// Parts of logs that were answered from tails.
    pub read_tail: Counter,
    /// Parts of logs that the home was asked for.
    pub read_home: Counter,
    /// Calls that the home answered.
    pub calls_ok: Counter,
    /// Calls that it refused, or that found no link.
    pub calls_refused: Counter,
    /// Calls whose outcome is not known.
    pub calls_unknown: Counter,
    /// Calls that were asked again over another link.
    pub calls_repeated: Counter,
    /// Answers of the home that cannot be answers to what it was asked.
    pub refused_answer: Counter,
    /// Questions of the home that were left unanswered, since too many were being answered.
    pub refused_question: Counter,
}

impl UpstreamMetrics {
    /// Handles that count nothing.
    #[must_use]
    pub fn none() -> Self {
        Self {
            up: Gauge::noop(),
            down: Gauge::noop(),
            rooms: Gauge::noop(),
            tail_bytes: Gauge::noop(),
            token_bytes: Gauge::noop(),
            tokens_dropped: Counter::noop(),
            users_refused: Counter::noop(),
            lag: Histogram::noop(),
            round_trip: Gauge::noop(),
            clock: Gauge::noop(),
            bytes_in: Counter::noop(),
            bytes_out: Counter::noop(),
            reconnects: Counter::noop(),
            read_tail: Counter::noop(),
            read_home: Counter::noop(),
            calls_ok: Counter::noop(),
            calls_refused: Counter::noop(),
            calls_unknown: Counter::noop(),
            calls_repeated: Counter::noop(),
            refused_answer: Counter::noop(),
            refused_question: Counter::noop(),
        }
    }

    /// Shows how many links stand and do not, how many rooms are followed, and what their tails hold.
    pub fn show(&self, (up, down): (usize, usize), rooms: usize, tail_bytes: usize) {
        // Far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        {
            self.up.set(up as f64);
            self.down.set(down as f64);
            self.rooms.set(rooms as f64);
            self.tail_bytes.set(tail_bytes as f64);
        }
    }

    /// Shows the bytes that users' tokens take, and counts those that had to go for others.
    pub fn show_tokens(&self, bytes: usize, dropped: u64) {
        // Far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        self.token_bytes.set(bytes as f64);
        self.tokens_dropped.increment(dropped);
    }

    /// Shows the home's clock less this one's (ms).
    pub fn show_clock(&self, ahead: i64) {
        // Far below 2^52, unless the home lies.
        #[allow(clippy::cast_precision_loss)]
        self.clock.set(ahead as f64 / 1_000.0);
    }

    /// Shows the time from a sign of life to its answer.
    pub fn show_round_trip(&self, took: Duration) {
        self.round_trip.set(took.as_secs_f64());
    }
}

impl Default for UpstreamMetrics {
    /// Handles of the recorder that is current.
    fn default() -> Self {
        describe(UPSTREAM_DESCRIPTIONS);
        let links = |state: &'static str| gauge!("roomcast_upstream_links", "state" => state);
        let bytes = |direction: &'static str| counter!("roomcast_upstream_bytes_total", "direction" => direction);
        let reads = |from: &'static str| counter!("roomcast_upstream_reads_total", "from" => from);
        let refused = |reason: &'static str| counter!("roomcast_upstream_refused_total", "reason" => reason);
        let calls = |outcome: &'static str| counter!("roomcast_upstream_calls_total", "outcome" => outcome);
        Self {
            up: links("up"),
            down: links("down"),
            rooms: gauge!("roomcast_upstream_rooms"),
            tail_bytes: gauge!("roomcast_upstream_tail_bytes"),
            token_bytes: gauge!("roomcast_upstream_token_bytes"),
            tokens_dropped: counter!("roomcast_upstream_tokens_dropped_total"),
            users_refused: counter!("roomcast_upstream_users_refused_total"),
            lag: histogram!("roomcast_upstream_lag_seconds"),
            round_trip: gauge!("roomcast_upstream_round_trip_seconds"),
            clock: gauge!("roomcast_upstream_clock_ahead_seconds"),
            bytes_in: bytes("in"),
            bytes_out: bytes("out"),
            reconnects: counter!("roomcast_upstream_reconnects_total"),
            read_tail: reads("tail"),
            read_home: reads("home"),
            calls_ok: calls("ok"),
            calls_refused: calls("refused"),
            calls_unknown: calls("unknown"),
            calls_repeated: calls("repeated"),
            refused_answer: refused("answer"),
            refused_question: refused("question"),
        }
    }
}

/// What the metrics of an edge say.
pub const UPSTREAM_DESCRIPTIONS: &[(&str, &str)] = &[
    ("roomcast_upstream_links", "Links to the home, one for each of `upstream.urls`, by state: up, down."),
    ("roomcast_upstream_rooms", "Rooms that this edge follows at its home."),
    ("roomcast_upstream_tail_bytes", "Bytes of the newest events of followed rooms, against upstream.tail_bytes."),
    (
        "roomcast_upstream_token_bytes",
        "Bytes of users' tokens that the home may be shown, against upstream.token_bytes.",
    ),
    ("roomcast_upstream_tokens_dropped_total", "Tokens of users that had no place any more: upstream.token_bytes."),
    (
        "roomcast_upstream_users_refused_total",
        "What the home refused since it was shown no token of the user that it finds good.",
    ),
    (
        "roomcast_upstream_lag_seconds",
        "From when the home accepted an event until this edge had it, by an estimate of the home's clock.",
    ),
    ("roomcast_upstream_round_trip_seconds", "From a sign of life to its answer, of the link that answered last."),
    ("roomcast_upstream_clock_ahead_seconds", "The home's clock less this edge's, as the last sign of life showed."),
    ("roomcast_upstream_bytes_total", "Bytes between this edge and its home, below TLS, by direction: in, out."),
    ("roomcast_upstream_reconnects_total", "Links to the home that ended or could not be made."),
    ("roomcast_upstream_reads_total", "Parts of logs that were asked for, by where they came from: tail, home."),
    (
        "roomcast_upstream_calls_total",
        "Calls to the home, by outcome: ok, refused, unknown; and those that were repeated over another link.",
    ),
    (
        "roomcast_upstream_refused_total",
        "What the home said in vain: an answer that cannot be one, a question above those that are answered at once.",
    ),
];
