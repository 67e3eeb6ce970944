//! One event of the archive: found by its position, also where the log has it no more, and deleted.
//!
//! Always holds: a deleted event's row says what its place in the log says; an event whose row is still pending has its place taken by that,
//! so that the row is dropped when it is confirmed.

use super::{
    archive_state::Archive,
    error::ArchiveError,
    generations::standing,
    history::MessageCursor,
    pending_row::new_id,
    statements::signed,
    stored_text::{restored, stored},
};
use crate::model::{DELETED, Deletion, Epoch, Payload, Position, Publication, Room};

/// The life that an event of a position is of: that of its epoch, or else the newest one that has its offset.
const LIFE: &str = "
WITH lives AS (
  SELECT generation, epoch, first, coalesce(lead(first) OVER (ORDER BY generation) - 1, 9007199254740991) AS last
  FROM roomcast_generations WHERE room = $1
)
SELECT generation, epoch FROM lives WHERE first <= $3 AND (last >= $3 OR epoch = $2)
ORDER BY epoch = $2 DESC, generation DESC LIMIT 1";

const IS_PENDING: &str = "SELECT FROM roomcast_pending WHERE room = $1 LIMIT 1";

const EVENT: &str = r#"
SELECT topic, author, event_id, CASE WHEN seal IS NULL THEN data END FROM roomcast_messages
WHERE room = $1 AND generation = $2 AND "offset" = $3"#;

/// Takes an event's place. Answers whether its row was there.
const DELETE: &str = r#"
INSERT INTO roomcast_messages (room, generation, "offset", id, topic, event_id, is_binary, data, created)
SELECT $1::text, $2::bigint, $3::bigint, $4::bytea, $5::text, $6::text, false, $7::bytea, now()
WHERE EXISTS (SELECT FROM roomcast_messages WHERE room = $1 AND generation = $2 AND "offset" = $3)
  OR EXISTS (SELECT FROM roomcast_pending WHERE room = $1)
ON CONFLICT (room, generation, "offset") DO UPDATE SET topic = excluded.topic, event_id = excluded.event_id, is_binary = false,
  data = excluded.data, event_key = NULL, author = NULL, seal = NULL
RETURNING id <> $4::bytea"#;

/// Where an event is.
struct LifePlace {
    generation: i64,
    epoch: Epoch,
}

/// An event that the archive has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedEvent {
    /// Its position, by the name of its life.
    pub at: Position,
    /// The publisher's own id.
    pub id: Option<Box<str>>,
    /// The user that published it.
    pub user: Option<Box<str>>,
    /// Whether it stands in the place of one that was deleted.
    pub is_tombstone: bool,
    /// Whether the room's log is the same one as when it was published, at least up to it.
    pub is_of_log: bool,
}

impl Archive {
    /// The event of a position; `None`: the archive has none.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub async fn event(&self, room: &Room, at: &Position) -> Result<Option<ArchivedEvent>, ArchiveError> {
        self.find_event(room, at).await.inspect_err(|error| self.complain(error))
    }

    async fn find_event(&self, room: &Room, at: &Position) -> Result<Option<ArchivedEvent>, ArchiveError> {
        let Some(LifePlace { generation, epoch }) = self.life_of(room, at).await? else { return Ok(None) };
        let offset = signed(at.offset);
        let rows = self.readers.take().await?.query(EVENT, &[&room.as_str(), &generation, &offset]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let at = Position::new(epoch, at.offset);
        let tombstone = Deletion { at: at.clone(), id: None, leaves: None }.in_place();
        let is_tombstone = row.get::<_, &str>(0) == DELETED;
        // What tells of others is no event that can be deleted.
        if is_tombstone && data_of(&tombstone).as_deref() != row.get::<_, Option<&[u8]>>(3) {
            return Ok(None);
        }
        let text = |index: usize| row.get::<_, Option<&str>>(index).map(restored);
        let is_of_log = self.reaches(room, vec![at.epoch.clone()], at.offset).await?;
        Ok(Some(ArchivedEvent { user: text(1), id: text(2), at, is_tombstone, is_of_log }))
    }

    /// Where pages go on behind a position, or before it; `None`: the archive knows nothing of its log. `goes_on`: behind it.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub async fn cursor_of(
        &self,
        room: &Room,
        at: &Position,
        goes_on: bool,
    ) -> Result<Option<MessageCursor>, ArchiveError> {
        // A position may be that before the first event.
        let next = Position::new(at.epoch.clone(), at.offset + u64::from(goes_on));
        let page = self.readers.page_turn().await.inspect_err(|error| self.complain(error))?;
        let place = self.life_of(room, &next).await.inspect_err(|error| self.complain(error))?;
        drop(page);
        Ok(place.map(|place| MessageCursor { generation: place.generation, offset: at.offset }))
    }

    /// Has what stands in the place of a deleted event in the log stand in the archive. Whether that had it.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub(super) async fn delete_event(&self, room: &Room, deletion: &Deletion) -> Result<bool, ArchiveError> {
        let offset = signed(deletion.at.offset);
        let place = match self.life_of(room, &deletion.at).await? {
            Some(place) => place,
            // One that is on its way has a life only when it comes.
            None => {
                let pending = self.readers.take().await?.query(IS_PENDING, &[&room.as_str()]).await?;
                if pending.is_empty() {
                    return Ok(false);
                }
                let found = self.generations.find(&self.readers, &*self.acks, room, &deletion.at).await?;
                let Some(place) = self.life_of(room, &found).await? else { return Ok(false) };
                place
            }
        };
        let left = deletion.in_place();
        let (id, event_id) = (new_id()?, left.id.as_deref().map(stored));
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] = [
            &room.as_str(),
            &place.generation,
            &offset,
            &&id[..],
            &&*left.topic,
            &event_id.as_deref(),
            &data_of(&left),
        ];
        let mut connection = self.readers.take().await?;
        Ok(connection.query(DELETE, &values).await?.first().is_some_and(|row| row.get(0)))
    }

    /// The life that an event of a position is of, if the archive has it.
    async fn life_of(&self, room: &Room, at: &Position) -> Result<Option<LifePlace>, ArchiveError> {
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&room.as_str(), &at.epoch.as_str(), &signed(at.offset)];
        let rows = self.readers.take().await?.query(LIFE, &values).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let place = LifePlace { generation: row.get(0), epoch: Epoch::new(row.get(1)) };
        // By another name it is the same event only where the log has it by both.
        let is_it = place.epoch == at.epoch
            || self.reaches(room, vec![place.epoch.clone(), at.epoch.clone()], at.offset).await?;
        Ok(is_it.then_some(place))
    }

    /// Whether the room's log has an event of that offset by the names of all these epochs.
    async fn reaches(&self, room: &Room, epochs: Vec<Epoch>, offset: u64) -> Result<bool, ArchiveError> {
        let reaches = standing(&*self.acks, room, epochs).await?.reaches;
        Ok(!reaches.is_empty() && reaches.iter().all(|reach| reach.is_some_and(|reach| reach >= offset)))
    }
}

/// The data of what stands in an event's place; `None`: that has none.
fn data_of(left: &Publication) -> Option<Vec<u8>> {
    match &left.payload {
        Payload::Json(raw) if raw.get() == "null" => None,
        Payload::Json(raw) => Some(raw.get().as_bytes().to_vec()),
        Payload::Binary(bytes) => Some(bytes.to_vec()),
    }
}
