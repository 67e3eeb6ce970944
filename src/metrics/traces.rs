//! What becomes of spans; only a pod with `traces.otlp_endpoint` has these.

use metrics::{Counter, Gauge, counter, gauge};

/// What each says, besides the pod's own.
pub const TRACE_DESCRIPTIONS: &[(&str, &str)] = &[
    (
        "roomcast_trace_spans_total",
        "Spans by outcome: sent, refused (the trace collector did not take them), failed (it could not be reached, several times), dropped (too \
         many waited, or too many publishes at once for their fan-outs to be told).",
    ),
    ("roomcast_trace_spans_waiting", "Spans that wait to be sent, against traces.queue."),
];

/// The handles.
#[derive(Debug, Clone)]
pub struct TraceMetrics {
    /// The trace collector took them.
    pub sent: Counter,
    /// It did not.
    pub refused: Counter,
    /// It could not be reached.
    pub failed: Counter,
    /// There was no place for them.
    pub dropped: Counter,
    /// Those that wait.
    pub waiting: Gauge,
}

impl Default for TraceMetrics {
    /// Handles of the recorder that is current.
    fn default() -> Self {
        super::describe(TRACE_DESCRIPTIONS);
        let outcome = |outcome: &'static str| counter!("roomcast_trace_spans_total", "outcome" => outcome);
        Self {
            sent: outcome("sent"),
            refused: outcome("refused"),
            failed: outcome("failed"),
            dropped: outcome("dropped"),
            waiting: gauge!("roomcast_trace_spans_waiting"),
        }
    }
}
