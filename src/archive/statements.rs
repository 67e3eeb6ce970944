//! The statements by which events are written, each for as many at once as wait.
//!
//! Always holds: to run one again changes nothing.

use tokio_postgres::{Client, Error, Row, Statement};

use super::pending_row::{PendingRow, RowId};
use crate::model::Position;

/// Rows become pending. Beside each stands the last event that its room has by then: it will be behind that.
const PEND: &str = r#"
INSERT INTO roomcast_pending (id, room, side, key, hash, topic, event_key, event_id, author, is_binary, data, seal, after_generation, after_offset)
SELECT n.*, coalesce(last.generation, 0), coalesce(last."offset", 0)
FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::text[], $8::text[], $9::text[], $10::boolean[], $11::bytea[], $12::text[])
  AS n (id, room, side, key, hash, topic, event_key, event_id, author, is_binary, data, seal)
LEFT JOIN LATERAL (
  SELECT c.generation, c."offset" FROM (
    (SELECT m.generation, m."offset" FROM roomcast_messages m WHERE m.room = n.room ORDER BY m.generation DESC, m."offset" DESC LIMIT 1)
    UNION ALL
    (SELECT g.generation, g.first - 1 FROM roomcast_generations g WHERE g.room = n.room ORDER BY g.generation DESC LIMIT 1)
  ) AS c (generation, "offset") ORDER BY c.generation DESC, c."offset" DESC LIMIT 1
) AS last ON true
ON CONFLICT (id) DO NOTHING"#;

/// Rows get their positions. A retry under the same key finds its event there already. Answers the rows whose epoch is no generation of
/// their room yet.
const CONFIRM: &str = r#"
WITH asked AS (
  SELECT * FROM unnest($1::bytea[], $2::text[], $3::bigint[]) AS a (id, epoch, "offset")
), known AS (
  SELECT a.id, g.generation, a."offset" FROM asked a
  JOIN roomcast_pending p ON p.id = a.id
  JOIN roomcast_generations g ON g.room = p.room AND g.epoch = a.epoch
), gone AS (
  DELETE FROM roomcast_pending p USING known k WHERE p.id = k.id
  RETURNING p.room, k.generation, k."offset", p.id, p.topic, p.event_key, p.event_id, p.author, p.is_binary, p.data, p.seal, p.created
), put AS (
  INSERT INTO roomcast_messages (room, generation, "offset", id, topic, event_key, event_id, author, is_binary, data, seal, created)
  SELECT * FROM gone ORDER BY room, generation, "offset" ON CONFLICT DO NOTHING
)
SELECT a.id FROM asked a JOIN roomcast_pending p ON p.id = a.id WHERE NOT EXISTS (SELECT FROM known k WHERE k.id = a.id)"#;

/// Rows go, those that a pod looks after only where that is said. Answers those that went.
const WITHDRAW: &str = "
DELETE FROM roomcast_pending p USING unnest($1::bytea[], $2::boolean[]) AS w (id, even_claimed)
WHERE p.id = w.id AND (p.claimed IS NULL OR w.even_claimed) RETURNING p.id";

/// The statements of one connection.
pub(super) struct Statements {
    pend: Statement,
    confirm: Statement,
    withdraw: Statement,
}

impl Statements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
        let (pend, confirm, withdraw) =
            tokio::try_join!(client.prepare(PEND), client.prepare(CONFIRM), client.prepare(WITHDRAW))?;
        Ok(Self { pend, confirm, withdraw })
    }

    pub(super) async fn pend(&self, client: &Client, rows: &[&PendingRow]) -> Result<(), Error> {
        let texts = |of: fn(&PendingRow) -> &str| rows.iter().map(|row| of(row)).collect::<Vec<_>>();
        let maybe = |of: fn(&PendingRow) -> Option<&str>| rows.iter().map(|row| of(row)).collect::<Vec<_>>();
        let bytes = |of: fn(&PendingRow) -> &[u8]| rows.iter().map(|row| of(row)).collect::<Vec<_>>();
        let is_binary: Vec<bool> = rows.iter().map(|row| row.is_binary).collect();
        client
            .execute(
                &self.pend,
                &[
                    &bytes(|row| &row.id),
                    &texts(|row| row.room.as_str()),
                    &texts(|row| row.side),
                    &texts(|row| &row.key),
                    &bytes(|row| &row.hash),
                    &texts(|row| &row.topic),
                    &maybe(|row| row.event_key.as_deref()),
                    &maybe(|row| row.event_id.as_deref()),
                    &maybe(|row| row.author.as_deref()),
                    &is_binary,
                    &bytes(|row| &row.data),
                    &maybe(|row| row.seal.as_deref()),
                ],
            )
            .await
            .map(drop)
    }

    /// The rows whose epoch is no generation of their room yet.
    pub(super) async fn confirm(&self, client: &Client, rows: &[(RowId, &Position)]) -> Result<Vec<RowId>, Error> {
        let ids: Vec<&[u8]> = rows.iter().map(|(id, _)| &id[..]).collect();
        let epochs: Vec<&str> = rows.iter().map(|(_, position)| position.epoch.as_str()).collect();
        let offsets: Vec<i64> = rows.iter().map(|(_, position)| signed(position.offset)).collect();
        client.query(&self.confirm, &[&ids, &epochs, &offsets]).await.map(ids_of)
    }

    /// The rows that went. Each beside whether it goes even if a pod looks after it.
    pub(super) async fn withdraw(&self, client: &Client, rows: &[(RowId, bool)]) -> Result<Vec<RowId>, Error> {
        let ids: Vec<&[u8]> = rows.iter().map(|(id, _)| &id[..]).collect();
        let even_claimed: Vec<bool> = rows.iter().map(|(_, even_claimed)| *even_claimed).collect();
        client.query(&self.withdraw, &[&ids, &even_claimed]).await.map(ids_of)
    }
}

fn ids_of(rows: Vec<Row>) -> Vec<RowId> {
    rows.iter().filter_map(|row| row.get::<_, &[u8]>(0).try_into().ok()).collect()
}

/// An offset as PostgreSQL has numbers: it stays below 2^53.
pub(super) fn signed(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

/// A number of PostgreSQL as an offset: none is negative.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
