//! What became of rows that stayed pending, because a pod died or an answer was lost.
//!
//! Each is published once more under its key: the broker answers with the position of what was published already, and publishes what was
//! not. Always holds: of several pods one looks after a row at a time; a row is published only as long as its key would be known, in the
//! log that it was pending for, and while it is there: what erases it waits until it is published, and then finds it in the log.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio_postgres::Row;

use super::{
    archive_state::{Archive, ArchiveCondition},
    error::ArchiveError,
    pending_row::{PendingRow, RowId, side_named, side_of},
};
use crate::{
    broker::{BrokerError, Standing},
    model::{Epoch, Room},
};

/// How many rows are looked after at a time.
const AT_ONCE: i64 = 64;

/// Rows that no pod has looked after lately. What another pod claims at this moment is passed over.
const CLAIM: &str = "
UPDATE roomcast_pending p SET claimed = now() FROM (
  SELECT id, claimed FROM roomcast_pending
  WHERE NOT is_unknown AND created < now() - make_interval(secs => $1)
    AND (claimed IS NULL OR claimed < now() - make_interval(secs => $1))
  ORDER BY created LIMIT $2 FOR UPDATE SKIP LOCKED) AS due
WHERE p.id = due.id
RETURNING p.id, room, side, key, hash, topic, event_key, event_id, author, is_binary, data, seal,
  extract(epoch FROM clock_timestamp() - created)::float8, due.claimed IS NOT NULL";

const GIVE_UP: &str = "UPDATE roomcast_pending SET is_unknown = true WHERE id = $1";

const NEWEST: &str = "SELECT epoch FROM roomcast_generations WHERE room = $1 ORDER BY generation DESC LIMIT 1";

/// What looks after pending rows.
pub(super) struct Repair<'a>(pub(super) &'a Archive);

/// A row that was claimed.
struct ClaimedRow {
    row: PendingRow,
    age: Duration,
    at: Instant,
    /// Whether a pod looked after it before.
    was_claimed: bool,
}

/// Why nothing can be said of a row any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum GivenUp {
    #[error("it is older than half of the time for which its key is known")]
    TooOld,
    #[error("its room has another log by now")]
    OtherLog,
    #[error("its payload does not open: a key is missing in `archive.key_file`, or the row was changed")]
    Sealed,
}

impl Repair<'_> {
    /// Looks after all rows that are due.
    ///
    /// # Errors
    /// [`ArchiveError`], the first: that row, or what was not claimed yet, is left to a later round, or another pod.
    pub(super) async fn round(&self) -> Result<(), ArchiveError> {
        loop {
            let after = self.0.settings.repair_after.as_secs_f64();
            let at = Instant::now();
            let rows = self.0.readers.take().await?.query(CLAIM, &[&after, &AT_ONCE]).await?;
            let count = rows.len();
            let mut claimed: Vec<ClaimedRow> = rows.iter().filter_map(|row| claimed_row(row, at)).collect();
            // The oldest first, as they were published.
            claimed.sort_by_key(|claimed| std::cmp::Reverse(claimed.age));
            let mut settled = Ok(());
            for row in claimed {
                // What one room's log or rows do not allow is of no matter to another's.
                let room = row.row.room.clone();
                if let Err(error) = self.settle(row).await {
                    tracing::debug!(%room, %error, "a pending event of the archive was not settled this time");
                    settled = settled.and(Err(error));
                    // Also where a server of the broker is away, so that the rows of others have their turn.
                    if self.0.condition() == ArchiveCondition::Down || at.elapsed() > self.0.settings.repair_after / 2 {
                        break;
                    }
                }
            }
            if settled.is_err() || count < AT_ONCE as usize {
                return settled;
            }
        }
    }

    async fn settle(&self, claimed: ClaimedRow) -> Result<(), ArchiveError> {
        let (id, room) = (claimed.row.id, claimed.row.room.clone());
        let was_claimed = claimed.was_claimed;
        if let Some(why) = self.given_up(&claimed).await? {
            // After an outage the pod that published it has its time first: it may know the position.
            return if was_claimed { self.give_up(id, &room, why).await } else { Ok(()) };
        }
        let Ok(publication) = claimed.row.into_publication(self.0.seals.as_ref()) else {
            return self.give_up(id, &room, GivenUp::Sealed).await;
        };
        // It was erased or settled meanwhile.
        let Some(held) = self.0.readers.hold(&id).await? else { return Ok(()) };
        let published = self.0.broker.publish(&room, publication).await;
        held.release().await;
        match published {
            Ok(position) => {
                self.0.confirm(&room, id, &position).await?;
                self.0.desk.metrics.settled.increment(1);
                tracing::info!(%room, offset = position.offset, "a pending event of the archive was settled");
            }
            // Another event has the key: this one was refused, and its pod died before it took the row back.
            Err(BrokerError::Conflict | BrokerError::UnknownTopic | BrokerError::TooLarge { .. }) => {
                self.0.withdraw_claimed(id);
                self.0.desk.metrics.withdrawn.increment(1);
            }
            // The next pod that looks asks again.
            Err(error @ (BrokerError::Unavailable(_) | BrokerError::NoToken(_) | BrokerError::Unknown)) => {
                return Err(ArchiveError::Unavailable(error.to_string()));
            }
        }
        Ok(())
    }

    /// Whether nothing can be said of a row any more, and why.
    async fn given_up(&self, claimed: &ClaimedRow) -> Result<Option<GivenUp>, ArchiveError> {
        if is_too_old(claimed.age + claimed.at.elapsed(), self.0.known_for) {
            return Ok(Some(GivenUp::TooOld));
        }
        let room = &claimed.row.room;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(claimed.age);
        if !self.0.keys.knows_keys_since(room, u64::try_from(since.as_millis()).unwrap_or(0)) {
            return Ok(Some(GivenUp::OtherLog));
        }
        let newest = self.0.readers.take().await?.query(NEWEST, &[&room.as_str()]).await?;
        // A room that has no life in the archive had nothing in its log when the row came.
        let Some(epoch) = newest.first().map(|row| Epoch::new(row.get(0))) else { return Ok(None) };
        let asked = [(room.clone(), vec![epoch])];
        let said = self.0.acks.standings(&asked).await.pop();
        let Some(Ok(Standing { reaches, .. })) = said else {
            return Err(ArchiveError::Unavailable("the log does not say where it stands".to_owned()));
        };
        Ok(reaches.first().copied().flatten().is_none().then_some(GivenUp::OtherLog))
    }

    async fn give_up(&self, id: RowId, room: &Room, why: GivenUp) -> Result<(), ArchiveError> {
        self.0.readers.take().await?.query(GIVE_UP, &[&&id[..]]).await?;
        self.0.desk.metrics.given_up.increment(1);
        let row: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        tracing::error!(%room, row, %why, "nothing tells whether a pending event of the archive was published: it never will be");
        Ok(())
    }
}

/// Whether a row is too old to be published again. A key is forgotten some time after the row came.
fn is_too_old(age: Duration, known_for: Duration) -> bool {
    age >= known_for / 2
}

/// `at`: when its age was asked for, which it was at least.
fn claimed_row(row: &Row, at: Instant) -> Option<ClaimedRow> {
    let text = |index: usize| row.get::<_, Option<&str>>(index).map(Into::into);
    let pending = PendingRow {
        id: row.get::<_, &[u8]>(0).try_into().ok()?,
        room: Room::parse(row.get(1)).ok()?,
        side: side_of(side_named(row.get(2))),
        key: row.get::<_, &str>(3).into(),
        hash: row.get::<_, &[u8]>(4).try_into().ok()?,
        topic: row.get::<_, &str>(5).into(),
        event_key: text(6),
        event_id: text(7),
        author: text(8),
        is_binary: row.get(9),
        data: row.get(10),
        seal: text(11),
    };
    let age = Duration::try_from_secs_f64(row.get::<_, f64>(12)).unwrap_or_default();
    Some(ClaimedRow { row: pending, age, at, was_claimed: row.get(13) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_published_only_while_its_key_is_known() {
        let seconds = Duration::from_secs;
        assert!(!is_too_old(seconds(149), seconds(300)));
        assert!(is_too_old(seconds(150), seconds(300)));
        assert!(is_too_old(seconds(9_000), seconds(300)));
    }
}
