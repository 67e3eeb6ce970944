//! Which users publish in rooms whose events go with them, and the events of a user that is erased.
//!
//! A user is noted before its event is published, so that whatever it published is found. Always holds: a room whose policy keeps such
//! events costs nothing here.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use crate::{
    broker::{BrokerError, HistoryQuery},
    hub::{commands::take_out::take_out, users::user_writes::UserWrite, worker::services::Services},
    model::{
        Deletion, Epoch, EraseMode, Event, NAMED_AT_ONCE, Offset, Position, Publication, Retain, Room, Since, erased,
        without_ids,
    },
};

/// How many events are read at once, and their most bytes: more than one event has.
const PAGE: usize = 100;
const PAGE_BYTES: usize = 32 * 1024 * 1024;

/// What knows the events of users.
pub(crate) struct UserEvents<'a>(pub(crate) &'a Services);

impl UserEvents<'_> {
    /// A publish that leaves something under its user's name begins.
    fn begin(&self, room: &Room, publication: &Publication) -> UserWrite {
        let leaves = publication.idempotency_key.is_some() || self.0.policy(room).erase != EraseMode::Keep;
        self.0.user_writes.begin(publication.user.as_deref().filter(|_| leaves))
    }

    /// Publishes a client's event, whose user is noted where its events go with it.
    ///
    /// # Errors
    /// The broker's.
    pub(crate) async fn publish(&self, room: &Room, publication: Publication) -> Result<Position, BrokerError> {
        let under_way = self.begin(room, &publication);
        let user = publication.user.clone().filter(|_| self.0.policy(room).erase != EraseMode::Keep);
        if let Some(user) = &user {
            self.note(room, user).await?;
        }
        // Looked at last: what goes to the broker from here on is waited for.
        if under_way.is_void() {
            return Err(BrokerError::Unavailable("the user of this event is being erased".to_owned()));
        }
        let position = self.0.broker.publish(room, publication).await?;
        if let Some(user) = &user
            && !self.0.author_notes.holds(room, user, &position.epoch)
        {
            self.note(room, user).await.unwrap_or_else(|error| {
                tracing::debug!(%room, %error, "an author is noted with its next event");
            });
        }
        Ok(position)
    }

    /// Notes that a user publishes in a room.
    async fn note(&self, room: &Room, user: &str) -> Result<(), BrokerError> {
        let lasts = self.0.policy(room).history_age / 8;
        if self.0.author_notes.is_fresh(room, user, lasts) {
            return Ok(());
        }
        let now = Instant::now();
        self.0.erasure.note_author(room, user).await?;
        self.0.author_notes.noted(room, user, now);
        Ok(())
    }

    /// Has what a user published in a room go, as the room's policy says, and its members told. `began`: since when it publishes nothing.
    ///
    /// # Errors
    /// The broker's: some of it may be gone.
    pub(super) async fn erase(&self, user: &str, room: &Room, began: Instant) -> Result<(), BrokerError> {
        let mode = self.0.policy(room).erase;
        if mode == EraseMode::Keep {
            return Ok(());
        }
        let end = HistoryQuery { since: None, until: None, max_events: 0, max_bytes: 0 };
        let mut at = Since { epoch: self.0.broker.history(room, end).await?.epoch, offset: 0 };
        loop {
            let query = HistoryQuery { since: Some(at.clone()), until: None, max_events: PAGE, max_bytes: PAGE_BYTES };
            let page = self.0.broker.history(room, query).await?;
            self.delete_all(user, room, mode, &page.epoch, &page.events).await?;
            if page.offset >= page.end || page.events.is_empty() {
                break;
            }
            at = Since { epoch: page.epoch, offset: page.offset };
        }
        if self.0.policy(room).retain != Retain::None {
            let values = self.0.broker.retained(room).await?;
            self.delete_all(user, room, mode, &values.epoch, &values.events).await?;
        }
        // One that came back meanwhile stays noted.
        self.0.erasure.forget_author(room, user, began.elapsed()).await
    }

    /// Deletes those of some events that a user published, and has the room's members told of those that are gone, whatever fails.
    async fn delete_all(
        &self,
        user: &str,
        room: &Room,
        mode: EraseMode,
        epoch: &Epoch,
        events: &[Arc<Event>],
    ) -> Result<(), BrokerError> {
        let mut gone: BTreeMap<bool, Vec<Offset>> = BTreeMap::new();
        let mut done = Ok(());
        for event in events.iter().filter(|event| event.user.as_deref() == Some(user)) {
            let content = mode == EraseMode::Content;
            if event.is_deletion() {
                done = self.forget_ids(room, epoch, event).await;
                if done.is_err() {
                    break;
                }
            }
            let leaves = (content || event.is_deletion()).then(|| event.shell());
            let at = Position::new(epoch.clone(), event.offset);
            let deletion = Deletion { at, id: None, leaves };
            done = take_out(self.0, room, &deletion).await.map(|_| ());
            if done.is_err() {
                break;
            }
            if !event.is_deletion() {
                gone.entry(content).or_default().push(event.offset);
            }
            self.0.metrics.events_deleted.increment(1);
        }
        // When this is repeated they are not found any more.
        for (content, offsets) in gone {
            for some in offsets.chunks(NAMED_AT_ONCE) {
                self.0.broker.publish(room, erased(some, content)).await?;
            }
        }
        done
    }

    /// Has the ids go of events that a user deleted itself, which stand in their places still. `told`: what told of them.
    async fn forget_ids(&self, room: &Room, epoch: &Epoch, told: &Event) -> Result<(), BrokerError> {
        for offset in without_ids(&told.payload).1 {
            let deletion = Deletion { at: Position::new(epoch.clone(), offset), id: None, leaves: None };
            take_out(self.0, room, &deletion).await?;
        }
        Ok(())
    }
}
