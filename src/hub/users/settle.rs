//! Brings the records of users up to date, and tells their followers.
//!
//! Always holds: an announcement is decided in the record before it is published and confirmed after, so that another pod can go on
//! in between; the same one is one event, whichever pod publishes it.

use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use serde_json::{json, value::to_raw_value};

use super::{
    attempts::Attempts,
    look::{LookOutcome, Settlement},
    presence::{AT_ONCE, UserPresence},
    record::{Announcement, UserRecord},
};
use crate::{
    broker::{BrokerError, StoredUser},
    model::{Payload, Publication, Room, UnixMillis, UserStatus},
};

/// An announcement is published soon after it was decided or read, or read again.
const MOST_FRESH: Duration = Duration::from_secs(60);

impl UserPresence {
    /// Does what is to be done, for ever.
    pub(super) async fn settle_all(&self) {
        let mut looks = FuturesUnordered::new();
        loop {
            let now = self.now_ms();
            let due = {
                let mut registry = self.lock();
                registry.tick(now);
                while looks.len() < AT_ONCE
                    && let Some(settlement) = registry.next(now)
                {
                    looks.push(async move {
                        let outcome = self.settle(&settlement).await;
                        (settlement, outcome)
                    });
                }
                self.metrics.users.set(registry.here() as f64);
                self.metrics.waiting.set(registry.backlog() as f64);
                registry.next_due(now)
            };
            let pause =
                due.map_or(Duration::from_secs(60), |due| Duration::from_millis(due.saturating_sub(now).max(1)));
            tokio::select! {
                Some((settlement, outcome)) = looks.next(), if !looks.is_empty() => {
                    let mut over = vec![(settlement, outcome)];
                    while let Some(Some(one)) = looks.next().now_or_never() {
                        over.push(one);
                    }
                    let mut registry = self.lock();
                    for (settlement, outcome) in over {
                        registry.done(&settlement, outcome, self.now_ms());
                    }
                }
                () = self.activity.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn settle(&self, settlement: &Settlement) -> LookOutcome {
        let Some(room) = self.room_of(&settlement.user) else { return LookOutcome::Settled { listed: false } };
        match self.bring_up(&room, settlement).await {
            Ok(outcome) => outcome,
            Err(error) => {
                self.metrics.failed.increment(1);
                tracing::debug!(user = %settlement.user, %error, "the record of a user could not be brought up to date");
                LookOutcome::Failed
            }
        }
    }

    /// Makes a user's record say what this pod knows, and tells what follows from it.
    async fn bring_up(&self, room: &Room, settlement: &Settlement) -> Result<LookOutcome, BrokerError> {
        let Settlement { user, here, seen, listed, left, may_tell } = settlement;
        let mut attempts = Attempts::default();
        loop {
            attempts.begin()?;
            let read_at = Instant::now();
            let renew = here.then_some(self.settings.keep);
            let StoredUser { now, record: stored } = self.records.read_user(room, renew).await?;
            let before = self.read(room, stored.as_ref())?;
            let mut record = before.clone();
            if *here {
                record.arrive(&self.pod);
            } else {
                record.leave(&self.pod, seen.unwrap_or(now));
            }
            // One that came back meanwhile has its users.
            let left = left.as_ref().filter(|(pod, _)| self.records.is_gone(pod));
            if let Some((pod, seen)) = left {
                record.leave(pod, *seen);
            }
            let listing = (*here && !record.is_hidden()) || record.owes();
            let released_by = left.map(|(pod, _)| &**pod);
            // Of one that hides not even this is said.
            if !listing && !listed && released_by.is_none() && record == before {
                return Ok(LookOutcome::Settled { listed: false });
            }
            if !self.write(user, room, stored, &record, Some(listing), released_by).await? {
                continue;
            }
            if !record.owes() {
                return Ok(LookOutcome::Settled { listed: listing });
            }
            if !may_tell {
                return Ok(LookOutcome::Owes);
            }
            if self.tell(user, room, &mut record, *here, now, read_at).await? {
                return Ok(LookOutcome::Settled { listed: *here && !record.is_hidden() });
            }
        }
    }

    /// Tells all that a record owes. `false`: another pod changed it meanwhile.
    async fn tell(
        &self,
        user: &str,
        room: &Room,
        record: &mut UserRecord,
        here: bool,
        now: UnixMillis,
        read_at: Instant,
    ) -> Result<bool, BrokerError> {
        let mut read_at = read_at;
        loop {
            let was = record.write();
            let Some(announcement) = record.decide(now) else { return Ok(true) };
            let decided = record.write();
            if decided != was && !self.write(user, room, Some(was), record, Some(true), None).await? {
                return Ok(false);
            }
            // A pod that slept here would tell old news: its idempotency key may be forgotten.
            if read_at.elapsed() > self.records.remembers().min(MOST_FRESH) / 2 {
                return Ok(false);
            }
            self.announce(user, room, &announcement).await?;
            record.confirm();
            let listing = (here && !record.is_hidden()) || record.owes();
            if !self.write(user, room, Some(decided), record, Some(listing), None).await? {
                return Ok(false);
            }
            if !record.owes() {
                return Ok(true);
            }
            read_at = Instant::now();
        }
    }

    async fn announce(&self, user: &str, room: &Room, announcement: &Announcement) -> Result<(), BrokerError> {
        let Announcement { status, last_seen, version } = announcement;
        let data = match last_seen {
            Some(last_seen) if *status == UserStatus::Offline => {
                json!({ "user": user, "status": status, "last_seen": last_seen })
            }
            _ => json!({ "user": user, "status": status }),
        };
        let data = to_raw_value(&data).map_err(|error| BrokerError::Unavailable(error.to_string()))?;
        let publication = Publication {
            topic: "presence".into(),
            key: None,
            payload: Payload::Json(data),
            user: None,
            id: Some(version.to_string().into()),
            idempotency_key: Some(format!("presence {version}").into()),
        };
        match self.broker.publish(room, publication).await {
            Ok(_) => self.metrics.announced(*status).increment(1),
            Err(error @ (BrokerError::Unavailable(_) | BrokerError::Unknown)) => return Err(error),
            // It will not be taken another time either.
            Err(error) => {
                self.metrics.refused.increment(1);
                if let Some(count) = self.refused.due(Instant::now()) {
                    tracing::warn!(%room, %error, count, "the status of users cannot be told: does the policy know the topic `presence`?");
                }
            }
        }
        Ok(())
    }
}
