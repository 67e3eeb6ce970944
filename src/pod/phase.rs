//! The phases of a pod, which all its threads follow.

use std::time::Instant;

use tokio::sync::watch;

use super::last_steps::{LastStep, LastSteps};

/// How far the end of a pod has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connections are accepted.
    Serving,
    /// No connection is accepted; open ones are closed at their moments.
    Closed,
    /// Everything ends. What is still to be written must be by then.
    Ended(Instant),
}

/// Waits for the end. Returns by when what is written last must be.
pub(super) async fn end_of(phase: &mut watch::Receiver<Phase>) -> Instant {
    match phase.wait_for(|phase| matches!(phase, Phase::Ended(_))).await.as_deref() {
        Ok(Phase::Ended(writes_by)) => *writes_by,
        // The pod was dropped.
        Ok(_) | Err(_) => LastSteps::at_once(Instant::now()).until(LastStep::Writes),
    }
}
