//! Metrics of the questions to a backend that decides; only a pod with `[hooks]` has them.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// What each says, besides the pod's own.
pub const HOOK_DESCRIPTIONS: &[(&str, &str)] = &[
    (
        "roomcast_hook_questions_total",
        "Questions to the backend by hook and result: allowed, denied, cached (an answer that was kept, or another's), timeout, \
         failed (no answer, or a status that is none), bad_answer (not understood, or too large), full (too many under way), cancelled (a call whose client has gone).",
    ),
    ("roomcast_hook_retries_total", "Questions that were asked again, by hook."),
    ("roomcast_hook_seconds", "How long the backend took to answer, retries included, by hook."),
    ("roomcast_hook_in_flight", "Questions under way, against hooks.in_flight."),
    ("roomcast_hook_calls_in_flight", "Calls of clients (rpc) under way, against hooks.rpc_in_flight."),
    ("roomcast_hook_cache_bytes", "Bytes of answers that are kept, against hooks.cache, by hook."),
];

/// The handles.
#[derive(Debug, Clone)]
pub struct HookMetrics {
    /// Of the connect hook.
    pub connect: HookCounts,
    /// Of the subscribe hook.
    pub subscribe: HookCounts,
    /// Of the publish hook.
    pub publish: HookCounts,
    /// Of the calls of clients.
    pub rpc: HookCounts,
    /// Questions under way.
    pub in_flight: Gauge,
    /// Calls of clients under way.
    pub calls_in_flight: Gauge,
}

/// What became of one hook's questions.
#[derive(Debug, Clone)]
pub struct HookCounts {
    /// The backend allowed it.
    pub allowed: Counter,
    /// The backend denied it.
    pub denied: Counter,
    /// An answer was there.
    pub cached: Counter,
    /// None came in time.
    pub timeout: Counter,
    /// None came, or one with a status that says so.
    pub failed: Counter,
    /// What came was none.
    pub bad_answer: Counter,
    /// Too many were under way.
    pub full: Counter,
    /// Nothing waits for the answer any more.
    pub cancelled: Counter,
    /// Attempts beyond the first.
    pub retries: Counter,
    /// How long an answer took.
    pub seconds: Histogram,
    /// What is kept.
    pub cache_bytes: Gauge,
}

impl HookCounts {
    fn new(hook: &'static str) -> Self {
        let result =
            |result: &'static str| counter!("roomcast_hook_questions_total", "hook" => hook, "result" => result);
        Self {
            allowed: result("allowed"),
            denied: result("denied"),
            cached: result("cached"),
            timeout: result("timeout"),
            failed: result("failed"),
            bad_answer: result("bad_answer"),
            full: result("full"),
            cancelled: result("cancelled"),
            retries: counter!("roomcast_hook_retries_total", "hook" => hook),
            seconds: histogram!("roomcast_hook_seconds", "hook" => hook),
            cache_bytes: gauge!("roomcast_hook_cache_bytes", "hook" => hook),
        }
    }
}

impl Default for HookMetrics {
    /// Handles of the recorder that is current.
    fn default() -> Self {
        super::describe(HOOK_DESCRIPTIONS);
        Self {
            connect: HookCounts::new("connect"),
            subscribe: HookCounts::new("subscribe"),
            publish: HookCounts::new("publish"),
            rpc: HookCounts::new("rpc"),
            in_flight: gauge!("roomcast_hook_in_flight"),
            calls_in_flight: gauge!("roomcast_hook_calls_in_flight"),
        }
    }
}
