//! Lives of rooms that have no message any more, with how far users have read and got there.
//!
//! Always holds: while a life goes no event is confirmed and no read is written, for the moment of one statement, so that no row is left
//! of a life that is gone; what is numbered later is numbered behind it; one look is bounded.

use std::sync::PoisonError;

use super::{archive_state::Archive, error::ArchiveError};
use crate::model::Room;

/// The most rooms of one look.
const LOOKED_AT: i64 = 5_000;

/// The most lives that go at a time: publishes wait for it.
const GO_AT_ONCE: i64 = 500;

/// Old lives of some rooms that may go, behind a room: of each the room, and the last room that was looked at.
const FIND: &str = "
WITH looked AS (SELECT DISTINCT room FROM roomcast_generations WHERE room > $1 ORDER BY room LIMIT $2),
old AS (
  SELECT g.room, g.generation FROM looked s JOIN roomcast_generations g ON g.room = s.room
  WHERE g.created < now() - make_interval(secs => $3)
    AND NOT EXISTS (SELECT FROM roomcast_messages m WHERE m.room = g.room AND m.generation <= g.generation)
    AND NOT EXISTS (SELECT FROM roomcast_pending p WHERE p.room = g.room)
  LIMIT $4)
SELECT (SELECT max(room) FROM looked), (SELECT array_agg(DISTINCT room) FROM old), (SELECT count(*) FROM old)";

/// What confirms events, and what writes reads, waits for this; a server that is busy with one of them for longer is asked another time.
const HOLD: &str = "BEGIN; SET LOCAL lock_timeout = '100ms';
LOCK TABLE roomcast_pending, roomcast_reads, roomcast_delivered IN SHARE MODE";

const GO: &str = "
WITH gone AS (
  DELETE FROM roomcast_generations g WHERE g.room = ANY($1) AND g.created < now() - make_interval(secs => $2)
    AND NOT EXISTS (SELECT FROM roomcast_messages m WHERE m.room = g.room AND m.generation <= g.generation)
    AND NOT EXISTS (SELECT FROM roomcast_pending p WHERE p.room = g.room)
  RETURNING g.room, g.generation
), number AS (
  UPDATE roomcast_forgotten SET generation = greatest(generation, (SELECT max(generation) FROM gone)) WHERE EXISTS (SELECT FROM gone)
), read AS (
  DELETE FROM roomcast_reads r USING gone g WHERE r.room = g.room AND r.generation <= g.generation
), got AS (
  DELETE FROM roomcast_delivered d USING gone g WHERE d.room = g.room AND d.generation <= g.generation
)
SELECT DISTINCT room FROM gone";

impl Archive {
    /// Forgets the lives of some rooms that have no message any more. How many rooms had one.
    ///
    /// # Errors
    /// [`ArchiveError`]: the next look begins with the same rooms.
    pub(super) async fn forget_lives(&self, keep: f64) -> Result<usize, ArchiveError> {
        let behind = self.looked_behind.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut connection = self.readers.take().await?;
        let found = connection.query(FIND, &[&behind, &LOOKED_AT, &keep, &GO_AT_ONCE]).await?;
        let Some(row) = found.first() else { return Ok(0) };
        let (last, rooms, count): (Option<String>, Option<Vec<String>>, i64) = (row.get(0), row.get(1), row.get(2));
        let mut gone = 0;
        if let Some(rooms) = rooms {
            let rows = connection.query_within(HOLD, GO, &[&rooms, &keep]).await?;
            gone = rows.len();
            for room in rows.iter().filter_map(|row| Room::parse(row.get(0)).ok()) {
                self.generations.forget(&room);
            }
        }
        // Where there may be more of them, the same rooms come again. Behind the last one it begins anew.
        if count < GO_AT_ONCE {
            *self.looked_behind.lock().unwrap_or_else(PoisonError::into_inner) = last.unwrap_or_default();
        }
        Ok(gone)
    }
}
