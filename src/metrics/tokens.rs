//! Metrics of clients' tokens.

use metrics::{Counter, Gauge, counter, gauge};

/// Clients' tokens by what became of them, and the keys that are fetched. Cloning shares the handles.
#[derive(Debug, Clone)]
pub struct TokenMetrics {
    /// Good.
    pub accepted: Counter,
    /// Good once, but over.
    pub expired: Counter,
    /// Never good here.
    pub refused: Counter,
    /// Not to be judged, because the keys could not be fetched yet.
    pub outage: Counter,
    /// Known, but what is kept under it could be used only in part, or not at all.
    pub faulty_objects: Counter,
    /// Seconds since the key set in use was fetched.
    pub jwks_age: Gauge,
    /// Fetches of the key set that failed.
    pub jwks_failures: Counter,
    /// 1 while the files of keys, or what the configuration says of keys, are unusable.
    pub keys_broken: Gauge,
}

impl TokenMetrics {
    /// Handles that count nothing.
    #[must_use]
    pub fn none() -> Self {
        let counter = Counter::noop;
        Self {
            accepted: counter(),
            expired: counter(),
            refused: counter(),
            outage: counter(),
            faulty_objects: counter(),
            jwks_age: Gauge::noop(),
            jwks_failures: counter(),
            keys_broken: Gauge::noop(),
        }
    }
}

impl Default for TokenMetrics {
    fn default() -> Self {
        let token = |result: &'static str| counter!("roomcast_tokens_total", "result" => result);
        Self {
            accepted: token("accepted"),
            expired: token("expired"),
            refused: token("refused"),
            outage: token("outage"),
            faulty_objects: counter!("roomcast_token_faulty_objects_total"),
            jwks_age: gauge!("roomcast_jwks_age_seconds"),
            jwks_failures: counter!("roomcast_jwks_failures_total"),
            keys_broken: gauge!("roomcast_token_keys_broken"),
        }
    }
}
