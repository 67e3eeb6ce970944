//! The thread on which a pod's archive works: its connections, its keeper, its clock.
//!
//! Always holds: it ends with the pod, and a moment later where something is still to be written.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinSet,
    time::{sleep, timeout_at},
};

use super::{
    archive_state::{Archive, ArchiveCondition},
    error::ArchiveStartError,
    keeper::Keeper,
    levels::MigrationError,
    migrator::Migrator,
    writers::Writer,
};
use crate::{
    broker::{Acks, Broker, KeyMemory},
    config::ArchiveSettings,
    metrics::ArchiveMetrics,
};

/// How often it is looked for publishers that have waited long enough.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The thread on which an archive works.
pub struct ArchiveThread {
    archive: Arc<Archive>,
    runtime: Runtime,
}

impl ArchiveThread {
    /// An archive of what the broker of `log` publishes, and its thread; `None`: the settings name no database. It connects in the background, however
    /// long that takes. `known_for`: how long the broker knows an idempotency key.
    ///
    /// # Errors
    /// [`ArchiveStartError`].
    pub fn make(
        settings: &ArchiveSettings,
        known_for: Duration,
        log: (Arc<dyn Broker>, Arc<dyn Acks>, Arc<dyn KeyMemory>),
        metrics: impl FnOnce() -> ArchiveMetrics,
    ) -> Result<Option<(Arc<Archive>, Self)>, ArchiveStartError> {
        if settings.url.is_none() {
            return Ok(None);
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let archive = Archive::new(settings, known_for, log, metrics, Handle::clone(runtime.handle()))?;
        Ok(archive.map(Arc::new).map(|archive| (Arc::clone(&archive), Self { archive, runtime })))
    }

    /// Works until `ended`, which says by when it must have written what is still to be written.
    pub fn run(self, ended: impl Future<Output = Instant>) {
        let Self { archive, runtime } = self;
        runtime.block_on(async move {
            let mut writers = JoinSet::new();
            // Publishers have their time also while tables are brought up, which may wait for another pod.
            let working = async {
                if archive.settings.migrate {
                    bring_up(&archive).await;
                }
                for _ in 0..archive.settings.connections {
                    writers.spawn(Writer(Arc::clone(&archive.desk)).run());
                }
                Keeper(Arc::clone(&archive)).run().await;
            };
            let working = async { tokio::join!(keep_time(&archive), working) };
            let by = tokio::select! {
                _ = working => Instant::now(),
                by = ended => by,
            };
            let last = async {
                while archive.desk.waiting() > 0 && archive.condition() == ArchiveCondition::Well {
                    sleep(Duration::from_millis(10)).await;
                }
                // What a connection has taken is on its way.
                sleep(Duration::from_millis(20)).await;
            };
            let _ = timeout_at(by.into(), last).await;
            writers.shutdown().await;
        });
        // A name that is being looked up is not waited for.
        runtime.shutdown_background();
    }
}

async fn keep_time(archive: &Archive) {
    loop {
        sleep(LOOK_EVERY).await;
        archive.desk.expire();
        archive.look_for_calm();
        archive.desk.metrics.reading.set(archive.readers.used() as f64);
    }
}

/// Brings the tables to this build's level, once the database is there.
async fn bring_up(archive: &Archive) {
    let Ok(Some(migrator)) = Migrator::of(&archive.settings) else { return };
    loop {
        match migrator.up().await {
            Ok(made) => {
                if !made.is_empty() {
                    tracing::info!(levels = ?made, "the archive's tables were brought up");
                }
                return;
            }
            // The connections say what is wrong, and go on saying it.
            Err(MigrationError::Newer { .. } | MigrationError::Changed(..)) => return,
            Err(error) => {
                archive.desk.show_unreachable(&error.to_string());
                archive.desk.expire();
                sleep(Duration::from_millis(500)).await;
            }
        }
    }
}
