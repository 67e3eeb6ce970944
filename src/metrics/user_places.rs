//! What becomes of connections' claims of their users' places.

use metrics::{Counter, counter};

/// Claims and places by what became of them.
#[derive(Debug)]
pub struct UserPlaceMetrics {
    /// The connection has a place.
    pub taken: Counter,
    /// The user had as many as it may have: the connection is closed.
    pub refused: Counter,
    /// A connection lost its place to a newer one of its user.
    pub displaced: Counter,
    /// One of those, on another pod, could not be told.
    pub untold: Counter,
    /// This pod judged alone, because Redis did not answer.
    pub alone: Counter,
    /// Too many claims waited: the connection stays and is not counted.
    pub uncounted: Counter,
}

impl Default for UserPlaceMetrics {
    fn default() -> Self {
        let counter = |outcome: &'static str| counter!("roomcast_user_places_total", "outcome" => outcome);
        Self {
            taken: counter("taken"),
            refused: counter("refused"),
            displaced: counter("displaced"),
            untold: counter("untold"),
            alone: counter("alone"),
            uncounted: counter("uncounted"),
        }
    }
}
