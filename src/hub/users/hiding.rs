//! Tells the other pods whose hiding has changed, so that they look at these users' records.
//!
//! Always holds: one question at a time is under way, and few a second, so that clients cannot keep the fleet's questions busy. A user
//! of whom a pod was not told is looked at there minutes later.

use std::time::Duration;

use super::presence::UserPresence;
use crate::broker::FleetQuestion;

/// How long other pods are waited for.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// The time from one question to the next.
const ASK_EVERY: Duration = Duration::from_millis(100);

impl UserPresence {
    /// Tells the other pods, for ever.
    pub(super) async fn tell_of_hiding(&self) {
        loop {
            let users = self.hiding.wait().await;
            if let Err(error) = self.control.ask_others(&FleetQuestion::Users(users), TOLD_WITHIN).await {
                tracing::debug!(%error, "other pods could not be told that users hide or show");
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}
