//! The broker of a pod with an archive: what rooms with `archive = "postgres"` publish is kept around the publish.
//!
//! All publishers pass through here: the API, gRPC, clients, announcements of presence. Plain messages (`[[legacy]]`) do not, which is why
//! such rooms take none. An event that is in no log (`exclude_sender`, signals) is not archived either. Always holds: a room without an
//! archive costs a look at its policy.

use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use futures_util::future::{join, join_all};

use super::{archive_state::Archive, error::ArchiveError, pending_row::RowId};
use crate::{
    broker::{Answer, Broker, BrokerError, EachAnswer, History, HistoryQuery},
    config::Policies,
    model::{ArchiveMode, Notice, Policy, Position, Publication, Receipt, Retained, Room, Signal},
};

/// The broker of a pod with an archive.
pub struct ArchivedBroker {
    inner: Arc<dyn Broker>,
    archive: Arc<Archive>,
    policies: Arc<ArcSwap<Policies>>,
}

impl ArchivedBroker {
    /// Keeps what `inner` publishes.
    #[must_use]
    pub fn new(inner: Arc<dyn Broker>, archive: Arc<Archive>, policies: Arc<ArcSwap<Policies>>) -> Self {
        Self { inner, archive, policies }
    }

    /// The policy of a room that is archived.
    fn archived(&self, room: &Room) -> Option<Arc<Policy>> {
        let policy = self.policies.load().of(room);
        (policy.archive != ArchiveMode::Off).then_some(policy)
    }

    /// What devices have got, as authors are told of it. What was read is known by the acks.
    fn note_delivered(&self, receipts: &[Receipt]) {
        self.archive.note_delivered(receipts.iter().filter(|receipt| self.archived(&receipt.room).is_some()));
    }

    /// Step 1.
    async fn pend(&self, policy: &Policy, room: &Room, publication: &mut Publication) -> Result<RowId, BrokerError> {
        BrokerError::check_topic(policy, &publication.topic)?;
        let since = Instant::now();
        let id = self.archive.pend(room, publication).await.inspect_err(|error| {
            self.archive.complain(error);
            if matches!(error, ArchiveError::Unavailable(_)) {
                self.archive.desk.metrics.refused.increment(1);
            }
        })?;
        // Any pod may look after the row by now, and say what became of it.
        if since.elapsed() >= self.archive.settings.repair_after {
            return Err(BrokerError::Unknown);
        }
        Ok(id)
    }

    /// Step 3, or what stands in its place.
    async fn settle(
        &self,
        room: &Room,
        id: RowId,
        published: Result<Position, BrokerError>,
    ) -> Result<Position, BrokerError> {
        match published {
            Ok(position) => match self.archive.confirm(room, id, &position).await {
                Ok(()) => Ok(position),
                Err(error) => {
                    self.archive.desk.metrics.unconfirmed.increment(1);
                    tracing::debug!(%room, %error, "an event was published, and is not confirmed in the archive yet");
                    Err(BrokerError::Unknown)
                }
            },
            // The repair finds out.
            Err(BrokerError::Unknown) => Err(BrokerError::Unknown),
            // A publisher that is told so takes it that nothing was published: no row may be left that the repair would publish.
            Err(refused) => match self.archive.withdraw_now(id).await {
                Ok(()) => Err(refused),
                Err(error) => {
                    tracing::debug!(%room, %error, "an event was not published, and is pending in the archive yet");
                    Err(BrokerError::Unknown)
                }
            },
        }
    }

    async fn publish_one(
        &self,
        policy: Arc<Policy>,
        room: &Room,
        mut publication: Publication,
    ) -> Result<Position, BrokerError> {
        let pended = self.pend(&policy, room, &mut publication).await?;
        let published = self.inner.publish(room, publication).await;
        self.settle(room, pended, published).await
    }

    async fn publish_several(&self, mut publications: Vec<(Room, Publication)>) -> Vec<Result<Position, BrokerError>> {
        let pending = publications.iter_mut().map(|(room, publication)| async move {
            match self.archived(room) {
                Some(policy) => self.pend(&policy, room, publication).await.map(Some),
                None => Ok(None),
            }
        });
        let pended: Vec<_> = join_all(pending).await;
        // In their order: what cannot be archived is left out.
        let rooms: Vec<Room> = publications.iter().map(|(room, _)| room.clone()).collect();
        let going = publications.into_iter().zip(&pended).filter(|(_, pended)| pended.is_ok());
        let mut published = self.inner.publish_all(going.map(|(each, _)| each).collect()).await.into_iter();
        let settling = rooms.iter().zip(pended).map(|(room, pended)| {
            let result = pended.is_ok().then(|| published.next().unwrap_or(Err(BrokerError::Unknown)));
            async move {
                match (pended?, result) {
                    (Some(pended), Some(result)) => self.settle(room, pended, result).await,
                    (_, result) => result.unwrap_or(Err(BrokerError::Unknown)),
                }
            }
        });
        join_all(settling).await
    }
}

impl Broker for ArchivedBroker {
    fn publish<'a>(&'a self, room: &'a Room, publication: Publication) -> Answer<'a, Position> {
        match self.archived(room) {
            Some(policy) => Box::pin(self.publish_one(policy, room, publication)),
            None => self.inner.publish(room, publication),
        }
    }

    fn publish_all<'a>(&'a self, publications: Vec<(Room, Publication)>) -> EachAnswer<'a> {
        let each = publications.into_iter().enumerate();
        let (kept, plain): (Vec<_>, Vec<_>) = each.partition(|(_, (room, _))| self.archived(room).is_some());
        let (kept_at, kept): (Vec<usize>, Vec<_>) = kept.into_iter().unzip();
        let (plain_at, plain): (Vec<usize>, Vec<_>) = plain.into_iter().unzip();
        if kept.is_empty() {
            return self.inner.publish_all(plain);
        }
        Box::pin(async move {
            // A room is of one of the two, and no room without an archive waits for it.
            let (kept, plain) = join(self.publish_several(kept), self.inner.publish_all(plain)).await;
            let mut results = vec![Err(BrokerError::Unknown); kept_at.len() + plain_at.len()];
            for (at, result) in kept_at.into_iter().zip(kept).chain(plain_at.into_iter().zip(plain)) {
                results[at] = result;
            }
            results
        })
    }

    fn publish_unlogged<'a>(&'a self, room: &'a Room, publication: Publication, except: Box<str>) -> Answer<'a, ()> {
        self.inner.publish_unlogged(room, publication, except)
    }

    fn signal<'a>(&'a self, room: &'a Room, signal: Signal) -> Answer<'a, ()> {
        self.inner.signal(room, signal)
    }

    fn notify<'a>(&'a self, room: &'a Room, notice: Notice) -> Answer<'a, ()> {
        if let Notice::Receipts(receipts) = &notice {
            self.note_delivered(receipts);
        }
        self.inner.notify(room, notice)
    }

    fn subscribe(&self, room: &Room) {
        self.inner.subscribe(room);
    }

    fn unsubscribe(&self, room: &Room) {
        self.inner.unsubscribe(room);
    }

    fn history<'a>(&'a self, room: &'a Room, query: HistoryQuery) -> Answer<'a, History> {
        self.inner.history(room, query)
    }

    fn retained<'a>(&'a self, room: &'a Room) -> Answer<'a, Retained> {
        self.inner.retained(room)
    }
}
