//! How far users have read in archived rooms, and their devices have got events, on its way into the archive: of each user and room the furthest
//! waits.
//!
//! Always holds: what waits is bounded, and what is lost is made good by the user's next ack. A user whose token keeps receipts back never
//! comes here, and of one that is erased nothing comes in behind that.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{error::ArchiveError, readers::Readers, statements::signed, stored_text::stored};
use crate::model::{Position, Progress, Room};

/// The most users and rooms that wait. Beyond them those that come are lost.
const MOST: usize = 65_536;

/// How many are written together.
const AT_ONCE: usize = 1_000;

/// A user has read so far in a room, or a device of it has got so much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedRead {
    /// Which of the two.
    pub progress: Progress,
    /// The room.
    pub room: Room,
    /// The user.
    pub reader: Arc<str>,
    /// The last event that it has read, or got.
    pub upto: Position,
}

/// Whose progress it is, and where.
type Reader = (Progress, Room, Arc<str>);

/// What waits, and the users whose reads are being written.
#[derive(Default)]
struct ReadBook {
    waiting: HashMap<Reader, Position>,
    writing: Vec<Arc<str>>,
}

/// What waits.
#[derive(Default)]
pub(super) struct ReadDesk(Mutex<ReadBook>);

/// An epoch that has no number yet has no event in the archive: what was read is of the newest one that has.
macro_rules! keep {
    ($table:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            r#" AS kept (room, reader, generation, "offset")
SELECT r.room, r.reader, coalesce(g.generation, n.generation), r."offset"
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS r (room, reader, epoch, "offset")
LEFT JOIN roomcast_generations g ON g.room = r.room AND g.epoch = r.epoch
JOIN LATERAL (SELECT max(generation) AS generation FROM roomcast_generations WHERE room = r.room) n ON n.generation IS NOT NULL
ON CONFLICT (room, reader) DO UPDATE SET generation = excluded.generation, "offset" = excluded."offset"
WHERE (kept.generation, kept."offset") < (excluded.generation, excluded."offset")"#
        )
    };
}

const KEEP_READ: &str = keep!("roomcast_reads");
const KEEP_DELIVERED: &str = keep!("roomcast_delivered");

impl ReadDesk {
    /// Takes in how far users have read.
    pub(super) fn note(&self, reads: impl Iterator<Item = ArchivedRead>) {
        let waiting = &mut self.book().waiting;
        for ArchivedRead { progress, room, reader, upto } in reads {
            let reader = (progress, room, reader);
            // Each author is told of its own last event.
            let is_behind = |known: &Position| known.epoch == upto.epoch && known.offset > upto.offset;
            if waiting.get(&reader).is_some_and(is_behind) {
                continue;
            }
            if waiting.len() < MOST || waiting.contains_key(&reader) {
                waiting.insert(reader, upto);
            }
        }
    }

    /// Forgets what waits of a user. Whether something of it is being written, and may wait again.
    pub(super) fn forget(&self, user: &str) -> bool {
        let mut book = self.book();
        book.waiting.retain(|(_, _, reader), _| **reader != *user);
        book.writing.iter().any(|reader| **reader == *user)
    }

    fn book(&self) -> MutexGuard<'_, ReadBook> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// [`ArchiveError`]: what was not written waits again.
    pub(super) async fn keep(&self, readers: &Readers) -> Result<(), ArchiveError> {
        loop {
            let some: Vec<(Reader, Position)> = {
                let mut book = self.book();
                let keys: Vec<_> = book.waiting.keys().take(AT_ONCE).cloned().collect();
                book.writing = keys.iter().map(|(_, _, reader)| Arc::clone(reader)).collect();
                keys.into_iter().filter_map(|key| book.waiting.remove_entry(&key)).collect()
            };
            if some.is_empty() {
                return Ok(());
            }
            let written = write_reads(readers, &some).await;
            let mut book = self.book();
            book.writing.clear();
            if let Err(error) = written {
                for (key, upto) in some {
                    book.waiting.entry(key).or_insert(upto);
                }
                return Err(error);
            }
        }
    }
}

async fn write_reads(readers: &Readers, reads: &[(Reader, Position)]) -> Result<(), ArchiveError> {
    let mut connection = readers.take().await?;
    for (progress, statement) in [(Progress::Delivered, KEEP_DELIVERED), (Progress::Read, KEEP_READ)] {
        let some: Vec<_> = reads.iter().filter(|((of, ..), _)| *of == progress).collect();
        if some.is_empty() {
            continue;
        }
        let rooms: Vec<&str> = some.iter().map(|((_, room, _), _)| room.as_str()).collect();
        let users: Vec<_> = some.iter().map(|((_, _, reader), _)| stored(reader)).collect();
        let users: Vec<&str> = users.iter().map(|reader| &**reader).collect();
        let epochs: Vec<&str> = some.iter().map(|(_, upto)| upto.epoch.as_str()).collect();
        let offsets: Vec<i64> = some.iter().map(|(_, upto)| signed(upto.offset)).collect();
        connection.query(statement, &[&rooms, &users, &epochs, &offsets]).await?;
    }
    Ok(())
}
