//! Erasing in a pod with an archive: what the broker forgets, the archive forgets too.
//!
//! Always holds: what is pending goes first, so that no pod publishes it behind the erasure; then the broker, so that nothing new comes in from
//! behind; then the archive. Where the archive takes nothing, the broker forgets nothing; what fails behind that is said to be unknown. What
//! failed may be asked for again.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{archive_state::Archive, error::ArchiveError, written::ErasedEvents};
use crate::{
    broker::{Answer, Broker, BrokerError, Erasure},
    config::Policies,
    model::{ArchiveMode, Deletion, EraseMode, NAMED_AT_ONCE, Room, erased},
};

/// What has the broker and the archive forget.
pub struct ArchivedErasure {
    inner: Arc<dyn Erasure>,
    broker: Arc<dyn Broker>,
    archive: Arc<Archive>,
    policies: Arc<ArcSwap<Policies>>,
}

impl ArchivedErasure {
    /// Forgets what `inner` does, and what the archive has of it, of which `broker` tells.
    #[must_use]
    pub fn new(
        inner: Arc<dyn Erasure>,
        broker: Arc<dyn Broker>,
        archive: Arc<Archive>,
        policies: Arc<ArcSwap<Policies>>,
    ) -> Self {
        Self { inner, broker, archive, policies }
    }

    fn refusal(&self, error: ArchiveError) -> BrokerError {
        self.archive.complain(&error);
        error.into()
    }

    /// What is said where the archive failed behind the broker, which may have forgotten something.
    fn half_done(&self, error: &ArchiveError) -> BrokerError {
        self.archive.complain(error);
        BrokerError::Unknown
    }

    /// What becomes of what a user published in a room.
    fn erases(&self, room: &Room) -> EraseMode {
        self.policies.load().of(room).erase
    }
}

impl Erasure for ArchivedErasure {
    fn forget_room<'a>(&'a self, room: &'a Room) -> Answer<'a, bool> {
        Box::pin(async move {
            let was_pending = self.archive.forget_pending_of_room(room).await.map_err(|error| self.refusal(error))?;
            let was_there = self.inner.forget_room(room).await?;
            let was_kept = self.archive.forget_room(room).await.map_err(|error| self.half_done(&error))?;
            Ok(was_pending || was_there || was_kept)
        })
    }

    fn delete_event<'a>(&'a self, room: &'a Room, deletion: &'a Deletion) -> Answer<'a, bool> {
        Box::pin(async move {
            let is_archived = self.policies.load().of(room).archive != ArchiveMode::Off;
            if is_archived {
                self.archive.answers().await.map_err(|error| self.refusal(error))?;
            }
            let was_there = self.inner.delete_event(room, deletion).await?;
            let was_kept = match self.archive.delete_event(room, deletion).await {
                Ok(was_kept) => was_kept,
                Err(error) if is_archived && was_there => return Err(self.half_done(&error)),
                Err(error) if is_archived => return Err(self.refusal(error)),
                // The archive may have something of a room from before its policy changed. A room that never had one does without.
                Err(error) => {
                    self.archive.complain(&error);
                    false
                }
            };
            Ok(was_there || was_kept)
        })
    }

    fn forget_user<'a>(&'a self, user: &'a str, own: &'a [Room]) -> Answer<'a, Vec<Room>> {
        Box::pin(async move {
            let pending = self.archive.forget_pending_of_user(user, own, |room| self.erases(room));
            pending.await.map_err(|error| self.refusal(error))?;
            let authored = self.inner.forget_user(user, own).await?;
            self.archive.forget_user(user, own).await.map_err(|error| self.half_done(&error))?;
            Ok(authored)
        })
    }

    fn forget_beyond<'a>(&'a self, user: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let (mut written, mut told) = (self.archive.written(user), Ok(()));
            loop {
                let some = written.forget_some(|room| self.erases(room)).await;
                let Some(some) = some.map_err(|error| self.half_done(&error))? else { return told };
                // When this is repeated they are not found any more.
                for ErasedEvents { room, content, offsets } in some {
                    for named in offsets.chunks(NAMED_AT_ONCE) {
                        let published = self.broker.publish(&room, erased(named, content)).await;
                        told = told.and(published.map(|_| ()).map_err(|_| BrokerError::Unknown));
                    }
                }
            }
        })
    }

    fn note_author<'a>(&'a self, room: &'a Room, user: &'a str) -> Answer<'a, ()> {
        self.inner.note_author(room, user)
    }

    fn forget_author<'a>(&'a self, room: &'a Room, user: &'a str, since: Duration) -> Answer<'a, ()> {
        self.inner.forget_author(room, user, since)
    }
}
