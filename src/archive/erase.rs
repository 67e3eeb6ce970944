//! What the archive forgets: rooms, users, what is too old.
//!
//! Always holds: a row of another user's room stays in its place without what the user wrote, so that a page has no hole; each statement
//! is bounded, and what is left is the next one's.

use super::{archive_state::Archive, error::ArchiveError};
use crate::model::Room;

/// The most rows of one statement.
const AT_ONCE: i64 = 5_000;

/// The most statements by which old rows go at a time.
const AGED_STATEMENTS: usize = 20;

/// The tables with rows of a room, in the order in which they go: the lives last, by which the others are read.
const OF_A_ROOM: [&str; 4] = ["roomcast_pending", "roomcast_messages", "roomcast_reads", "roomcast_generations"];

/// What a user wrote goes; that it wrote something stays.
const EMPTY_ROWS: &str = r#"
UPDATE roomcast_messages SET data = NULL, seal = NULL, author = NULL, event_key = NULL, event_id = NULL
WHERE (room, generation, "offset") IN (SELECT room, generation, "offset" FROM roomcast_messages WHERE author = $1 LIMIT $2)
RETURNING 1"#;

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
    /// Forgets a room. Whether there was anything.
    ///
    /// # Errors
    /// [`ArchiveError`]: some of it may be gone.
    pub(super) async fn forget_room(&self, room: &Room) -> Result<bool, ArchiveError> {
        let mut connection = self.readers.take().await?;
        let mut found = false;
        for table in OF_A_ROOM {
            let delete = format!(
                "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE room = $1 LIMIT $2)) RETURNING 1"
            );
            loop {
                let gone = connection.query(&delete, &[&room.as_str(), &AT_ONCE]).await?.len();
                found |= gone > 0;
                if gone < AT_ONCE as usize {
                    break;
                }
            }
        }
        self.forget_generations(room);
        Ok(found)
    }

    /// Forgets a user: its own rooms, what it wrote in others', how far it has read.
    ///
    /// # Errors
    /// [`ArchiveError`]: some of it may be gone.
    pub(super) async fn forget_user(&self, user: &str, own: &[Room]) -> Result<(), ArchiveError> {
        self.reads.forget(user);
        for room in own {
            self.forget_room(room).await?;
        }
        let mut connection = self.readers.take().await?;
        connection.query("DELETE FROM roomcast_pending WHERE author = $1", &[&user]).await?;
        connection.query("DELETE FROM roomcast_reads WHERE reader = $1", &[&user]).await?;
        while connection.query(EMPTY_ROWS, &[&user, &AT_ONCE]).await?.len() == AT_ONCE as usize {}
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
        Ok(aged)
    }
}
