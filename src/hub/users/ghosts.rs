//! Finds records that name this pod although their user is not here: a failover brings back what was stored a moment before.
//!
//! Always holds: the records themselves decide; a user that is here is not touched.

use std::time::Duration;

use super::presence::UserPresence;
use crate::broker::BrokerError;

/// The time from one look to the next.
const LOOK_EVERY: Duration = Duration::from_secs(300);

/// How many users of a part are looked at: others are the next time.
const OF_A_PART: usize = 100;

impl UserPresence {
    /// Looks for them, for ever.
    pub(super) async fn look_for_ghosts(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Err(error) = self.drop_ghosts().await {
                tracing::debug!(%error, "which users this pod looks after is not known");
            }
        }
    }

    /// Has the records looked at of users that this pod looks after and that are not here.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn drop_ghosts(&self) -> Result<(), BrokerError> {
        for part in 0..self.records.parts() {
            let users = self.records.users_of(&self.pod, part, OF_A_PART).await?;
            let (mut registry, now) = (self.lock(), self.now_ms());
            let found = users.iter().filter(|user| registry.recheck_missing(user, now)).count();
            drop(registry);
            if found > 0 {
                self.activity.notify_one();
            }
        }
        Ok(())
    }
}
