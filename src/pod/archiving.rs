//! What stands around the broker of a pod with an archive.

use std::{io, sync::Arc, thread::JoinHandle, time::Duration};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{
    log::Log,
    phase::{Phase, end_of},
    start_error::StartError,
};
use crate::{
    archive::{Archive, ArchiveThread, ArchivedAcks, ArchivedBroker, ArchivedErasure},
    broker::{Acks, Broker, Erasure, memory::MemoryLimits},
    config::{Config, Policies},
    hub::{AbsentDesk, WatchedBroker},
    metrics::Exposition,
};

/// The broker as publishers see it, and what is kept beside it.
pub(super) struct Archiving {
    pub(super) broker: Arc<dyn Broker>,
    /// The log's own, with at most the archive around it: announcements of presence are handed in to no hook.
    pub(super) announcing: Arc<dyn Broker>,
    /// What users have read.
    pub(super) acks: Arc<dyn Acks>,
    /// `None`: there is no archive, and the broker is the log's own.
    pub(super) archive: Option<Arc<Archive>>,
    pub(super) thread: Option<ArchiveThread>,
}

impl Archiving {
    /// Around the log's broker. `absent`: what is handed in beside, where the backend is told of users that are absent.
    pub(super) fn of(
        config: &Config,
        absent: Option<&Arc<AbsentDesk>>,
        log: &Log,
        policies: &Arc<ArcSwap<Policies>>,
        exposition: &Exposition,
    ) -> Result<Self, StartError> {
        let inner: Arc<dyn Broker> = match absent {
            Some(desk) => Arc::new(WatchedBroker::new(log.broker(), Arc::clone(desk))),
            None => log.broker(),
        };
        let parts = (Arc::clone(&inner), log.acks(), log.keys());
        let made = ArchiveThread::make(&config.archive, known_for(config), parts, || exposition.archive())?;
        let Some((archive, thread)) = made else {
            let (announcing, acks) = (log.broker(), log.acks());
            return Ok(Self { broker: inner, announcing, acks, archive: None, thread: None });
        };
        let around = |inner| Arc::new(ArchivedBroker::new(inner, Arc::clone(&archive), Arc::clone(policies)));
        Ok(Self {
            broker: around(inner),
            announcing: around(log.broker()),
            acks: Arc::new(ArchivedAcks::new(log.acks(), Arc::clone(&archive), Arc::clone(policies))),
            archive: Some(archive),
            thread: Some(thread),
        })
    }

    /// What has the archive forget too, if there is one.
    pub(super) fn erasure(
        inner: Arc<dyn Erasure>,
        broker: &Arc<dyn Broker>,
        archive: Option<&Arc<Archive>>,
        policies: &Arc<ArcSwap<Policies>>,
    ) -> Arc<dyn Erasure> {
        match archive {
            Some(archive) => {
                let (broker, archive) = (Arc::clone(broker), Arc::clone(archive));
                Arc::new(ArchivedErasure::new(inner, broker, archive, Arc::clone(policies)))
            }
            None => inner,
        }
    }
}

/// Starts the archive's thread, which ends with the pod.
pub(super) fn start(
    archive: Option<ArchiveThread>,
    mut phase: watch::Receiver<Phase>,
) -> Option<io::Result<JoinHandle<()>>> {
    let archive = archive?;
    Some(std::thread::Builder::new().name("archive".into()).spawn(move || {
        archive.run(async move { end_of(&mut phase).await });
    }))
}

/// How long the broker knows an idempotency key.
fn known_for(config: &Config) -> Duration {
    config.redis.as_ref().map_or(MemoryLimits::default().idempotency_age, |redis| redis.idempotency_age)
}
