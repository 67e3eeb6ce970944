//! What all parts of a pod's archive share, and the steps around a publish.
//!
//! Step 1 makes the event's row, pending. Step 2, the publish, is [`ArchivedBroker`](super::archived_broker::ArchivedBroker)'s. Step 3 confirms
//! the row, or withdraws it where nothing was published. Never publishes. Always holds: an event has its row before it is published; a
//! row that step 3 did not reach is left to the repair.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use roomcast_incident::Incident;
use tokio::runtime::Handle;

use super::{
    book::Write,
    connection::Dial,
    desk::WriteDesk,
    error::{ArchiveError, ArchiveStartError},
    generations::{Generations, nothing_done},
    pending_row::{PendingRow, RowId, identify},
    readers::Readers,
    reads::{ArchivedRead, ReadDesk},
    seal::Seals,
};
use crate::{
    broker::{Acks, Broker, KeyMemory},
    config::ArchiveSettings,
    metrics::{ArchiveMetrics, Upgrades},
    model::{Position, Progress, Publication, Receipt, Room},
};

/// How many positions of epochs without a life are looked after at a time.
const PLACED_AT_ONCE: usize = 256;

/// For how long nothing must have failed, so that the log has it that all is done again.
const CALM: Duration = Duration::from_secs(60);

/// How the archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveCondition {
    /// It takes events.
    Well,
    /// It does not: publishes to archived rooms fail.
    Down,
}

/// The archive of a pod.
pub struct Archive {
    pub(super) settings: ArchiveSettings,
    /// How long the broker knows an idempotency key.
    pub(super) known_for: Duration,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) acks: Arc<dyn Acks>,
    pub(super) keys: Arc<dyn KeyMemory>,
    pub(super) seals: Option<Seals>,
    pub(super) readers: Readers,
    pub(super) reads: ReadDesk,
    pub(super) desk: Arc<WriteDesk>,
    pub(super) generations: Generations,
    /// The last room of which it was looked whether its lives may go.
    pub(super) looked_behind: Mutex<String>,
    /// Whether it does not do what is asked, while it is reached.
    failing: Incident,
}

impl Archive {
    /// An archive of what `broker` publishes; `None`: the settings name no database.
    ///
    /// # Errors
    /// [`ArchiveStartError`].
    pub(super) fn new(
        settings: &ArchiveSettings,
        known_for: Duration,
        (broker, acks, keys): (Arc<dyn Broker>, Arc<dyn Acks>, Arc<dyn KeyMemory>),
        metrics: impl FnOnce() -> ArchiveMetrics,
        runtime: Handle,
    ) -> Result<Option<Self>, ArchiveStartError> {
        let Some(dial) = Dial::of(settings)? else { return Ok(None) };
        let seals = settings.key_file.as_deref().map(Seals::read).transpose()?;
        Ok(Some(Self {
            settings: settings.clone(),
            known_for,
            broker,
            acks,
            keys,
            seals,
            readers: Readers::new(dial.clone(), runtime),
            reads: ReadDesk::default(),
            desk: Arc::new(WriteDesk::new(dial, metrics())),
            generations: Generations::default(),
            looked_behind: Mutex::default(),
            failing: Incident::calm(CALM),
        }))
    }

    /// How it is now.
    #[must_use]
    pub fn condition(&self) -> ArchiveCondition {
        if self.desk.is_connected() { ArchiveCondition::Well } else { ArchiveCondition::Down }
    }

    /// Whether it would answer with a page at once, as far as this is known: a client that has something already does not wait for it.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.desk.is_connected() && self.readers.has_page_turn()
    }

    /// Asks whether it takes something at this moment: before something is done that it is to follow.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`].
    pub(super) async fn answers(&self) -> Result<(), ArchiveError> {
        if self.condition() == ArchiveCondition::Down {
            return Err(ArchiveError::Unavailable("no connection that writes is there".to_owned()));
        }
        let mut connection = self.readers.take().await.map_err(nothing_done)?;
        connection.query("SELECT 1", &[]).await.map(|_| ()).map_err(nothing_done)
    }

    /// Has the log say why something was not done: publishers and clients are told only that it was not.
    pub(super) fn complain(&self, error: &ArchiveError) {
        // Of a database that is not reached there is a line already.
        if self.condition() == ArchiveCondition::Well && self.failing.fails(Instant::now()) {
            tracing::error!(%error, "the archive does not do all that it is asked for");
        }
    }

    /// To be called now and then: has the log say that all is done again.
    pub(super) fn look_for_calm(&self) {
        if self.condition() == ArchiveCondition::Well
            && let Some(over) = self.failing.succeeds(Instant::now())
        {
            let (seconds, failures) = (over.seconds(), over.failures);
            tracing::info!(
                seconds,
                failures,
                "the archive has done all that it was asked for, for {} s",
                CALM.as_secs()
            );
        }
    }

    /// What counts requests for pages.
    #[must_use]
    pub fn pages(&self) -> &Upgrades {
        &self.desk.metrics.pages
    }

    /// Takes in how far users have read in rooms that are archived.
    pub(super) fn note_reads(&self, reads: impl Iterator<Item = ArchivedRead>) {
        self.reads.note(reads);
    }

    /// Takes in what devices have got in rooms that are archived. What was read is known by the acks.
    pub fn note_delivered<'r>(&self, receipts: impl Iterator<Item = &'r Receipt>) {
        let got = receipts.filter(|receipt| receipt.progress == Progress::Delivered);
        self.note_reads(got.map(|receipt| ArchivedRead {
            progress: Progress::Delivered,
            room: receipt.room.clone(),
            reader: Arc::clone(&receipt.user),
            upto: receipt.position.clone(),
        }));
    }

    /// Forgets what waits of how far a user has read. Whether something of it is being written, and may wait again.
    #[must_use]
    pub fn forget_reads(&self, user: &str) -> bool {
        self.reads.forget(user)
    }

    /// Step 1: the event is pending, under a key that it has from now on.
    ///
    /// # Errors
    /// [`ArchiveError`]: it must not be published.
    pub(super) async fn pend(&self, room: &Room, publication: &mut Publication) -> Result<RowId, ArchiveError> {
        let id = identify(publication)?;
        self.generations.begin(&self.readers, &*self.acks, room).await?;
        let row = PendingRow::of(id, room, publication, self.seals.as_ref())?;
        self.desk.write(Write::Pend(Box::new(row))).await?;
        Ok(id)
    }

    /// Step 3: the row has the event's position.
    ///
    /// # Errors
    /// [`ArchiveError`]: it will have it later, or by the repair.
    pub(super) async fn confirm(&self, room: &Room, id: RowId, position: &Position) -> Result<(), ArchiveError> {
        let mut why = ArchiveError::NoGeneration;
        // Twice where the room was erased by another pod since.
        for _ in 0..2 {
            let found = match self.generations.find(&self.readers, &*self.acks, room, position).await {
                Ok(found) => found,
                Err(error) => {
                    why = error;
                    break;
                }
            };
            match self.desk.write(Write::Confirm(id, found)).await {
                Ok(()) => {
                    self.desk.metrics.kept.increment(1);
                    return Ok(());
                }
                // It waits on, without its publisher.
                Err(ArchiveError::Unknown) => return Err(ArchiveError::Unknown),
                Err(ArchiveError::NoGeneration) => self.generations.forget(room),
                Err(error) => {
                    why = error;
                    break;
                }
            }
        }
        // By the position's own epoch: if that is no life of the room by then, it is asked for the one that it belongs to.
        self.desk.write_later(Write::Confirm(id, position.clone()));
        Err(why)
    }

    /// The row goes, now: nothing was published, and nothing will be.
    ///
    /// # Errors
    /// [`ArchiveError`]: it goes some time, unless the repair is first and publishes it, as it may do at this moment.
    pub(super) async fn withdraw_now(&self, id: RowId) -> Result<(), ArchiveError> {
        self.desk.write(Write::Withdraw { row: id, even_claimed: false }).await.inspect_err(|error| {
            // One that was not answered in time waits on by itself.
            if *error != ArchiveError::Unknown {
                self.withdraw(id);
            }
        })
    }

    /// The row goes, some time: nothing was published.
    pub(super) fn withdraw(&self, id: RowId) {
        self.desk.write_later(Write::Withdraw { row: id, even_claimed: false });
    }

    /// The row goes, some time, which this pod looks after: its event was refused.
    pub(super) fn withdraw_claimed(&self, id: RowId) {
        self.desk.write_later(Write::Withdraw { row: id, even_claimed: true });
    }

    /// Confirms events that were published, and of whose epochs the archive had no life yet.
    ///
    /// # Errors
    /// [`ArchiveError`], the first: what is not confirmed waits on.
    pub(super) async fn place(&self) -> Result<(), ArchiveError> {
        let some = self.desk.take_unplaced(PLACED_AT_ONCE);
        if some.is_empty() {
            return Ok(());
        }
        let ids: Vec<&[u8]> = some.iter().map(|(id, _)| &id[..]).collect();
        let rooms = async {
            let mut connection = self.readers.take().await?;
            connection.query("SELECT id, room FROM roomcast_pending WHERE id = ANY($1)", &[&ids]).await
        };
        let rooms = match rooms.await {
            Ok(rooms) => rooms,
            Err(error) => {
                self.desk.put_unplaced(some);
                return Err(error);
            }
        };
        // What is not there any more was settled, or erased.
        let room_of = |id: &RowId| {
            let row = rooms.iter().find(|row| row.get::<_, &[u8]>(0) == id)?;
            Room::parse(row.get(1)).ok()
        };
        let (mut done, mut left) = (Ok(()), Vec::new());
        for (id, position) in some {
            let Some(room) = room_of(&id) else { continue };
            match self.generations.find(&self.readers, &*self.acks, &room, &position).await {
                Ok(found) => self.desk.write_later(Write::Confirm(id, found)),
                Err(error) => {
                    left.push((id, position));
                    done = done.and(Err(error));
                }
            }
        }
        self.desk.put_unplaced(left);
        done
    }
}
