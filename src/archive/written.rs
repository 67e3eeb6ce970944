//! What a user wrote in others' rooms, as it goes with the user: some at a time, and what members are to be told of it.
//!
//! Never tells. Always holds: a row of a room whose policy has only its content go stays in its place, so that a page has no hole; what tells of
//! deleted events goes on doing so, without the ids, which were the user's; each statement is bounded, and what is left is the next one's.

use std::{borrow::Cow, collections::BTreeMap};

use tokio_postgres::{Row, types::ToSql};

use super::{
    archive_state::Archive,
    erase::AT_ONCE,
    error::ArchiveError,
    pending_row::payload_of,
    statements::{signed, unsigned},
    stored_text::stored,
};
use crate::model::{Epoch, EraseMode, Offset, Payload, Room, without_ids};

/// The most rooms of a user that are looked at together.
const ROOMS_AT_ONCE: i64 = 500;

/// The rooms in which a user has rows, behind one of them.
const ROOMS_OF: &str = "
SELECT room FROM roomcast_messages WHERE author = $1 AND room > $2
UNION SELECT room FROM roomcast_pending WHERE author = $1 AND room > $2 ORDER BY room LIMIT $3";

const PENDING_OF_USER: &str = "
DELETE FROM roomcast_pending WHERE author = $1 AND room = ANY($2) RETURNING 1";

/// Some rows of a user, with what those say that tell of deleted events.
const SOME: &str = r#"
SELECT m.room, m.generation, m."offset", coalesce(g.epoch, '-'), m.topic = '$deleted', m.id, CASE WHEN m.topic = '$deleted' THEN m.data END, m.seal
FROM roomcast_messages m LEFT JOIN roomcast_generations g ON g.room = m.room AND g.generation = m.generation
WHERE m.author = $1 AND m.room = ANY($2) LIMIT $3"#;

/// What stands in the place of events that a user deleted itself has their ids no more.
const FORGET_IDS: &str = r#"
UPDATE roomcast_messages m SET event_id = NULL
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS s (room, generation, at)
WHERE m.room = s.room AND m."offset" = s.at AND m.topic = '$deleted' AND m.author IS NULL AND m.generation =
  (SELECT max(g.generation) FROM roomcast_generations g WHERE g.room = s.room AND g.generation <= s.generation AND g.first <= s.at)"#;

/// What a user wrote goes; that it wrote something stays.
const EMPTY_ROWS: &str = r#"
UPDATE roomcast_messages m SET author = NULL, event_key = NULL, event_id = NULL, data = s.says, seal = NULL
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[]) AS s (room, generation, at, says)
WHERE m.room = s.room AND m.generation = s.generation AND m."offset" = s.at AND m.author = $5"#;

/// What a user wrote is deleted: it says so itself, as it does in the log.
const DELETE_ROWS: &str = r#"
UPDATE roomcast_messages m SET author = NULL, event_key = NULL, event_id = NULL, topic = '$deleted', is_binary = false, seal = NULL,
  data = coalesce(s.says, convert_to('{"offsets":[' || m."offset" || ']}', 'UTF8'))
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[]) AS s (room, generation, at, says)
WHERE m.room = s.room AND m.generation = s.generation AND m."offset" = s.at AND m.author = $5"#;

/// Events that have gone, by which members of their room know them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ErasedEvents {
    /// The room.
    pub(super) room: Room,
    /// Only what they said is gone.
    pub(super) content: bool,
    /// Those that are of the room's log of now.
    pub(super) offsets: Vec<Offset>,
}

/// What a user wrote, as it goes.
pub(super) struct WrittenEvents<'a> {
    archive: &'a Archive,
    user: Cow<'a, str>,
    /// The last room that was looked at.
    behind: String,
    /// Rooms whose rows go, and what becomes of them.
    going: Vec<(EraseMode, Vec<String>)>,
}

impl Archive {
    /// Forgets what is pending of a user, where its events go with it.
    ///
    /// # Errors
    /// [`ArchiveError`]: some of it may be gone.
    pub(super) async fn forget_pending_of_user(
        &self,
        user: &str,
        own: &[Room],
        erases: impl Fn(&Room) -> EraseMode,
    ) -> Result<(), ArchiveError> {
        for room in own {
            self.forget_pending_of_room(room).await?;
        }
        let mut written = self.written(user);
        while written.look_on(&erases).await? {
            written.going.clear();
        }
        Ok(())
    }

    /// What a user wrote in others' rooms.
    pub(super) fn written<'a>(&'a self, user: &'a str) -> WrittenEvents<'a> {
        WrittenEvents { archive: self, user: stored(user), behind: String::new(), going: Vec::new() }
    }
}

impl WrittenEvents<'_> {
    /// Finds more rooms, and has what is pending there go. Whether there were any.
    async fn look_on(&mut self, erases: impl Fn(&Room) -> EraseMode) -> Result<bool, ArchiveError> {
        let mut connection = self.archive.readers.take().await?;
        let rows = connection.query(ROOMS_OF, &[&&*self.user, &self.behind, &ROOMS_AT_ONCE]).await?;
        let Some(last) = rows.last() else { return Ok(false) };
        self.behind = last.get(0);
        for mode in [EraseMode::Content, EraseMode::Event] {
            let is_so = |room: &String| Room::parse(room).is_ok_and(|room| erases(&room) == mode);
            let rooms: Vec<String> = rows.iter().map(|row| row.get(0)).filter(is_so).collect();
            if !rooms.is_empty() {
                connection.query(PENDING_OF_USER, &[&&*self.user, &rooms]).await?;
                self.going.push((mode, rooms));
            }
        }
        Ok(true)
    }

    /// Has some more go. What members are to be told of it; `None`: nothing is left.
    ///
    /// # Errors
    /// [`ArchiveError`]: some of it may be gone.
    pub(super) async fn forget_some(
        &mut self,
        erases: impl Fn(&Room) -> EraseMode,
    ) -> Result<Option<Vec<ErasedEvents>>, ArchiveError> {
        loop {
            let Some((mode, rooms)) = self.going.last() else {
                if self.look_on(&erases).await? {
                    continue;
                }
                return Ok(None);
            };
            let mut connection = self.archive.readers.take().await?;
            let rows = connection.query(SOME, &[&&*self.user, rooms, &AT_ONCE]).await?;
            drop(connection);
            if rows.is_empty() {
                self.going.pop();
                continue;
            }
            // Looked up before they go: where the log does not say what it has, they are found again when this is repeated, and told of.
            let told = self.archive.to_be_told(*mode == EraseMode::Content, &rows).await?;
            self.forget(*mode, &rows).await?;
            return Ok(Some(told));
        }
    }

    /// Has these rows go.
    async fn forget(&self, mode: EraseMode, rows: &[Row]) -> Result<(), ArchiveError> {
        let (rooms, generations, offsets) = keys_of(rows.iter());
        let told: Vec<_> = rows.iter().map(|row| row.get::<_, bool>(4).then(|| self.archive.names_of(row))).collect();
        let mut connection = self.archive.readers.take().await?;
        // First: by what tells of them they are found.
        let named = rows.iter().zip(&told).filter_map(|(row, told)| Some((row, &told.as_ref()?.1)));
        let named: Vec<(&Row, i64)> =
            named.flat_map(|(row, named)| named.iter().map(move |at| (row, signed(*at)))).collect();
        if !named.is_empty() {
            let (rooms, generations, _) = keys_of(named.iter().map(|(row, _)| *row));
            let at: Vec<i64> = named.iter().map(|(_, at)| *at).collect();
            connection.query(FORGET_IDS, &[&rooms, &generations, &at]).await?;
        }
        let says: Vec<Option<&[u8]>> =
            told.iter().map(|told| told.as_ref().map(|(says, _)| says.get().as_bytes())).collect();
        let values: [&(dyn ToSql + Sync); 5] = [&rooms, &generations, &offsets, &says, &&*self.user];
        connection.query(if mode == EraseMode::Content { EMPTY_ROWS } else { DELETE_ROWS }, &values).await?;
        Ok(())
    }
}

impl Archive {
    /// What a row that tells of deleted events says without their ids, and which it names. One that does not open says nothing from here on.
    fn names_of(&self, row: &Row) -> (Box<serde_json::value::RawValue>, Vec<Offset>) {
        let said = Room::parse(row.get(0))
            .ok()
            .zip(row.get::<_, Option<Vec<u8>>>(6))
            .and_then(|(room, data)| payload_of(&room, row.get(5), data, row.get(7), false, self.seals.as_ref()).ok());
        without_ids(&said.unwrap_or_else(|| Payload::Binary(bytes::Bytes::new())))
    }

    /// Of rows that go what the members of their rooms know: the events of the log that there is now.
    async fn to_be_told(&self, content: bool, rows: &[Row]) -> Result<Vec<ErasedEvents>, ArchiveError> {
        let mut gone: BTreeMap<&str, BTreeMap<&str, Vec<Offset>>> = BTreeMap::new();
        for row in rows.iter().filter(|row| !row.get::<_, bool>(4)) {
            gone.entry(row.get(0)).or_default().entry(row.get(3)).or_default().push(unsigned(row.get(2)));
        }
        let named = gone.iter().filter_map(|(room, lives)| Some((Room::parse(room).ok()?, lives)));
        let named: Vec<_> = named.collect();
        let asked: Vec<(Room, Vec<Epoch>)> = named
            .iter()
            .map(|(room, lives)| (room.clone(), lives.keys().map(|epoch| Epoch::new(epoch)).collect()))
            .collect();
        let mut told = Vec::new();
        for ((room, lives), standing) in named.into_iter().zip(self.acks.standings(&asked).await) {
            let reaches = standing.map_err(|error| ArchiveError::Unavailable(error.to_string()))?.reaches;
            let offsets = lives.values().zip(reaches).flat_map(|(offsets, reach)| of_log(offsets, reach));
            let mut offsets: Vec<Offset> = offsets.collect();
            offsets.sort_unstable();
            if !offsets.is_empty() {
                told.push(ErasedEvents { room, content, offsets });
            }
        }
        Ok(told)
    }
}

/// Those of a life's events that the log of now counts as its own.
fn of_log(offsets: &[Offset], reach: Option<Offset>) -> impl Iterator<Item = Offset> {
    offsets.iter().copied().filter(move |offset| reach.is_some_and(|reach| *offset <= reach))
}

/// Where rows are.
fn keys_of<'a>(rows: impl Iterator<Item = &'a Row>) -> (Vec<&'a str>, Vec<i64>, Vec<i64>) {
    let mut keys = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        keys.0.push(row.get(0));
        keys.1.push(row.get(1));
        keys.2.push(row.get(2));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_told_of_what_their_log_counts_as_its_own() {
        let told = |reach| of_log(&[88, 90, 91], reach).collect::<Vec<_>>();
        assert_eq!(told(Some(90)), [88, 90], "a failover lost the rest");
        assert_eq!(told(None), Vec::<Offset>::new(), "another log");
    }
}
