//! A page of a room's messages, as members read them.
//!
//! Always holds: a page ends before the first event that may still come (it is pending), so that what was read once stays as it was; what
//! will never come is named; its payloads are bounded. It is one statement, of one moment.

use std::fmt;

use tokio_postgres::{Row, types::ToSql};

use super::{
    archive_state::Archive,
    error::ArchiveError,
    gaps::{MissingRange, PlaceInLife, missing},
    pending_row::payload_of,
    statements::{signed, unsigned},
    stored_text::{restored, stored},
};
use crate::model::{Epoch, MAX_OFFSET, Offset, Payload, Position, Room, UnixMillis};

/// What is read of a room: its lives, the first event that may still come, and how far other users have read and got it.
macro_rules! page {
    ($compare:literal, $order:literal) => {
        concat!(
            r#"
WITH lives AS (
  SELECT generation, epoch, first, coalesce(lead(first) OVER (ORDER BY generation) - 1, 9007199254740991) AS last
  FROM roomcast_generations WHERE room = $1
), coming AS (
  SELECT after_generation AS generation, after_offset AS "offset" FROM roomcast_pending
  WHERE room = $1 AND NOT is_unknown ORDER BY 1, 2 LIMIT 1
), holes AS (
  (SELECT s.generation, s.before FROM (
    SELECT m.generation, m."offset",
      lag(m."offset", 1, CASE WHEN m.generation = c.generation THEN c."offset" ELSE l.first - 1 END)
        OVER (PARTITION BY m.generation ORDER BY m."offset") AS before
    FROM coming c
    JOIN roomcast_messages m ON m.room = $1 AND (m.generation, m."offset") > (c.generation, c."offset")
    JOIN lives l ON l.generation = m.generation AND m."offset" <= l.last
  ) AS s WHERE s."offset" > s.before + 1 ORDER BY 1, 2 LIMIT 1)
  UNION ALL
  (SELECT l.generation, coalesce(x.reached, l.first - 1) FROM coming c
    JOIN lives l ON l.generation >= c.generation AND l.last < 9007199254740991
    LEFT JOIN LATERAL (
      SELECT max(m."offset") AS reached FROM roomcast_messages m
      WHERE m.room = $1 AND m.generation = l.generation AND m."offset" <= l.last
    ) AS x ON true
    WHERE coalesce(x.reached, l.first - 1) < l.last ORDER BY 1 LIMIT 1)
), frontier AS (
  SELECT generation, before FROM holes ORDER BY generation, before LIMIT 1
), furthest AS (
  SELECT generation, "offset" FROM roomcast_reads WHERE room = $1 AND reader <> $5
  ORDER BY generation DESC, "offset" DESC LIMIT 1
), got AS (
  SELECT generation, "offset" FROM roomcast_delivered WHERE room = $1 AND reader <> $5
  ORDER BY generation DESC, "offset" DESC LIMIT 1
), page AS (
SELECT m.generation, l.epoch, l.first, l.last, m."offset", m.id, m.topic, m.event_key, m.event_id, m.author, m.is_binary, m.data, m.seal,
  (extract(epoch FROM m.created) * 1000)::bigint AS told,
  EXISTS (SELECT FROM furthest r WHERE (m.generation, m."offset") <= (r.generation, r."offset")) AS is_read,
  EXISTS (SELECT FROM got d WHERE (m.generation, m."offset") <= (d.generation, d."offset")) AS is_delivered
FROM roomcast_messages m JOIN lives l ON l.generation = m.generation
WHERE m.room = $1 AND (m.generation, m."offset") "#,
            $compare,
            r#" ($2, $3)
  AND NOT EXISTS (SELECT FROM frontier f WHERE (m.generation, m."offset") > (f.generation, f.before))
ORDER BY m.generation "#,
            $order,
            r#", m."offset" "#,
            $order,
            r#" LIMIT $4
), measured AS (
  SELECT *, count(*) OVER () AS found, coalesce(octet_length(data), 0) AS size,
    sum(coalesce(octet_length(data), 0)) OVER (ORDER BY generation "#,
            $order,
            r#", "offset" "#,
            $order,
            r#") AS reached
  FROM page
)
SELECT generation, epoch, first, last, "offset", id, topic, event_key, event_id, author, is_binary, data, seal, told, is_read, is_delivered, found,
  EXISTS (SELECT FROM roomcast_messages o WHERE o.room = $1 AND (o.generation, o."offset") <= ($2, $3)) AS has_older
FROM measured WHERE reached - size < $6
ORDER BY generation "#,
            $order,
            r#", "offset" "#,
            $order
        )
    };
}

const OLDER: &str = page!("<", "DESC");
const NEWER: &str = page!(">", "ASC");

/// The most bytes of a page's payloads, but for the last one that has place.
const PAGE_BYTES: i64 = 1 << 20;

/// Where a page begins or ends: opaque to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageCursor {
    pub(super) generation: i64,
    pub(super) offset: Offset,
}

impl MessageCursor {
    /// Reads one; `None`: it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (generation, offset) = text.split_once('-')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(generation) || !digits(offset) {
            return None;
        }
        let offset = offset.parse().ok().filter(|offset| *offset <= MAX_OFFSET)?;
        Some(Self { generation: generation.parse().ok()?, offset })
    }
}

impl fmt::Display for MessageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.generation, self.offset)
    }
}

/// Which page is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery<'a> {
    /// The newest messages before this one.
    pub before: Option<MessageCursor>,
    /// The oldest messages behind this one, instead.
    pub after: Option<MessageCursor>,
    /// The most messages.
    pub limit: usize,
    /// The user that reads, if it is known.
    pub user: Option<&'a str>,
}

/// A message as the archive has it.
#[derive(Debug, Clone, PartialEq)]
pub struct ArchivedMessage {
    /// Its position.
    pub position: Position,
    /// When it became pending, by the database's clock.
    pub time: UnixMillis,
    /// The topic.
    pub topic: Box<str>,
    /// The key.
    pub key: Option<Box<str>>,
    /// The publisher's own id.
    pub id: Option<Box<str>>,
    /// The user that published it.
    pub user: Option<Box<str>>,
    /// The data; `None`: it was erased.
    pub payload: Option<Payload>,
    /// Of a message of the user that reads: how far it has come.
    pub status: Option<MessageStatus>,
}

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    /// It is archived.
    Sent,
    /// A device of another user has it.
    Delivered,
    /// Another user has read it.
    Read,
}

impl MessageStatus {
    /// What was read was delivered.
    fn of(is_read: bool, is_delivered: bool) -> Self {
        match (is_read, is_delivered) {
            (true, _) => Self::Read,
            (false, true) => Self::Delivered,
            (false, false) => Self::Sent,
        }
    }
}

/// A page: the oldest message first.
#[derive(Debug, Clone, PartialEq)]
pub struct MessagePage {
    /// The messages.
    pub messages: Vec<ArchivedMessage>,
    /// What lies between them and is not there.
    pub missing: Vec<MissingRange>,
    /// Where the page before goes on; `None`: there is none.
    pub before: Option<MessageCursor>,
    /// Where the page behind goes on; `None`: this page has no message.
    pub after: Option<MessageCursor>,
}

impl Archive {
    /// Reads a page of a room's messages.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub async fn page(&self, room: &Room, query: &PageQuery<'_>) -> Result<MessagePage, ArchiveError> {
        self.read(room, query).await.inspect_err(|error| self.complain(error))
    }

    async fn read(&self, room: &Room, query: &PageQuery<'_>) -> Result<MessagePage, ArchiveError> {
        let (statement, from) = match (query.after, query.before) {
            (Some(after), _) => (NEWER, after),
            (None, before) => {
                let end = MessageCursor { generation: i64::MAX, offset: MAX_OFFSET };
                (OLDER, before.unwrap_or(end))
            }
        };
        // One more than is wanted says whether there are more.
        let most = i64::try_from(query.limit + 1).unwrap_or(i64::MAX);
        let offset = signed(from.offset);
        let user = query.user.map(stored);
        let values: [&(dyn ToSql + Sync); 6] =
            [&room.as_str(), &from.generation, &offset, &most, &user.as_deref(), &PAGE_BYTES];
        let mut rows = self.readers.take_for_page().await?.query(statement, &values).await?;
        let found = rows.first().map_or(0, |row| usize::try_from(row.get::<_, i64>(16)).unwrap_or(0));
        // More than have place, by their number or by their bytes.
        let (is_more, is_one_more) = (found > rows.len().min(query.limit), rows.len() > query.limit);
        if query.after.is_none() {
            rows.reverse();
        }
        let places: Vec<PlaceInLife> = rows.iter().map(place_of).collect();
        // The one more is the oldest of a page that goes back, the newest of one that goes on.
        let wanted = match (is_one_more, query.after) {
            (true, None) => 1..rows.len(),
            (true, Some(_)) => 0..query.limit,
            (false, _) => 0..rows.len(),
        };
        let cursor = |place: &PlaceInLife| MessageCursor { generation: place.generation, offset: place.offset };
        let of_page = places.get(wanted.clone()).unwrap_or_default();
        let messages = rows.get(wanted).unwrap_or_default().iter().zip(of_page);
        let messages =
            messages.map(|(row, place)| self.message(room, row, place, query.user)).collect::<Result<_, _>>()?;
        let has_older = if query.after.is_some() { rows.first().is_some_and(|row| row.get(17)) } else { is_more };
        Ok(MessagePage {
            messages,
            missing: missing(places.iter()),
            before: of_page.first().filter(|_| has_older).map(cursor),
            after: of_page.last().map(cursor).or(query.after),
        })
    }

    fn message(
        &self,
        room: &Room,
        row: &Row,
        place: &PlaceInLife,
        reader: Option<&str>,
    ) -> Result<ArchivedMessage, ArchiveError> {
        let text = |index: usize| row.get::<_, Option<&str>>(index).map(restored);
        let (user, id): (Option<Box<str>>, &[u8]) = (text(9), row.get(5));
        let payload = row
            .get::<_, Option<Vec<u8>>>(11)
            .map(|data| payload_of(room, id, data, row.get(12), row.get(10), self.seals.as_ref()))
            .transpose()
            .map_err(|error| ArchiveError::Unavailable(error.to_string()))?;
        Ok(ArchivedMessage {
            position: Position::new(place.epoch.clone(), place.offset),
            time: unsigned(row.get(13)),
            topic: row.get::<_, &str>(6).into(),
            key: text(7),
            id: text(8),
            status: (user.is_some() && user.as_deref() == reader).then(|| MessageStatus::of(row.get(14), row.get(15))),
            user,
            payload,
        })
    }
}

fn place_of(row: &Row) -> PlaceInLife {
    PlaceInLife {
        generation: row.get(0),
        epoch: Epoch::new(row.get(1)),
        span: (unsigned(row.get(2)), unsigned(row.get(3))),
        offset: unsigned(row.get(4)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_they_are_written() {
        let cursor = MessageCursor { generation: 3, offset: 1_042 };
        assert_eq!(MessageCursor::parse(&cursor.to_string()), Some(cursor));
        for bad in
            ["", "3", "-", "3-", "-3", "3-4-5", "3-+4", "+3-4", "3-9007199254740992", "99999999999999999999-1", "a-b"]
        {
            assert_eq!(MessageCursor::parse(bad), None, "{bad}");
        }
    }
}
