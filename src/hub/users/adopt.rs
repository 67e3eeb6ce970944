//! Looks after the users of pods that are gone.
//!
//! Always holds: a pod that is gone is forgotten only when none of its users was found in any part.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};

use super::{
    pods_gone::{LostPod, PodsGone},
    presence::UserPresence,
};
use crate::{
    broker::BrokerError,
    hub::worker::clock::{millis, unix_millis},
    model::UnixMillis,
};

/// How many users of pods that are gone wait to be looked at.
const MAX_ADOPTED: usize = 1_000;

/// How many users of such a pod are asked for at once.
const ADOPTED_AT_ONCE: usize = 100;

impl UserPresence {
    /// Which pods are gone is asked so often.
    pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

    /// Asks which pods are gone, and whether this one was taken for gone.
    pub(super) async fn look_for_pods(&self, gone: &mut PodsGone, lapses: &mut u64) -> Result<(), BrokerError> {
        let now_gone = self.records.pods_gone().await?;
        let now = self.now_ms();
        gone.note(&now_gone, now, unix_millis(), millis(self.settings.offline_after));
        let lapsed = self.records.lapses();
        if std::mem::replace(lapses, lapsed) != lapsed {
            self.lock().recheck_all(now);
            self.activity.notify_one();
        }
        Ok(())
    }

    /// Looks after the users of pods that are gone, for ever.
    pub(super) async fn look_after_pods(&self, mut gone: PodsGone, mut lapses: u64) {
        loop {
            for LostPod { pod, seen } in gone.due(self.now_ms()) {
                match self.adopt_users(&pod, seen).await {
                    Ok(0) => {
                        if self.records.forget_pod(&pod).await.is_ok() {
                            tracing::info!(%pod, "all users of a pod that is gone were looked at");
                        }
                    }
                    Ok(_) => {}
                    Err(error) => tracing::debug!(%pod, %error, "the users of a pod that is gone could not be read"),
                }
            }
            let now = self.now_ms();
            let due = gone.next_due(now).map_or(Self::LOOK_EVERY, |due| Duration::from_millis(due - now));
            tokio::time::sleep(due.min(Self::LOOK_EVERY)).await;
            if let Err(error) = self.look_for_pods(&mut gone, &mut lapses).await {
                tracing::debug!(%error, "which pods are gone is not known");
            }
        }
    }

    /// Takes over the users of a pod that is gone. Returns how many there were.
    async fn adopt_users(&self, pod: &Arc<str>, seen: UnixMillis) -> Result<usize, BrokerError> {
        let parts = self.records.parts();
        // Several pods share the work: each begins elsewhere.
        let first = u64::from_str_radix(&self.pod, 16).unwrap_or_default() as usize % parts;
        let mut found = 0;
        let asked = stream::iter(0..parts).map(|n| self.records.users_of(pod, (first + n) % parts, ADOPTED_AT_ONCE));
        let mut asked = std::pin::pin!(asked.buffered(8));
        while let Some(users) = asked.next().await {
            let users = users?;
            found += users.len();
            {
                let (mut registry, now) = (self.lock(), self.now_ms());
                for user in &users {
                    registry.adopt(user, pod, seen, now);
                }
            }
            self.activity.notify_one();
            while self.lock().backlog() > MAX_ADOPTED {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(found)
    }
}
