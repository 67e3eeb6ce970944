//! Which users publish in rooms whose events go with them, and the events of a user that is erased.
//!
//! A user is noted before its event is published, so that whatever it published is found. Always holds: a room whose policy keeps such
//! events costs nothing here.

use std::{collections::BTreeMap, time::Instant};

use crate::{
    broker::{BrokerError, HistoryQuery},
    hub::worker::services::Services,
    model::{Deletion, EraseMode, Offset, Position, Publication, Room, Since, erased},
};

/// How many events are read at once, and their most bytes: more than one event has.
const PAGE: usize = 100;
const PAGE_BYTES: usize = 32 * 1024 * 1024;

/// The most offsets of an event that tells of deleted ones.
const NAMED_AT_ONCE: usize = 100;

/// What knows the events of users.
pub(crate) struct UserEvents<'a>(pub(crate) &'a Services);

impl UserEvents<'_> {
    /// Notes that a client publishes in a room, where its events go with its user.
    ///
    /// # Errors
    /// The broker's: the event is not to be published then.
    pub(crate) async fn note(&self, room: &Room, publication: &Publication) -> Result<(), BrokerError> {
        let Some(user) = &publication.user else { return Ok(()) };
        let policy = self.0.policy(room);
        if policy.erase == EraseMode::Keep || self.0.author_notes.is_fresh(room, user, policy.history_age / 8) {
            return Ok(());
        }
        let now = Instant::now();
        self.0.erasure.note_author(room, user).await?;
        self.0.author_notes.noted(room, user, now);
        Ok(())
    }

    /// Has what a user published in a room go, as the room's policy says, and its members told.
    ///
    /// # Errors
    /// The broker's: some of it may be gone.
    pub(super) async fn erase(&self, user: &str, room: &Room) -> Result<(), BrokerError> {
        let mode = self.0.policy(room).erase;
        if mode == EraseMode::Keep {
            return Ok(());
        }
        let end = HistoryQuery { since: None, until: None, max_events: 0, max_bytes: 0 };
        let mut at = Since { epoch: self.0.broker.history(room, end).await?.epoch, offset: 0 };
        let mut gone: BTreeMap<bool, Vec<Offset>> = BTreeMap::new();
        loop {
            let query = HistoryQuery { since: Some(at.clone()), until: None, max_events: PAGE, max_bytes: PAGE_BYTES };
            let page = self.0.broker.history(room, query).await?;
            for event in page.events.iter().filter(|event| event.user.as_deref() == Some(user)) {
                let content = mode == EraseMode::Content;
                let leaves = (content || event.is_deletion()).then(|| event.shell());
                let at = Position::new(page.epoch.clone(), event.offset);
                self.0.erasure.delete_event(room, &Deletion { at, id: None, leaves }).await?;
                if !event.is_deletion() {
                    gone.entry(content).or_default().push(event.offset);
                }
                self.0.metrics.events_deleted.increment(1);
            }
            if page.offset >= page.end || page.events.is_empty() {
                break;
            }
            at = Since { epoch: page.epoch, offset: page.offset };
        }
        for (content, offsets) in gone {
            for some in offsets.chunks(NAMED_AT_ONCE) {
                self.0.broker.publish(room, erased(some, content)).await?;
            }
        }
        self.0.erasure.forget_author(room, user).await
    }
}
