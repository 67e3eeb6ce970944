//! Looks after the users of pods that are gone.
//!
//! Always holds: a pod that is gone is forgotten only when none of its users was found in any part, and one that came back keeps its
//! users; which pods are gone is asked on, however many users wait.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};

use super::{pod_watch::PodWatch, pods_gone::LostPod, presence::UserPresence};
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
    pub(super) async fn look_for_pods(&self, watch: &mut PodWatch) -> Result<(), BrokerError> {
        watch.looked_ms = self.now_ms();
        let now_gone = self.records.pods_gone(self.settings.keep).await?;
        let now = self.now_ms();
        watch.gone.note(&now_gone, now, unix_millis(), millis(self.settings.offline_after));
        if watch.are_users_due(self.records.lapses(), now) {
            self.lock().recheck_all(now);
            self.activity.notify_one();
        }
        Ok(())
    }

    /// The same, if it is time.
    async fn look_in_time(&self, watch: &mut PodWatch) {
        if self.now_ms() < watch.looked_ms + millis(Self::LOOK_EVERY) {
            return;
        }
        if let Err(error) = self.look_for_pods(watch).await {
            tracing::debug!(%error, "which pods are gone is not known");
        }
    }

    /// Looks after the users of pods that are gone, for ever.
    pub(super) async fn look_after_pods(&self, mut watch: PodWatch) {
        loop {
            for LostPod { pod, seen } in watch.gone.due(self.now_ms()) {
                match self.adopt_users(&pod, seen, &mut watch).await {
                    Ok(0) => {
                        if self.records.is_gone(&pod) && self.records.forget_pod(&pod).await.is_ok() {
                            tracing::info!(%pod, "all users of a pod that is gone were looked at");
                        }
                    }
                    Ok(_) => {}
                    Err(error) => tracing::debug!(%pod, %error, "the users of a pod that is gone could not be read"),
                }
            }
            let now = self.now_ms();
            let next_look = (watch.looked_ms + millis(Self::LOOK_EVERY)).max(now + 1);
            let due = watch.gone.next_due(now).map_or(next_look, |due| due.min(next_look));
            tokio::time::sleep(Duration::from_millis(due - now)).await;
            self.look_in_time(&mut watch).await;
        }
    }

    /// Takes over the users of a pod that is gone, as long as it is. Returns how many there were.
    async fn adopt_users(&self, pod: &Arc<str>, seen: UnixMillis, watch: &mut PodWatch) -> Result<usize, BrokerError> {
        let parts = self.records.parts();
        // Several pods share the work: each begins elsewhere.
        let first = u64::from_str_radix(&self.pod, 16).unwrap_or_default() as usize % parts;
        let mut found = 0;
        let asked = stream::iter(0..parts).map(|n| {
            let part = (first + n) % parts;
            async move { (part, self.records.users_of(pod, part, ADOPTED_AT_ONCE).await) }
        });
        let mut asked = std::pin::pin!(asked.buffered(8));
        while let Some((part, users)) = asked.next().await {
            let is_told_here =
                |user: &String| self.room_of(user).is_some_and(|room| self.records.part_of(&room) == part);
            let (users, strays): (Vec<_>, Vec<_>) = users?.into_iter().partition(is_told_here);
            // It may have come back meanwhile.
            if !self.records.is_gone(pod) {
                return Ok(found);
            }
            if !strays.is_empty() {
                // Users are told of in other rooms by now: no record names this pod here.
                self.records.release(pod, part, &strays).await?;
            }
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
                self.look_in_time(watch).await;
            }
        }
        Ok(found)
    }
}
