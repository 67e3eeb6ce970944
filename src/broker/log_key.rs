//! A publication's idempotency key as the log that it enters knows it.
//!
//! Pure. Always holds: publications with the same key are of one publisher and one room, also where rooms share the log.

use crate::model::{Fingerprint, Publication, PublisherSide, Room};

/// What a log remembers of a publication, so that a retry of it is the same event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogKey {
    /// Whose keys it is among.
    pub(super) side: PublisherSide,
    /// Its name among these.
    pub(super) name: String,
    /// What the retry must be the same in.
    pub(super) fingerprint: Fingerprint,
}

impl LogKey {
    /// That of a publication which has an idempotency key. `part`: the room that it is published to, if its log is shared.
    pub(super) fn of(publication: &Publication, part: Option<&Room>) -> Option<Self> {
        let key = publication.idempotency_key.as_ref()?;
        let name = key.name(publication.user.as_deref());
        let name = match part {
            // A room's name has no spaces, so that the two cannot run together.
            Some(room) => format!("{room} {name}"),
            None => name,
        };
        Some(Self { side: key.side(), name, fingerprint: publication.fingerprint() })
    }
}
