//! What users have read, on its way past the archive: of rooms that are archived it is noted there as well, whether this pod's clients say it or
//! those of an edge.
//!
//! Always holds: what a user keeps to itself, and what authors are not told of, is not noted; an ack never waits for the archive.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{archive_state::Archive, reads::ArchivedRead};
use crate::{
    broker::{AckBounds, Acks, Answer, EachOf, KeptAck, Standing, UntoldAck},
    config::Policies,
    model::{Ack, AckMode, ArchiveMode, Epoch, Position, Progress, Room, Telling},
};

/// What keeps acks in a pod with an archive.
pub struct ArchivedAcks {
    inner: Arc<dyn Acks>,
    archive: Arc<Archive>,
    policies: Arc<ArcSwap<Policies>>,
}

impl ArchivedAcks {
    /// Notes what `inner` keeps.
    #[must_use]
    pub fn new(inner: Arc<dyn Acks>, archive: Arc<Archive>, policies: Arc<ArcSwap<Policies>>) -> Self {
        Self { inner, archive, policies }
    }

    /// Whether the archive is to know of it: of what an edge says too, by this pod's own policy.
    fn is_noted(&self, ack: &Ack) -> bool {
        let policy = self.policies.load().of(&ack.room);
        ack.telling == Telling::Due && policy.archive != ArchiveMode::Off && policy.acks == AckMode::Receipts
    }
}

impl Acks for ArchivedAcks {
    fn standings<'a>(&'a self, rooms: &'a [(Room, Vec<Epoch>)]) -> EachOf<'a, Standing> {
        self.inner.standings(rooms)
    }

    fn standings_for_reader<'a>(&'a self, rooms: &'a [(Room, Vec<Epoch>)]) -> EachOf<'a, Standing> {
        self.inner.standings_for_reader(rooms)
    }

    fn keep<'a>(&'a self, acks: &'a [Ack], bounds: AckBounds) -> EachOf<'a, KeptAck> {
        Box::pin(async move {
            let kept = self.inner.keep(acks, bounds).await;
            let further = acks.iter().zip(&kept).filter(|(_, kept)| kept.as_ref().is_ok_and(|kept| kept.further));
            let reads = further.filter(|(ack, _)| self.is_noted(ack)).map(|(ack, _)| ArchivedRead {
                progress: Progress::Read,
                room: ack.room.clone(),
                reader: Arc::clone(&ack.user),
                upto: ack.position.clone(),
            });
            self.archive.note_reads(reads);
            kept
        })
    }

    fn take_untold(&self, older: Duration, most: usize) -> Answer<'_, Vec<UntoldAck>> {
        self.inner.take_untold(older, most)
    }

    fn kept<'a>(&'a self, user: &'a str, bounds: AckBounds) -> Answer<'a, Vec<(Room, Vec<Position>)>> {
        self.inner.kept(user, bounds)
    }
}
