//! The phases of a pod, which all its threads follow.

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
