//! The phases of a pod, which all its threads follow.

use std::time::Duration;

/// How much longer than connections calls of the API may take that were begun before the end.
pub(super) const API_TIME: Duration = Duration::from_secs(3);

/// How far the end of a pod has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connections are accepted.
    Serving,
    /// No connection is accepted; open ones are closed at their moments.
    Closed,
    /// Everything ends.
    Ended,
}
