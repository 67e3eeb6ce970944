//! What is done now and then: pending rows are looked after, reads are written, what is too old goes, and it is counted what is pending.
//!
//! Always holds: it does nothing while the database is not reached; pending rows come first in a round, as pages wait for them; what fails
//! keeps nothing else of a round from being done, and is tried again in the next.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use roomcast_incident::Incident;
use tokio::time::sleep;

use super::{
    archive_state::{Archive, ArchiveCondition},
    erase::Aged,
    error::ArchiveError,
    repair::Repair,
};

/// The longest time between two rounds.
const EVERY: Duration = Duration::from_secs(2);

/// What fails now and then has a pair of lines in the log in this time, at most.
const APART: Duration = Duration::from_secs(60);

/// How often rows go that are too old.
const AGED_EVERY: Duration = Duration::from_secs(60);

const COUNT: &str = "
SELECT count(*) FILTER (WHERE NOT is_unknown), count(*) FILTER (WHERE is_unknown) FROM roomcast_pending";

/// What keeps the archive in order.
pub(super) struct Keeper(pub(super) Arc<Archive>);

impl Keeper {
    pub(super) async fn run(self) {
        let every = (self.0.settings.repair_after / 4).min(EVERY);
        let aged_every = self.0.settings.keep.map_or(AGED_EVERY, |keep| (keep / 4).min(AGED_EVERY));
        let mut aged = None::<Instant>;
        let (unkept, unaged) = (Incident::new().apart(APART), Incident::new().apart(APART));
        loop {
            sleep(every).await;
            if self.0.condition() == ArchiveCondition::Down {
                continue;
            }
            match self.round().await {
                Ok(()) => {
                    if let Some(over) = unkept.succeeds(Instant::now()) {
                        let (seconds, failures) = (over.seconds(), over.failures);
                        tracing::info!(seconds, failures, "all of the archive is looked after again");
                    }
                }
                // Of a database that is not reached there is a line already.
                Err(error) if self.0.condition() == ArchiveCondition::Well && unkept.fails(Instant::now()) => {
                    let effect = "events may stay pending, and what users have read unwritten";
                    tracing::warn!(%error, effect, "not all of the archive is looked after");
                }
                Err(error) => tracing::debug!(%error, "not all of the archive was looked after this time"),
            }
            if aged.is_none_or(|aged| aged.elapsed() >= aged_every) {
                aged = Some(Instant::now());
                match self.0.forget_aged().await {
                    Ok(Aged { gone, is_more }) => {
                        self.0.desk.metrics.aged.increment(gone as u64);
                        if is_more {
                            // The next round goes on with it.
                            aged = None;
                        }
                        if let Some(over) = unaged.succeeds(Instant::now()) {
                            let (seconds, failures) = (over.seconds(), over.failures);
                            tracing::info!(seconds, failures, "what is too old goes from the archive again");
                        }
                    }
                    Err(error) if self.0.condition() == ArchiveCondition::Well && unaged.fails(Instant::now()) => {
                        tracing::warn!(%error, "what is too old stays in the archive");
                    }
                    Err(error) => tracing::debug!(%error, "what is too old stays in the archive a moment longer"),
                }
            }
        }
    }

    async fn round(&self) -> Result<(), ArchiveError> {
        // What this pod knows is not to be asked for.
        let placed = self.0.place().await;
        let repaired = Repair(&self.0).round().await;
        let kept = self.0.reads.keep(&self.0.readers).await;
        let counted = self.count().await;
        placed.and(repaired).and(kept).and(counted)
    }

    async fn count(&self) -> Result<(), ArchiveError> {
        let mut connection = self.0.readers.take().await?;
        if let Some(row) = connection.query(COUNT, &[]).await?.first() {
            self.0.desk.metrics.pending.set(row.get::<_, i64>(0) as f64);
            self.0.desk.metrics.unknown.set(row.get::<_, i64>(1) as f64);
        }
        Ok(())
    }
}
