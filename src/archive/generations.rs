//! The lives of rooms' logs in the archive: which number an epoch has, and where it begins.
//!
//! Remembers what this pod has seen of it, bounded. Always holds: generations are in the order of the log's lives; one begins behind what
//! the log has of the one before it; an event has one position, whichever of its log's names it came with.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{error::ArchiveError, readers::Readers, statements::signed};
use crate::{
    broker::{Acks, Standing},
    model::{Epoch, Position, Room},
};

/// The most rooms that are remembered. Beyond them all are asked about anew.
const MOST_ROOMS: usize = 65_536;

/// How often it is tried to give a life its number: another pod may be faster.
const ATTEMPTS: usize = 5;

/// A room has lives from here on. One that has some keeps them. Where rows are pending the log may have events of theirs already, which
/// are the archive's: the first of them that is confirmed begins the life, at the log's own beginning.
const BEGIN: &str = "
INSERT INTO roomcast_generations (room, generation, epoch, first)
SELECT $1, f.generation + 1, $2, $3 FROM roomcast_forgotten f WHERE NOT EXISTS (SELECT FROM roomcast_generations WHERE room = $1)
  AND NOT EXISTS (SELECT FROM roomcast_pending WHERE room = $1) ON CONFLICT DO NOTHING";

const NEWEST: &str =
    "SELECT generation, epoch FROM roomcast_generations WHERE room = $1 ORDER BY generation DESC LIMIT 1";

const HAS: &str = "SELECT FROM roomcast_generations WHERE room = $1 AND epoch = $2";

/// The next life; 1: the first one, which is numbered behind all lives that are kept no more. Of two pods that begin one at once, one does.
const NEXT: &str = "
INSERT INTO roomcast_generations (room, generation, epoch, first)
SELECT $1, CASE WHEN $2::bigint > 1 THEN $2 ELSE (SELECT generation + 1 FROM roomcast_forgotten) END, $3, $4
ON CONFLICT DO NOTHING RETURNING generation";

/// What this pod knows.
#[derive(Default)]
pub(super) struct Generations(Mutex<HashMap<Room, Option<Epoch>>>);

impl Generations {
    /// The room's newest life, as far as this pod knows it.
    fn known(&self) -> MutexGuard<'_, HashMap<Room, Option<Epoch>>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > MOST_ROOMS {
            known.clear();
        }
        known
    }

    pub(super) fn forget(&self, room: &Room) {
        self.known().remove(room);
    }

    /// Before the first event of a room that this pod knows of: what its log has already is not the archive's.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`].
    pub(super) async fn begin(&self, readers: &Readers, acks: &dyn Acks, room: &Room) -> Result<(), ArchiveError> {
        if self.known().contains_key(room) {
            return Ok(());
        }
        let standing = standing(acks, room, Vec::new()).await?;
        let Position { epoch, offset } = standing.end;
        if offset > 0 {
            let mut connection = readers.take().await.map_err(nothing_done)?;
            let values: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
                [&room.as_str(), &epoch.as_str(), &signed(offset + 1)];
            connection.query(BEGIN, &values).await.map_err(nothing_done)?;
        }
        self.known().insert(room.clone(), None);
        Ok(())
    }

    /// The position under which the archive has an event of that position: its epoch is one of the room's lives.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub(super) async fn find(
        &self,
        readers: &Readers,
        acks: &dyn Acks,
        room: &Room,
        position: &Position,
    ) -> Result<Position, ArchiveError> {
        if self.known().get(room).is_some_and(|known| known.as_ref() == Some(&position.epoch)) {
            return Ok(position.clone());
        }
        for _ in 0..ATTEMPTS {
            let mut connection = readers.take().await?;
            let newest = connection.query(NEWEST, &[&room.as_str()]).await?;
            let newest = newest.first().map(|row| (row.get::<_, i64>(0), Epoch::new(row.get(1))));
            let has = match &newest {
                Some((_, epoch)) if *epoch == position.epoch => true,
                Some(_) => !connection.query(HAS, &[&room.as_str(), &position.epoch.as_str()]).await?.is_empty(),
                None => false,
            };
            drop(connection);
            if has {
                if newest.is_some_and(|(_, epoch)| epoch == position.epoch) {
                    self.known().insert(room.clone(), Some(position.epoch.clone()));
                }
                return Ok(position.clone());
            }
            let asked = newest.iter().map(|(_, epoch)| epoch.clone()).chain([position.epoch.clone()]).collect();
            let standing = standing(acks, room, asked).await?;
            let next = NextLife::after(newest.as_ref().map(|(_, epoch)| epoch), position, &standing);
            let number = newest.map_or(0, |(number, _)| number) + 1;
            let made = if next.is_new {
                let mut connection = readers.take().await?;
                let (epoch, first) = (next.position.epoch.as_str(), signed(next.first));
                !connection.query(NEXT, &[&room.as_str(), &number, &epoch, &first]).await?.is_empty()
            } else {
                true
            };
            if made {
                self.known().insert(room.clone(), Some(next.position.epoch.clone()));
                return Ok(next.position);
            }
        }
        Err(ArchiveError::Unavailable("other pods begin lives of this room all the time".to_owned()))
    }
}

/// Where a room's log stands, and what it has of other epochs.
pub(super) async fn standing(acks: &dyn Acks, room: &Room, epochs: Vec<Epoch>) -> Result<Standing, ArchiveError> {
    let asked = [(room.clone(), epochs)];
    let said = acks.standings(&asked).await.pop();
    let unavailable = || ArchiveError::Unavailable("the log does not say where it stands".to_owned());
    said.ok_or_else(unavailable)?.map_err(|error| ArchiveError::Unavailable(error.to_string()))
}

/// What is said where nothing was published, or forgotten, whatever became of what was asked.
pub(super) fn nothing_done(error: ArchiveError) -> ArchiveError {
    match error {
        ArchiveError::Unavailable(why) => ArchiveError::Unavailable(why),
        other => ArchiveError::Unavailable(other.to_string()),
    }
}

/// The life that an event of a position belongs to, where the archive has none of that epoch.
#[derive(Debug, PartialEq, Eq)]
struct NextLife {
    /// The event's position by that life's name.
    position: Position,
    /// Whether the archive does not have this life either.
    is_new: bool,
    first: u64,
}

impl NextLife {
    /// `newest`: the archive's newest life of the room. `standing`: of it, if there is one, and of the position's epoch.
    fn after(newest: Option<&Epoch>, position: &Position, standing: &Standing) -> Self {
        let now = &standing.end.epoch;
        let reach = standing.reaches.last().copied().flatten();
        let before = newest.and(standing.reaches.first().copied().flatten());
        // Behind what is still good of the life before; a log that began anew, or an archive, begins at 1.
        let first = before.map_or(1, |before| before + 1);
        // What the log still has is the log's of now, by whichever name: lives between are passed over, and stay in order.
        let is_of_now = reach.is_some_and(|reach| position.offset <= reach);
        // The newest life has it already, or lacks it: a later one begins behind it.
        if let (Some(newest), Some(before)) = (newest, before)
            && is_of_now
            && position.offset <= before
        {
            return Self { position: Position::new(newest.clone(), position.offset), is_new: false, first };
        }
        let epoch = if is_of_now { now.clone() } else { position.epoch.clone() };
        Self { is_new: newest != Some(&epoch), position: Position::new(epoch, position.offset), first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: &str, offset: u64) -> Position {
        Position::new(Epoch::new(epoch), offset)
    }

    fn next(newest: Option<&str>, position: (&str, u64), now: &str, reaches: &[Option<u64>]) -> (Position, bool, u64) {
        let standing = Standing { end: at(now, 500), reaches: reaches.to_vec() };
        let newest = newest.map(Epoch::new);
        let NextLife { position, is_new, first } =
            NextLife::after(newest.as_ref(), &at(position.0, position.1), &standing);
        (position, is_new, first)
    }

    #[test]
    fn lives_follow_the_chain_of_the_log() {
        assert_eq!(next(None, ("b.1", 1), "b.1", &[Some(500)]), (at("b.1", 1), true, 1), "an archive that begins");
        assert_eq!(
            next(Some("b.1"), ("b.2", 91), "b.2", &[Some(90), Some(500)]),
            (at("b.2", 91), true, 91),
            "a failover that kept 90"
        );
        assert_eq!(
            next(Some("b.1"), ("b.2", 91), "b.3", &[Some(90), Some(95)]),
            (at("b.3", 91), true, 91),
            "a life between that has no number is passed over"
        );
        assert_eq!(
            next(Some("b.3"), ("b.2", 91), "b.3", &[Some(500), Some(95)]),
            (at("b.3", 91), false, 501),
            "its event is the newest one's"
        );
        assert_eq!(
            next(Some("b.3"), ("b.2", 91), "b.4", &[Some(120), Some(95)]),
            (at("b.3", 91), false, 121),
            "it is so where the log has had a failover since"
        );
        assert_eq!(
            next(Some("a.1"), ("b.1", 3), "b.1", &[None, Some(500)]),
            (at("b.1", 3), true, 1),
            "a log that began anew"
        );
        assert_eq!(
            next(Some("b.1"), ("b.2", 99), "b.3", &[Some(90), Some(95)]),
            (at("b.2", 99), true, 91),
            "an event that the log lost again"
        );
    }
}
