//! What the archive forgets: rooms, what is about a user alone, what is too old.
//!
//! Always holds: rows that are pending go first, and those that a pod publishes at this moment are waited for; each statement is bounded, and
//! what is left is the next one's.

use super::{archive_state::Archive, error::ArchiveError, stored_text::stored};
use crate::model::Room;

/// The most rows of one statement.
pub(super) const AT_ONCE: i64 = 5_000;

/// The most statements by which old rows go at a time.
const AGED_STATEMENTS: usize = 20;

/// The tables with rows of a room's lives, in the order in which they go: the lives last, by which the others are read.
const OF_LIVES: [&str; 4] = ["roomcast_messages", "roomcast_reads", "roomcast_delivered", "roomcast_generations"];

const NUMBER_BEHIND: &str = "UPDATE roomcast_forgotten SET generation = $1 WHERE generation < $1";

const NEWEST_LIFE: &str = "SELECT coalesce(max(generation), 0) FROM roomcast_generations WHERE room = $1";

const PENDING_OF_ROOM: &str = "
DELETE FROM roomcast_pending WHERE ctid = ANY(ARRAY(SELECT ctid FROM roomcast_pending WHERE room = $1 LIMIT $2)) RETURNING 1";

/// What is too old goes. Of several pods each takes others.
const AGED: &str = r#"
DELETE FROM roomcast_messages WHERE ctid = ANY(ARRAY(
  SELECT ctid FROM roomcast_messages WHERE created < now() - make_interval(secs => $1) LIMIT $2 FOR UPDATE SKIP LOCKED))
RETURNING 1"#;

/// Nothing is asked of these any more.
const AGED_UNKNOWN: &str = "
DELETE FROM roomcast_pending WHERE is_unknown AND created < now() - make_interval(secs => $1) RETURNING 1";

/// What was forgotten for its age.
pub(super) struct Aged {
    /// How many rows.
    pub(super) gone: usize,
    /// Whether there may be more.
    pub(super) is_more: bool,
}

impl Archive {
    /// Forgets what is pending of a room, so that nothing of it is published from here on but by publishers that are there. Whether there was
    /// anything.
    ///
    /// # Errors
    /// [`ArchiveError`]: some of it may be gone.
    pub(super) async fn forget_pending_of_room(&self, room: &Room) -> Result<bool, ArchiveError> {
        let mut connection = self.readers.take().await?;
        let mut found = false;
        loop {
            let gone = connection.query(PENDING_OF_ROOM, &[&room.as_str(), &AT_ONCE]).await?.len();
            found |= gone > 0;
            if gone < AT_ONCE as usize {
                return Ok(found);
            }
        }
    }

    /// Forgets a room, whose log begins anew from here on. Whether there was anything.
    ///
    /// # Errors
    /// [`ArchiveError`]: some of it may be gone.
    pub(super) async fn forget_room(&self, room: &Room) -> Result<bool, ArchiveError> {
        let mut found = self.forget_pending_of_room(room).await?;
        let mut connection = self.readers.take().await?;
        // A life that begins meanwhile is that of the new log, and has a number of its own.
        let newest = connection.query(NEWEST_LIFE, &[&room.as_str()]).await?;
        let newest: i64 = newest.first().map_or(0, |row| row.get(0));
        connection.query(NUMBER_BEHIND, &[&newest]).await?;
        for table in OF_LIVES {
            let delete = format!(
                "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE room = $1 AND generation <= $2 LIMIT $3)) \
                 RETURNING 1"
            );
            loop {
                let gone = connection.query(&delete, &[&room.as_str(), &newest, &AT_ONCE]).await?.len();
                found |= gone > 0;
                if gone < AT_ONCE as usize {
                    break;
                }
            }
        }
        self.generations.forget(room);
        Ok(found)
    }

    /// Forgets a user: its own rooms, and how far it has read.
    ///
    /// # Errors
    /// [`ArchiveError`]: some of it may be gone.
    pub(super) async fn forget_user(&self, user: &str, own: &[Room]) -> Result<(), ArchiveError> {
        for room in own {
            self.forget_room(room).await?;
        }
        let mut connection = self.readers.take().await?;
        for table in ["roomcast_reads", "roomcast_delivered"] {
            connection.query(&format!("DELETE FROM {table} WHERE reader = $1"), &[&&*stored(user)]).await?;
        }
        Ok(())
    }

    /// Forgets of what is older than `archive.keep` as much as one round may.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub(super) async fn forget_aged(&self) -> Result<Aged, ArchiveError> {
        let mut aged = Aged { gone: 0, is_more: false };
        let Some(keep) = self.settings.keep else { return Ok(aged) };
        let keep = keep.as_secs_f64();
        let mut connection = self.readers.take().await?;
        for _ in 0..AGED_STATEMENTS {
            let some = connection.query(AGED, &[&keep, &AT_ONCE]).await?.len();
            aged.gone += some;
            aged.is_more = some == AT_ONCE as usize;
            if !aged.is_more {
                break;
            }
        }
        connection.query(AGED_UNKNOWN, &[&keep]).await?;
        drop(connection);
        // When the messages have gone, so that it is known of which rooms none is left.
        if !aged.is_more {
            self.forget_lives(keep).await?;
        }
        Ok(aged)
    }
}
