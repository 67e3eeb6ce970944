//! What a home counts of its edges.

use metrics::{Counter, Gauge, counter, gauge};

use super::descriptions::describe;

/// The links of edges; only a pod with `relay.listen` has them.
#[derive(Debug)]
pub struct RelayMetrics {
    edges: Gauge,
    /// Bytes of records to edges.
    pub bytes_out: Counter,
    /// Bytes that compression saved on the way to edges.
    pub saved: Counter,
    /// Bytes of records from edges.
    pub bytes_in: Counter,
    /// Deliveries that a link's queue had no place for.
    pub dropped: Counter,
    /// Calls that were carried out.
    pub calls: Counter,
    /// Refused: the key is none.
    pub refused_key: Counter,
    /// Refused: the edge is between this pod and the log.
    pub refused_circle: Counter,
    /// Refused: too many pods are between the edge and the log.
    pub refused_hops: Counter,
    /// Refused: edges may not have the room.
    pub refused_room: Counter,
    /// Refused: edges may not publish.
    pub refused_publish: Counter,
    /// Refused: edges may not order.
    pub refused_orders: Counter,
    /// Refused: the edge's name is another's.
    pub refused_name: Counter,
    /// Refused: what an edge said of its connections is no answer to the question, or names users without a token that it has shown.
    pub refused_answer: Counter,
    /// Refused: there are as many links as there may be.
    pub refused_full: Counter,
    /// Refused: what was said is longer, or more, than may be said.
    pub refused_size: Counter,
    /// Refused: the edges have told of as many members as there may be.
    pub refused_members: Counter,
    /// Refused: a token that an edge has shown is not good, names no user, or cannot be verified now.
    pub refused_token: Counter,
    /// Refused: the edge has shown no live token of the user in whose name it acts.
    pub refused_user: Counter,
    /// Refused: the pod's memory is short.
    pub refused_memory: Counter,
    /// Sockets that were no links yet and made place for others.
    pub refused_waiting: Counter,
    /// Cut: it said nothing.
    pub cut_silent: Counter,
    /// Cut: it does not take what it is told.
    pub cut_slow: Counter,
    /// Cut: it said what no edge says.
    pub cut_words: Counter,
    /// Cut: it holds more than it may.
    pub cut_limit: Counter,
}

impl RelayMetrics {
    /// Shows how many links there are.
    pub fn show_edges(&self, count: usize) {
        // Far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        self.edges.set(count as f64);
    }
}

impl Default for RelayMetrics {
    /// Handles of the recorder that is current.
    fn default() -> Self {
        describe(RELAY_DESCRIPTIONS);
        let bytes = |direction: &'static str| counter!("roomcast_relay_bytes_total", "direction" => direction);
        let refused = |reason: &'static str| counter!("roomcast_relay_refused_total", "reason" => reason);
        let cut = |reason: &'static str| counter!("roomcast_relay_cut_total", "reason" => reason);
        Self {
            edges: gauge!("roomcast_relay_edges"),
            bytes_out: bytes("out"),
            bytes_in: bytes("in"),
            saved: counter!("roomcast_relay_saved_bytes_total"),
            dropped: counter!("roomcast_relay_dropped_total"),
            calls: counter!("roomcast_relay_calls_total"),
            refused_key: refused("key"),
            refused_circle: refused("circle"),
            refused_hops: refused("hops"),
            refused_room: refused("room"),
            refused_publish: refused("publish"),
            refused_orders: refused("orders"),
            refused_name: refused("name"),
            refused_answer: refused("answer"),
            refused_full: refused("full"),
            refused_size: refused("size"),
            refused_members: refused("members"),
            refused_token: refused("token"),
            refused_user: refused("user"),
            refused_memory: refused("memory"),
            refused_waiting: refused("waiting"),
            cut_silent: cut("silent"),
            cut_slow: cut("slow"),
            cut_words: cut("words"),
            cut_limit: cut("limit"),
        }
    }
}

/// What the metrics of a home and of an edge say.
pub const RELAY_DESCRIPTIONS: &[(&str, &str)] = &[
    ("roomcast_relay_edges", "Links of edges to this pod."),
    ("roomcast_relay_bytes_total", "Bytes between this pod and its edges, below TLS, by direction: in, out."),
    ("roomcast_relay_saved_bytes_total", "Bytes that compression saved on the way to edges (`relay.compress`)."),
    (
        "roomcast_relay_dropped_total",
        "Deliveries that the queue of an edge's link had no place for: the edge reads them from the log.",
    ),
    ("roomcast_relay_calls_total", "Calls of edges that were carried out."),
    (
        "roomcast_relay_refused_total",
        "What edges asked for in vain, by reason: key, circle, hops, room, publish, orders, name, answer, full, size, members, token, user, memory, waiting.",
    ),
    ("roomcast_relay_cut_total", "Links of edges that this pod cut, by reason: silent, slow, words, limit."),
];
