//! Erasing in a pod with an archive: what the broker forgets, the archive forgets too.
//!
//! Always holds: the broker is first, so that nothing new comes in from behind; what failed may be asked for again.

use std::sync::Arc;

use super::{archive_state::Archive, error::ArchiveError};
use crate::{
    broker::{Answer, BrokerError, Erasure},
    model::Room,
};

/// What has the broker and the archive forget.
pub struct ArchivedErasure {
    inner: Arc<dyn Erasure>,
    archive: Arc<Archive>,
}

impl ArchivedErasure {
    /// Forgets what `inner` does, and what the archive has of it.
    #[must_use]
    pub fn new(inner: Arc<dyn Erasure>, archive: Arc<Archive>) -> Self {
        Self { inner, archive }
    }

    fn refusal(&self, error: ArchiveError) -> BrokerError {
        self.archive.complain(&error);
        error.into()
    }
}

impl Erasure for ArchivedErasure {
    fn forget_room<'a>(&'a self, room: &'a Room) -> Answer<'a, bool> {
        Box::pin(async move {
            let was_there = self.inner.forget_room(room).await?;
            let was_kept = self.archive.forget_room(room).await.map_err(|error| self.refusal(error))?;
            Ok(was_there || was_kept)
        })
    }

    fn forget_user<'a>(&'a self, user: &'a str, own: &'a [Room]) -> Answer<'a, ()> {
        Box::pin(async move {
            self.inner.forget_user(user, own).await?;
            self.archive.forget_user(user, own).await.map_err(|error| self.refusal(error))
        })
    }
}
